"""`Batches`: what each step trains on - order, views, the freeze line's activations, targets and the second batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torchvision.transforms.v2.functional as tvf
from torch import Tensor

from tl_helpers import runtime
from tl_helpers.activations import Line
from tl_helpers.data import Samples, Unlabelled, views
from tl_helpers.frozen import Prefix
from tl_helpers.models import Classifier
from tl_helpers.training.method import Step
from tl_helpers.training.processes import processes
from tl_helpers.training.recipe import Recipe

AHEAD = 8
"""Batches whose activations are computed together, ahead of training on them."""


class Batches:
    """The steps of a run, epoch by epoch. All follows from the seed and the epoch, so a resumed run sees the same.

    Parameters
    ----------
    model : Classifier
    train : Samples
    recipe : Recipe
        Batch size, augmentation, labels, weights and smoothing are taken from it.
    validation : Samples, optional
        Scored after every epoch.
    second : Samples or Unlabelled, optional
        A batch of these goes with every step.
    seed : int
    cached : bool
        Take what reaches the freeze line from the frozen-prefix cache.
    """

    def __init__(
        self,
        model: Classifier,
        train: Samples,
        recipe: Recipe,
        *,
        validation: Samples | None = None,
        second: Samples | Unlabelled | None = None,
        seed: int = 0,
        cached: bool = True,
    ) -> None:
        self.model, self.train, self.validation, self.second = model, train, validation, second
        self.recipe, self.seed, self.cached = recipe, seed, cached
        together = processes()
        self.rank, self.processes = together.process_index, together.num_processes
        self.targets, self.weights = targets_of(train, recipe.labels), weights_of(train, recipe.weights)
        self._lines: dict[tuple[int, int, str], Line] = {}
        self._prefixes: dict[int, Prefix] = {}

    def __len__(self) -> int:
        """Steps in an epoch."""
        return math.ceil(_count(len(self.train), self.recipe.batch_size) / self.processes)

    def epoch(self, epoch: int, depth: int) -> Iterator[Step]:
        """The steps of one epoch, with the freeze line at `depth`."""
        device = runtime.current().device
        turns = turns_of(len(self.train), self.recipe.augment, self.seed, epoch)
        every = _split(len(self.train), self.recipe.batch_size, self.seed, epoch)
        mine = [every[(turn * self.processes + self.rank) % len(every)] for turn in range(len(self))]
        line = self._line(self.train, depth, self.recipe.augment)
        for turn, positions in enumerate(mine):
            if line is not None and turn % AHEAD == 0:
                soon = torch.cat(mine[turn : turn + AHEAD])
                line.fill(soon, turns[soon])
            number = epoch * len(self) + turn
            second_positions, second_x = self._second(number * self.processes + self.rank, depth)
            yield Step(
                model=self.model,
                depth=depth,
                number=number,
                progress=number / (self.recipe.epochs * len(self)),
                positions=positions,
                x=self._inputs(self.train, depth, positions, turns[positions]),
                targets=self.targets[positions].to(device),
                weights=None if self.weights is None else self.weights[positions].to(device),
                smoothing=self.recipe.label_smoothing,
                second_positions=second_positions,
                second_x=second_x,
            )

    def _second(self, turn: int, depth: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Positions and inputs of the `turn`-th batch of the second samples, gone through again and again."""
        if self.second is None:
            return None, None
        count, seed = _count(len(self.second), self.recipe.batch_size), self.seed + 1
        again, number = divmod(turn, count)
        positions = _split(len(self.second), self.recipe.batch_size, seed, again)[number]
        turns = turns_of(len(self.second), self.recipe.augment, seed, again)
        return positions, self._inputs(self.second, depth, positions, turns[positions])

    def validation_line(self, depth: int) -> Line | None:
        """The validation samples' activations at the freeze line; None where nothing is frozen."""
        return self._line(self.validation, depth, "none")

    def _line(self, samples: Samples | Unlabelled, depth: int, augment: str) -> Line | None:
        """The samples' activations at the freeze line; None where nothing is frozen or each view is new."""
        if depth == 0 or augment == "crops":
            return None
        key = (id(samples), depth, augment)
        if key not in self._lines:
            many = views.VIEWS if augment == "flips" else 1
            self._lines[key] = Line(self.model.backbone, depth, samples, views=many, keep=self.cached)
        return self._lines[key]

    def _inputs(self, samples: Samples | Unlabelled, depth: int, positions: Tensor, turns: Tensor) -> Tensor:
        """What is trained on, of some samples, each in its turn: int64 (N,) both."""
        device = runtime.current().device
        line = self._line(samples, depth, self.recipe.augment)
        if line is not None:
            return line(positions, turns).to(device)
        pixels = samples.inputs[positions]
        pixels = crops_of(pixels, turns) if self.recipe.augment == "crops" else views.views_of(pixels, turns)
        if depth:
            if depth not in self._prefixes:
                self._prefixes[depth] = Prefix(self.model.backbone, depth)
            return self._prefixes[depth].to_line(pixels, 0, depth).float()
        return self.model.backbone.prepare(pixels.to(device))


def targets_of(samples: Samples, kind: str) -> Tensor:
    """What is learned, by the recipe's `labels`: class numbers (N,), or for soft labels probabilities (N, 2).

    A ValueError for soft labels without two classes and a column ``probability``.
    """
    if kind == "hard":
        return samples.labels
    p = torch.from_numpy(_probability(samples, "labels='soft'")).float()
    return torch.stack([1 - p, p], dim=1)


def weights_of(samples: Samples, kind: str) -> Tensor | None:
    """How much each sample counts, by the recipe's `weights`: float32 (N,), mean 1; None where all are equal.

    A ValueError for confidences without two classes and a column ``probability``, or all of them 0.
    """
    if kind == "none":
        return None
    if kind == "class":
        counts = torch.bincount(samples.labels, minlength=len(samples.classes)).float()
        weights = 1 / counts[samples.labels]
    else:
        weights = torch.from_numpy(np.abs(2 * _probability(samples, "weights='confidence'") - 1)).float()
        if not weights.any():
            raise ValueError(f"{samples.name}: every probability is one half, so weights='confidence' leaves nothing.")
    return weights / weights.mean()


def turns_of(samples: int, augment: str, seed: int, epoch: int) -> Tensor:
    """How each sample is shown in an epoch, int64, shape (N,): the number of its exact view, or the seed of its crop."""
    if augment == "none":
        return torch.zeros(samples, dtype=torch.int64)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch + 500_009)
    return torch.randint(0, views.VIEWS if augment == "flips" else 2**31, (samples,), generator=generator)


def _count(samples: int, batch_size: int) -> int:
    """Batches in an epoch; a last one of a single sample is dropped, as batch norm cannot train on it."""
    whole, rest = divmod(samples, min(batch_size, samples))
    return whole + (rest > 1)


def _split(samples: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """An epoch's batches of positions, in a new order for each epoch."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(samples, generator=generator)
    return list(order.split(int(batch_size)))[: _count(samples, batch_size)]


def _probability(samples: Samples, what: str) -> np.ndarray:
    if "probability" not in samples.extra or len(samples.classes) != 2:
        raise ValueError(f"{what} needs two classes and a column 'probability'; {samples.name} has no such column.")
    p = np.asarray(samples.extra["probability"], dtype=np.float64)
    if not np.isfinite(p).all() or p.min() < 0 or p.max() > 1:
        raise ValueError(f"{samples.name}: 'probability' must lie between 0 and 1, without NaN.")
    return p


def crops_of(pixels: Tensor, seeds: Tensor) -> Tensor:
    """A random crop and a random mirror image of each image, as ImageNet's training pictures get: uint8 (N, C, H, W).

    35 to 100 % of the area in a ratio of 3:4 to 4:3, resized to what it was (Szegedy et al. 2015). Where ten draws do not
    fit into the image, all of it is taken. `seeds` holds one for each image, int64 (N,).
    """
    height, width = pixels.shape[-2:]
    cropped = []
    for image, seed in zip(pixels, seeds.tolist(), strict=True):
        generator = torch.Generator().manual_seed(seed)
        draws = torch.rand(10, 2, generator=generator)
        areas, ratios = height * width * (0.35 + 0.65 * draws[:, 0]), ((2 * draws[:, 1] - 1) * math.log(4 / 3)).exp()
        sizes = torch.stack([(areas / ratios).sqrt(), (areas * ratios).sqrt()], dim=1).round().int()
        fits = sizes[(sizes[:, 0] <= height) & (sizes[:, 1] <= width)]
        h, w = fits[0].tolist() if len(fits) else (height, width)
        room = (height - h + 1, width - w + 1, 2)
        top, left, mirrored = (int(torch.randint(most, (), generator=generator)) for most in room)
        image = tvf.resized_crop(image, top, left, h, w, [height, width], antialias=True)
        cropped.append(image.flip(-1) if mirrored else image)
    return torch.stack(cropped)
