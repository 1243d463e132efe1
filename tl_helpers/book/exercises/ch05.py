"""Checks of chapter 5: the schedule of gradual unfreezing, and linear CKA."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise
from tl_helpers.similarity import linear_cka as reference


@exercise("frozen-stages")
def frozen_stages(freeze_depths: Callable) -> None:
    """depth, depth - step, ..., never below target."""
    for depth, target, step, epochs in ((9, 0, 1, 4), (9, 2, 3, 5), (4, 4, 2, 3), (3, 0, 5, 2)):
        found = list(freeze_depths(depth, target, step, epochs))
        wanted = [max(target, depth - epoch * step) for epoch in range(epochs)]
        if found == wanted:
            continue
        case = f"depth {depth}, target {target}, step {step}, {epochs} epochs"
        if len(found) != epochs:
            raise Hint(f"One number for each epoch, please: for {case} you returned {len(found)}.")
        if found[0] != depth:
            raise Hint(
                f"In the first epoch only the head trains, so all {depth} stages are frozen; yours: {found} ({case})."
            )
        if min(found) < target:
            raise Hint(f"The freeze depth falls, but never below the target ({case}); yours: {found}.")
        raise Hint(f"After each epoch `step` stages more are unfrozen. For {case} that is {wanted}; yours: {found}.")


def _features(seed: int, dim: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(40, dim)) + 3


@exercise("linear-cka")
def linear_cka(cka_of: Callable) -> None:
    """Equal to the packaged CKA; hints name the invariance that is broken."""
    x, y = _features(0), _features(1, 3)
    value = float(cka_of(x, y))
    if not math.isfinite(value):
        raise Hint("The result is not a finite number.")
    if abs(float(cka_of(x + 7, y)) - value) > 1e-9:
        raise Hint("Shifting the features changes your result: subtract the mean of each column first.")
    if abs(float(cka_of(10 * x, y)) - value) > 1e-9:
        raise Hint("Stretching the features changes your result: numerator and denominator must grow alike.")
    rotation = np.linalg.qr(_features(2)[:5])[0]
    if abs(float(cka_of(x @ rotation, y)) - value) > 1e-6:
        raise Hint("Turning the features changes your result: compare the two sets as a whole, not column by column.")
    if abs(value - reference(x, y)) > 1e-6:
        raise Hint(f"For the check's features CKA is {reference(x, y):.4f}; yours is {value:.4f}.")
