"""One shared backbone, and a head for each task; or a column for each task, joined by cross-stitch."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tl_helpers.models import Backbone, Classifier
from tl_helpers.multitask.targets import Target, checked


class Heads(nn.Module):
    """A linear layer for each task: embeddings (N, dim) to all outputs side by side, (N, outputs).

    With `columns`, the embedding is one part for each task, and each head sees its own part. A head's initial weights
    come from the seed and its task's name, so that they are the same whichever other tasks there are.
    """

    def __init__(self, dim: int, targets: Sequence[Target], *, columns: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.targets = checked(targets)
        self.parts = len(self.targets) if columns else 1
        if dim % self.parts:
            raise ValueError(f"An embedding of {dim} numbers has no {self.parts} equal parts, one for each task.")
        self.linear = nn.ModuleList()
        for target in self.targets:
            part = torch.nn.utils.skip_init(nn.Linear, dim // self.parts, target.outputs)
            generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {target.name}".encode()))
            bound = (dim // self.parts) ** -0.5
            with torch.no_grad():
                part.weight.uniform_(-bound, bound, generator=generator)
                part.bias.zero_()
            self.linear.append(part)

    @property
    def out_features(self) -> int:
        """Outputs of all heads."""
        return sum(target.outputs for target in self.targets)

    def forward(self, x: Tensor) -> Tensor:
        seen = x.chunk(self.parts, dim=1) if self.parts > 1 else [x] * len(self.linear)
        return torch.cat([head(part) for head, part in zip(self.linear, seen, strict=True)], dim=1)


class MultiTaskClassifier(Classifier):
    """A backbone that all tasks share (hard sharing, Caruana 1997), and a head for each.

    Its outputs stand side by side in the order of the targets; `by_task` takes them apart. A ValueError for no task or two
    of one name. With `columns`, each head sees its own part of the embedding, as behind `CrossStitch`.
    """

    def __init__(
        self,
        backbone: Backbone,
        targets: Sequence[Target],
        *,
        columns: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        heads = Heads(backbone.dim, targets, columns=columns, seed=seed)
        super().__init__(backbone, max(2, heads.out_features), dropout=dropout, seed=seed)
        self.head[-1] = heads

    @property
    def targets(self) -> tuple[Target, ...]:
        """What its heads answer."""
        return self.head[-1].targets


def by_task(outputs: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
    """All outputs, (N, outputs), taken apart: by task, (N, its outputs)."""
    parts = outputs.split([target.outputs for target in targets], dim=1)
    return {target.name: part for target, part in zip(targets, parts, strict=True)}


class CrossStitch(nn.Module):
    r"""Soft sharing (Misra et al. 2016): a column for each task, each of which sees a mixture of all.

    .. math:: \tilde z_t = \sum_s \alpha_{ts} z_s

    Takes the columns, which map the same input to (N, D); gives their mixtures side by side, (N, T D). The matrix
    :math:`\alpha`, (T, T), is trained; it begins with `own` on the diagonal and the rest shared by the others.
    """

    def __init__(self, columns: Sequence[nn.Module], own: float = 0.9) -> None:
        super().__init__()
        if len(columns) < 2 or not 0 <= own <= 1:
            raise ValueError(f"{len(columns)} column(s), own={own}: use two columns or more, and a share from 0 to 1.")
        self.columns, many = nn.ModuleList(columns), len(columns)
        self.mixture = nn.Parameter(torch.full((many, many), (1 - own) / (many - 1)).fill_diagonal_(own))

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.stack([column(x) for column in self.columns])  # (T, N, D)
        return torch.einsum("ts,snd->ntd", self.mixture, seen).flatten(1)
