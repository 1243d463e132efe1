"""Checks of chapter 5: the schedule of gradual unfreezing, and linear CKA."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise
from tl_helpers.similarity import linear_cka as reference


@exercise("frozen-stages")
def frozen_stages(freeze_depths: Callable) -> None:
    """depth, depth - step, ..., never below target."""
    for depth, target, step, epochs in ((9, 0, 1, 4), (9, 2, 3, 5), (4, 4, 2, 3), (3, 0, 5, 2)):
        found = _numbers(freeze_depths(depth, target, step, epochs))
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
        if any(later > sooner for sooner, later in itertools.pairwise(found)):
            raise Hint(f"Stages that were unfrozen are frozen again, as the depth rises ({case}); yours: {found}.")
        if wanted[-1] == target < found[-1] == depth - (depth - target) // step * step:
            raise Hint(
                f"The last step may be a shorter one: it ends at the target, {target} ({case}); yours stops before: {found}."
            )
        raise Hint(f"After each epoch `step` stages more are unfrozen. For {case} that is {wanted}; yours: {found}.")


def _numbers(found: object) -> list[int | float]:
    """A list, tuple, array, tensor or generator of numbers as a list."""
    if not isinstance(found, Iterable):
        raise Hint(f"Return a list with one number for each epoch; you returned a single {type(found).__name__}.")
    return [float(value) if float(value) % 1 else int(value) for value in found]


def _features(seed: int, dim: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(40, dim)) + 3


@exercise("linear-cka")
def linear_cka(cka_of: Callable) -> None:
    """Equal to the packaged CKA; hints name the invariance that is broken."""
    x, y = _features(0), _features(1, 3)
    value = _one_number(cka_of(x.copy(), y.copy()))
    if not math.isfinite(value):
        raise Hint("The result is not a finite number.")

    def changed(x: np.ndarray, y: np.ndarray) -> bool:
        return not abs(_one_number(cka_of(x.copy(), y.copy())) - value) < 1e-4  # an answer may compute in float32

    if changed(x + np.arange(5), y) or changed(x, y - np.arange(3)):
        raise Hint("Shifting the features changes your result: subtract the mean of each column first, of x and of y.")
    if changed(10 * x, y) or changed(x, 10 * y):
        raise Hint("Stretching the features changes your result: numerator and denominator must grow alike.")
    rotation = np.linalg.qr(_features(2)[:5])[0]
    if changed(x @ rotation, y) or changed(x, y @ np.linalg.qr(_features(3, 3)[:3])[0]):
        raise Hint("Turning the features changes your result: compare the two sets as a whole, not column by column.")
    wanted = reference(x, y)
    if abs(value - wanted) < 1e-4:
        return
    if abs(value - (1 - wanted)) < 1e-4:
        raise Hint("That is a distance, 0 for equal features: CKA is a similarity, and is 1 there.")
    if abs(value**2 - wanted) < 1e-4:
        raise Hint("That is the square root of CKA: the norm of y.T @ x on top is squared, the two below are not.")
    if not changed(x * (1, 10, 1, 1, 1), y):
        raise Hint(
            "Your result does not change when a single feature is stretched: that is a canonical correlation. In CKA "
            "large features count more; nothing is whitened."
        )
    raise Hint(f"For the check's features CKA is {wanted:.4f}; yours is {value:.4f}.")


def _one_number(found: Any) -> float:
    numbers = np.asarray(found, dtype=float)
    if numbers.size != 1:
        raise Hint(f"Return one number for the two sets as a whole; you returned {numbers.size}.")
    return float(numbers.item())
