"""Progressive networks: a new column for each experience, with sideways connections; nothing old is ever changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from tl_helpers import runtime
from tl_helpers.continual.strategy import MakeModel, Strategy
from tl_helpers.continual.streams import Stream
from tl_helpers.data import Samples
from tl_helpers.models import Backbone, Classifier, Preprocessing
from tl_helpers.training import Recipe


class Adapter(nn.Module):
    r"""A sideways connection (Rusu et al. 2016, equation 2): :math:`\mathrm{relu}(V \alpha h)` with a learned scalar.

    From the activations h of all earlier columns, (N, inputs), to (N, width).
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))
        self.down = nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.scale * x).relu()


class Hidden1(nn.Module):
    """First layer of a column: [pixels | h1 and h2 of earlier columns] to [h1 and h2 of earlier columns | own h1]."""

    def __init__(self, pixels: int, width: int) -> None:
        super().__init__()
        self.inputs, self.own = pixels, nn.Linear(pixels, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, self.inputs :], self.own(x[:, : self.inputs]).relu()], dim=1)


class Hidden2(nn.Module):
    """Second layer: to [own h2 | an adapter's view of the earlier columns' h2], which is what the head sees."""

    def __init__(self, width: int, earlier: int, lateral: int) -> None:
        super().__init__()
        self.width, self.earlier = width, earlier * width
        self.own = nn.Linear(width, width)
        if earlier:
            self.from_first, self.into = Adapter(self.earlier, lateral), nn.Linear(lateral, width, bias=False)
            self.from_second = Adapter(self.earlier, lateral)

    def forward(self, x: Tensor) -> Tensor:
        first, second, own = x[:, : self.earlier], x[:, self.earlier : 2 * self.earlier], x[:, 2 * self.earlier :]
        if not self.earlier:
            return self.own(own).relu()
        h2 = (self.own(own) + self.into(self.from_first(first))).relu()
        return torch.cat([h2, self.from_second(second)], dim=1)


class Earlier(nn.Module):
    """All earlier columns: images (N, C, H, W) to [pixels | their h1 | their h2]. This stage is frozen."""

    def __init__(self, columns: list[tuple[Hidden1, Hidden2]]) -> None:
        super().__init__()
        self.columns = nn.ModuleList([nn.ModuleList(column) for column in columns])

    def forward(self, x: Tensor) -> Tensor:
        pixels, firsts, seconds = x.flatten(1), [], []
        for hidden1, hidden2 in self.columns:
            middle = hidden1(torch.cat([pixels, *firsts, *seconds], dim=1))
            firsts.append(middle[:, -hidden2.width :])
            seconds.append(hidden2(middle)[:, : hidden2.width])
        return torch.cat([pixels, *firsts, *seconds], dim=1)


def progressive_backbone(
    columns: list[tuple[Hidden1, Hidden2]], preprocessing: Preprocessing, *, width: int, lateral: int, seed: int
) -> Backbone:
    """A new column beside earlier ones, as an ordinary backbone: stages ``earlier``, ``hidden1``, ``hidden2``.

    With ``freeze_depth=1`` the earlier columns, which are shared and not copied, are below the freeze line. So the
    book's freeze contract holds for them, and the frozen-prefix cache computes them once. All columns have hidden
    layers of one width; the adapters are `lateral` wide. The new weights come from `seed` alone.
    """
    pixels = preprocessing.channels * preprocessing.size**2
    with runtime.RandomNumbers(seed):
        hidden1, hidden2 = Hidden1(pixels, width), Hidden2(width, len(columns), lateral)
    return Backbone(
        name=f"progressive, {len(columns) + 1} columns of {width}",
        stages={"earlier": Earlier(columns), "hidden1": hidden1, "hidden2": hidden2},
        dim=width + (lateral if columns else 0),
        preprocessing=preprocessing,
    )


class Progressive(Strategy):
    """Progressive neural networks (Rusu et al. 2016), task-incremental only.

    A new experience gets a new column and head; earlier columns are frozen and feed into it, through adapters of width
    `lateral`. Which column answers must be known, so the learner has to be told the experience.
    """

    name = "progressive"

    def __init__(self, width: int = 400, *, lateral: int = 50) -> None:
        if width < 1 or lateral < 1:
            raise ValueError(f"width={width}, lateral={lateral}: 1 or more.")
        super().__init__(width=width, lateral=lateral)
        self.width, self.lateral = width, lateral

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        if stream.scenario != "task":
            raise ValueError(
                f"Progressive networks must be told which column answers, and a {stream.scenario}-incremental scenario "
                "does not. Use a task-incremental stream."
            )
        super().before_stream(stream, make_model, seed)
        self.learned: list[Classifier] = []

    def before_experience(self, model: Classifier) -> Classifier:
        stages = [list(known.backbone.stages.values()) for known in self.learned]
        columns = [(hidden1, hidden2) for _, hidden1, hidden2 in stages]
        backbone = progressive_backbone(
            columns, model.backbone.preprocessing, width=self.width, lateral=self.lateral, seed=self.seed + self.now
        )
        return Classifier(backbone, len(self.stream.classes), seed=self.seed + self.now)

    def recipe(self, recipe: Recipe) -> Recipe:
        return dataclasses.replace(recipe, freeze_depth=1)

    def after_experience(self, model: Classifier) -> None:
        self.learned.append(model)

    def logits(self, model: Classifier, samples: Samples, of: int) -> np.ndarray:
        return super().logits(self.learned[min(of, len(self.learned) - 1)], samples, of)

    def parameters_used(self, model: Classifier) -> int:
        """Of all columns, adapters and heads; what columns share is counted once."""
        owned = {id(p): p.numel() for known in self.learned for p in known.parameters()}
        return sum(owned.values())
