"""Checks of chapter 1: an honest interval for a difference, and few-label subsets that are nested."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from scipy import stats

from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, same_every_time

_A = [0.812, 0.795, 0.834, 0.801, 0.822]
_B = [0.781, 0.772, 0.790, 0.779, 0.783]


@exercise("accuracy-interval")
def accuracy_interval(paired_interval: Callable) -> None:
    """95 % t-interval of the mean difference of paired accuracies: (mean, low, high)."""
    a, b = np.array(_A), np.array(_B)
    mean, low, high = _three_numbers(paired_interval(a.copy(), b.copy()))
    d, n = a - b, len(a)
    if np.isclose(mean, -d.mean(), atol=1e-6):
        raise Hint("The sign is turned: a - b was asked for, so that a positive number means that a is better.")
    if not np.isclose(mean, d.mean(), atol=1e-6):
        raise Hint(
            f"The mean difference a - b of the test numbers is {d.mean():.4f}, yours is {mean:.4f}. It comes first, "
            "before the two ends of the interval."
        )
    if not np.isclose(mean - low, high - mean, atol=1e-6):
        raise Hint("The interval has to lie symmetrically around the mean: mean - h and mean + h.")
    if low > high:
        raise Hint("The two ends have changed places: first the low one, mean - h, then the high one, mean + h.")
    t, error = stats.t.ppf(0.975, n - 1), d.std(ddof=1) / np.sqrt(n)
    half = high - mean
    if np.isclose(half, t * error, rtol=1e-3):
        return _few_seeds(paired_interval)
    if np.isclose(half, t * d.std() / np.sqrt(n), rtol=1e-3):
        raise Hint(
            "Too narrow: you divided by n. From a few seeds the spread is estimated with n - 1: use std(ddof=1)."
        )
    if any(np.isclose(half, q * error, rtol=3e-3) for q in (1.96, 2.0)):
        raise Hint(
            f"1.96 is the quantile for very many runs. With {n} seeds the spread itself is uncertain: take the t "
            f"quantile with n - 1 = {n - 1} degrees of freedom, which is {t:.2f}."
        )
    if np.isclose(half, stats.t.ppf(0.95, n - 1) * error, rtol=1e-3):
        raise Hint("That is a 90 % interval: 95 % in the middle leave 2.5 % on each side, so take the 0.975 quantile.")
    if np.isclose(half, stats.t.ppf(0.975, n) * error, rtol=1e-3):
        raise Hint(f"One degree of freedom too many: the mean takes one, so {n} runs leave n - 1 = {n - 1}.")
    if np.isclose(half, t * d.std(ddof=1), rtol=1e-3):
        raise Hint(
            "That is where single runs fall. For the mean, divide the spread by the square root of the number of runs."
        )
    apart = np.sqrt(a.var(ddof=1) / n + b.var(ddof=1) / n)
    if half > 1.05 * t * error or half > 1.8 * apart:
        raise Hint(
            "Too wide: the runs are paired, since both methods saw the same split for each seed. Take the difference "
            "per seed first, then the spread of these differences; what the splits share cancels."
        )
    raise Hint(f"Half the interval's width should be {t * error:.4f} for the test numbers, yours is {half:.4f}.")


def _few_seeds(paired_interval: Callable) -> None:
    d = np.array([0.02, -0.05, 0.06])  # the second split went to the other method
    mean, low, high = _three_numbers(paired_interval(d + 0.7, np.full(3, 0.7)))
    if not np.isclose(mean, d.mean(), atol=1e-6):
        raise Hint(
            f"Right where a wins on every split. Where it loses one, with differences {d.tolist()}, the mean is "
            f"{d.mean():.3f} and yours {mean:.3f}. A difference keeps its sign."
        )
    half = stats.t.ppf(0.975, 2) * d.std(ddof=1) / np.sqrt(3)
    if not np.allclose([low, high], [d.mean() - half, d.mean() + half], rtol=1e-3):
        raise Hint("Right for five seeds, not for three: the degrees of freedom follow the number of runs, n - 1.")


def _three_numbers(found: object) -> tuple[float, float, float]:
    numbers = np.asarray(found, dtype=float)
    if numbers.size != 3:
        raise Hint(f"Return three numbers, the mean and the two ends of its interval; you returned {numbers.size}.")
    mean, low, high = numbers.ravel().tolist()
    return mean, low, high


@exercise("same-subset")
def same_subset(few_labels: Callable) -> None:
    """Stratified, nested, reproducible few-label subsets: indices of shape (n,)."""
    labels = (np.random.default_rng(11).random(1000) < 0.313).astype(int)
    sizes = (20, 50, 100, 300)
    first, second = same_every_time(lambda: np.asarray(few_labels(labels.copy(), 50, 7)))
    _check_indices(first, 50, len(labels))
    if not np.array_equal(first, second):
        raise Hint("Two calls with the same seed gave different subsets. Draw from np.random.default_rng(seed) only.")
    if not leaves_global_generator(lambda: few_labels(labels.copy(), 50, 7)):
        raise Hint(
            "Your function moves NumPy's global generator, so it changes what later cells draw. "
            "Use an own generator: rng = np.random.default_rng(seed)."
        )
    subsets = {n: np.asarray(few_labels(labels.copy(), n, 7)) for n in sizes}
    for n, chosen in subsets.items():
        _check_indices(chosen, n, len(labels))
        expected = labels.mean() * n
        if abs(labels[chosen].sum() - expected) > 1.5:
            raise Hint(
                f"Not stratified: among {n} examples {expected:.1f} of class 1 were due, you took "
                f"{labels[chosen].sum()}. Each class keeps its share, up to one example."
            )
    for small, large in itertools.pairwise(sizes):
        if not set(subsets[small].tolist()) <= set(subsets[large].tolist()):
            raise Hint(
                f"Not nested: the {large}-label set lacks examples of the {small}-label set, so that a learning curve "
                "would mix the effect of more labels with luck. Order all examples once, then take the first n."
            )
    if np.array_equal(np.sort(subsets[100]), np.sort(np.asarray(few_labels(labels.copy(), 100, 8)))):
        raise Hint("Another seed gave the same subset: the seed is not used.")
    _three_classes(few_labels)


def _three_classes(few_labels: Callable) -> None:
    labels = np.random.default_rng(12).choice(3, size=600, p=(0.5, 0.37, 0.13))
    for n in (31, 70):
        chosen = np.asarray(few_labels(labels.copy(), n, 7))
        due = np.bincount(labels, minlength=3) / len(labels) * n
        took = np.bincount(labels[chosen], minlength=3)
        if len(chosen) != n or np.abs(took - due).max() > 1.5:
            raise Hint(
                f"Right for two classes, not for three: of {n} examples {due.round(1)} of classes 0, 1, 2 were due, you "
                f"took {took}. Find the classes with np.unique(labels); rounding each share need not add up to n."
            )


def _check_indices(chosen: np.ndarray, n: int, total: int) -> None:
    if chosen.shape != (n,) or not np.issubdtype(chosen.dtype, np.integer):
        raise Hint(
            f"Expected {n} integer indices, shape ({n},); you returned shape {chosen.shape}, type {chosen.dtype}."
        )
    if len(np.unique(chosen)) < n or chosen.min() < 0 or chosen.max() >= total:
        raise Hint("The indices have to be distinct and lie within the data: no example twice.")
