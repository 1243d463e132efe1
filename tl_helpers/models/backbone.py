"""Backbone: a network as an ordered list of named stages, so that "freeze depth d" means the first d stages everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tl_helpers import keys


@dataclass(frozen=True)
class Preprocessing:
    """How the source task fed its images; the target's images go the same way.

    Mean and standard deviation are per channel, for pixels scaled to [0, 1]; `size` is the height and width.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int

    @property
    def channels(self) -> int:
        """Channels that the backbone expects."""
        return len(self.mean)


class Backbone(nn.Module):
    """A pre-trained (or randomly initialised) network without its head.

    Parameters
    ----------
    stages : mapping of str to nn.Module
        From input to embedding; each maps (N, C, H, W) to (N, C', H', W').
    dim : int
        Length of the embedding.
    licence, source : str
        Of the weights.

    Attributes
    ----------
    frozen_depth : int
        How many stages are frozen; set by `tl_helpers.freezing.freeze`. Frozen stages stay in eval mode even after
        ``model.train()``, so their batch-norm statistics cannot drift.
    frozen_norm : bool
        Whether every batch norm stays in eval mode, above the freeze line too; also set there.
    """

    def __init__(
        self,
        name: str,
        stages: Mapping[str, nn.Module],
        dim: int,
        preprocessing: Preprocessing,
        licence: str = "MIT",
        source: str = "random weights",
    ) -> None:
        super().__init__()
        self.name = name
        self.stages = nn.ModuleDict(dict(stages))
        self.dim = dim
        self.preprocessing = preprocessing
        self.licence = licence
        self.source = source
        self.frozen_depth = 0
        self.frozen_norm = False

    @property
    def depth(self) -> int:
        """Number of stages: the deepest freeze line."""
        return len(self.stages)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Stage names from input to embedding."""
        return tuple(self.stages)

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """From stored pixels to what the source task fed: uint8 (N, 1 or C, H, W) to float32 (N, C, H, W).

        Grey images are repeated over the channels; values are scaled to [0, 1], then normalised with the *source*
        statistics. A ValueError for another dtype or number of channels.
        """
        want = self.preprocessing.channels
        if pixels.dtype != torch.uint8:
            raise ValueError(f"{self.name} expects uint8 pixels (0 to 255); got {pixels.dtype}.")
        if pixels.ndim != 4 or pixels.shape[1] not in (1, want):
            raise ValueError(f"{self.name} expects pixels of shape (N, 1 or {want}, H, W); got {tuple(pixels.shape)}.")
        mean = torch.tensor(self.preprocessing.mean, device=pixels.device).view(1, -1, 1, 1)
        std = torch.tensor(self.preprocessing.std, device=pixels.device).view(1, -1, 1, 1)
        scaled = (pixels.float() / 255).expand(-1, want, -1, -1)
        return ((scaled - mean) / std).contiguous(memory_format=torch.channels_last)

    def batch_order(self, pixels: torch.Tensor) -> torch.Tensor:
        """In which order samples are best gone through in batches: int64, shape (N,). Images: as they come."""
        return torch.arange(len(pixels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Prepared images (N, C, H, W) to embeddings (N, dim): feature maps of the last stage, averaged over space."""
        for stage in self.stages.values():
            x = stage(x)
        return pool_maps(x)

    def stage_outputs(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Feature maps after every stage, by stage name."""
        outputs = {}
        for name, stage in self.stages.items():
            x = outputs[name] = stage(x)
        return outputs

    def split(self, depth: int) -> tuple[nn.Sequential, nn.Sequential]:
        """The stages below and above a freeze line, sharing their weights with this backbone; a ValueError out of range."""
        self.check_depth(depth)
        stages = list(self.stages.values())
        return nn.Sequential(*stages[:depth]), nn.Sequential(*stages[depth:])

    def check_depth(self, depth: int) -> None:
        """Raise a ValueError that names the stages if `depth` is no freeze depth of this backbone."""
        if not isinstance(depth, int) or isinstance(depth, bool) or not 0 <= depth <= self.depth:
            raise ValueError(
                f"freeze depth {depth!r} is out of range: {self.name} has {self.depth} stages "
                f"({', '.join(self.stage_names)}), so use 0 (train all) to {self.depth} (train the head only)."
            )

    def train(self, mode: bool = True) -> Backbone:
        """As in torch, except that frozen stages, and with `frozen_norm` every batch norm, stay in eval mode."""
        super().train(mode)
        for stage in list(self.stages.values())[: self.frozen_depth]:
            stage.eval()
        if self.frozen_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


class Classifier(nn.Module):
    """A backbone with a new head: embeddings (N, dim) to logits for two classes or more, (N, classes).

    Dropout, in [0, 1), is in front of the linear layer, whose initial weights come from `seed` alone, independent of
    the global random state.
    """

    def __init__(self, backbone: Backbone, classes: int, *, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"A classifier needs 2 classes or more; got {classes}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: use 0 up to (not including) 1.")
        self.backbone = backbone
        linear = torch.nn.utils.skip_init(nn.Linear, backbone.dim, classes)
        bound = backbone.dim**-0.5
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            linear.weight.uniform_(-bound, bound, generator=generator)
            linear.bias.zero_()
        self.head = nn.Sequential(nn.Dropout(dropout), linear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Prepared images (N, C, H, W) to logits (N, classes)."""
        return self.head(self.backbone(x))

    def above(self, x: torch.Tensor, depth: int) -> torch.Tensor:
        """What is above a freeze line: activations after `depth` stages to logits (N, classes)."""
        return self.head(self.embed_above(x, depth))

    def embed_above(self, x: torch.Tensor, depth: int) -> torch.Tensor:
        """The backbone's part of that: activations after `depth` stages to embeddings (N, dim)."""
        for stage in list(self.backbone.stages.values())[depth:]:
            x = stage(x)
        return pool_maps(x)


def provenance(stage: nn.Module) -> str:
    """A name for all that a stage computes by: weights, and what its modules note beside them (a stride, a flag).

    `load_backbone` keeps it as ``stage.as_loaded``, so that `tl_helpers.frozen` sees whether the stage has changed since. A
    `keys.Unnameable` where it would not be sure.
    """
    notes = []
    for name, module in stage.named_modules():
        facts = {fact: value for fact, value in vars(module).items() if isinstance(value, (int, float, str, tuple))}
        facts = {fact: value for fact, value in facts.items() if fact not in ("training", "as_loaded")}
        notes.append([name, repr(sorted(facts.items(), key=str))])
    state = stage.state_dict()
    others = {name: tensor for name, tensor in stage.named_buffers() if name not in state}  # not persistent
    return keys.fingerprint(stage, notes, others)


def join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Batches in one, (N, ...) and (M, ...) to (N + M, ...).

    Tokens, int64 (N, 2, T), and token vectors, float (N, T, D + 1), are filled up with padding to the longest.
    """
    if parts[0].ndim == 3:
        along = 1 if parts[0].is_floating_point() else 2
        longest, after = max(part.shape[along] for part in parts), (0, 0) if along == 1 else ()
        parts = [nn.functional.pad(part, (*after, 0, longest - part.shape[along])) for part in parts]
    return torch.cat(list(parts))


def pool_maps(x: torch.Tensor, how: str = "avg") -> torch.Tensor:
    """Feature maps (N, C, H, W) to vectors: ``avg`` or ``max`` gives (N, C), ``avg+max`` (N, 2C), ``flat`` (N, C*H*W).

    Token vectors (N, T, D + 1), whose last channel is 1 for a token and 0 for padding, are averaged over the tokens: (N, D).
    Vectors (N, D) stay as they are.
    """
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        if how != "avg":
            raise ValueError(f"pooling {how!r}: token vectors are averaged, use 'avg'.")
        mask = x[..., -1:]
        return (x[..., :-1] * mask).sum(dim=1) / mask.sum(dim=1)
    if how == "avg":
        return x.mean(dim=(2, 3))
    if how == "max":
        return x.amax(dim=(2, 3))
    if how == "avg+max":
        return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
    if how == "flat":
        return x.flatten(1)
    raise ValueError(f"Unknown pooling {how!r}: use avg, max, avg+max or flat.")
