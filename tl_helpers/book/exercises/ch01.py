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
    mean, low, high = (float(v) for v in paired_interval(a.copy(), b.copy()))
    d, n = a - b, len(a)
    if not np.isclose(mean, d.mean(), atol=1e-9):
        raise Hint(f"The mean difference a - b of the test numbers is {d.mean():.4f}, yours is {mean:.4f}.")
    if not np.isclose(mean - low, high - mean, atol=1e-9):
        raise Hint("The interval has to lie symmetrically around the mean: mean - h and mean + h.")
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
    d = np.array([0.02, 0.05, 0.03])
    _, _, high = paired_interval(d + 0.7, np.full(3, 0.7))
    expected = d.mean() + stats.t.ppf(0.975, 2) * d.std(ddof=1) / np.sqrt(3)
    if not np.isclose(float(high), expected, rtol=1e-3):
        raise Hint("Right for five seeds, not for three: the degrees of freedom follow the number of runs, n - 1.")


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


def _check_indices(chosen: np.ndarray, n: int, total: int) -> None:
    if chosen.shape != (n,) or not np.issubdtype(chosen.dtype, np.integer):
        raise Hint(
            f"Expected {n} integer indices, shape ({n},); you returned shape {chosen.shape}, type {chosen.dtype}."
        )
    if len(np.unique(chosen)) < n or chosen.min() < 0 or chosen.max() >= total:
        raise Hint("The indices have to be distinct and lie within the data: no example twice.")
