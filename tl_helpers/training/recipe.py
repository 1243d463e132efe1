"""`Recipe`: everything that says how to train, in one record; `rate_at` and `line_at` read its schedules step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1 / 25e4


@dataclass(frozen=True)
class Recipe:
    """How to train. Experiments are small changes of one recipe: ``dataclasses.replace(recipe, lr=1e-2)``.

    Attributes
    ----------
    epochs : int
    lr : float
        Peak learning rate (of the head, where `layer_decay` is below 1).
    batch_size : int
    weight_decay : float
        AdamW's, for weight matrices only (Loshchilov and Hutter 2019).
    schedule : {"constant", "cosine", "step", "one_cycle"}
        After the warm-up: constant; half a cosine down to 0 (Loshchilov and Hutter 2017); divided by 10 at half time.
        ``one_cycle`` (Smith 2018) rises along a cosine from 1/25 of the peak during the warm-up and falls to almost 0.
    warmup : float
        Share of all steps in which the rate rises from near 0, in [0, 1).
    freeze_depth : int
        Stages below the freeze line; 0 trains all.
    layer_decay : float
        Rate of a stage relative to the one above, in (0, 1] (discriminative rates, Howard and Ruder 2018).
    unfreeze : {"at_once", "head_first", "gradual"}
        ``head_first`` trains the head alone for one epoch, then all above `freeze_depth`; ``gradual`` (Howard and Ruder
        2018) unfreezes `unfreeze_step` more stages after each epoch.
    unfreeze_step : int
    label_smoothing : float
        In [0, 1) (Szegedy et al. 2016).
    labels : {"hard", "soft"}
        ``soft`` trains on the annotators' probability (column ``probability`` of a two-class task) instead of the class.
    weights : {"none", "class", "confidence"}
        Of the samples in the loss: by the inverse frequency of their class, or by how sure the annotators were,
        :math:`|2p - 1|` (as Deitsch et al. 2019 do).
    batch_norm : {"train", "frozen"}
        ``frozen`` keeps the source's running statistics in use above the freeze line too.
    augment : {"none", "flips", "crops"}
        ``flips`` gives each image one of its 8 flips and quarter turns, at random; ``crops`` a random crop of 35 to 100 % of
        its area, resized, and a flip: how the source task's images were augmented.
    patience : int or None
        Stop after this many epochs without a better validation accuracy.
    keep : {"last", "best"}
        Weights of the last epoch, or of the one with the best validation accuracy.
    """

    epochs: int = 5
    lr: float = 1e-3
    batch_size: int = 32
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine", "step", "one_cycle"] = "cosine"
    warmup: float = 0.1
    freeze_depth: int = 0
    layer_decay: float = 1.0
    unfreeze: Literal["at_once", "head_first", "gradual"] = "at_once"
    unfreeze_step: int = 1
    label_smoothing: float = 0.0
    labels: Literal["hard", "soft"] = "hard"
    weights: Literal["none", "class", "confidence"] = "none"
    batch_norm: Literal["train", "frozen"] = "train"
    augment: Literal["none", "flips", "crops"] = "none"
    patience: int | None = None
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "lr": (0 < self.lr < math.inf, "above 0"),
            "batch_size": (self.batch_size >= 2, "2 or more (batch norm needs two samples)"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "warmup": (0 <= self.warmup < 1, "a share from 0 up to (not including) 1"),
            "layer_decay": (0 < self.layer_decay <= 1, "above 0, up to 1"),
            "unfreeze_step": (self.unfreeze_step >= 1, "1 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 up to (not including) 1"),
            "patience": (self.patience is None or self.patience >= 1, "None, or 1 or more"),
        }
        for name, kind in get_type_hints(Recipe).items():
            if get_origin(kind) is Literal:
                rules[name] = (getattr(self, name) in get_args(kind), " or ".join(get_args(kind)))
        for name, (fine, rule) in rules.items():
            if not fine:
                raise ValueError(f"Recipe: {name}={getattr(self, name)!r}; use {rule}.")


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of a step (from 0) of so many, relative to the peak: warm-up, then the schedule."""
    if recipe.schedule == "one_cycle":
        return _one_cycle(step, steps, recipe.warmup)
    warm = int(recipe.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    if recipe.schedule == "constant":
        return 1.0
    done = (step - warm) / max(1, steps - warm)
    if recipe.schedule == "step":
        return 1.0 if done < 0.5 else 0.1
    return 0.5 * (1 + math.cos(math.pi * done))


def line_at(epoch: int, depth: int, recipe: Recipe) -> int:
    """The freeze line in an epoch (from 0): falls from "head only", at `depth`, to ``recipe.freeze_depth``.

    How fast, the recipe's `unfreeze` says.
    """
    if recipe.unfreeze == "at_once":
        return recipe.freeze_depth
    if recipe.unfreeze == "head_first":
        return depth if epoch == 0 else recipe.freeze_depth
    return max(recipe.freeze_depth, depth - epoch * recipe.unfreeze_step)


def _one_cycle(step: int, steps: int, warmup: float) -> float:
    top, last = warmup * steps - 1, steps - 1
    if step <= top and top > 0:
        return _between(ONE_CYCLE_START, 1.0, step / top)
    top = max(top, 0.0)
    return _between(1.0, ONE_CYCLE_END, min(1.0, (step - top) / max(last - top, 1.0)))


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from one value to another."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
