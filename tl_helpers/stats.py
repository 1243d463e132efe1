"""One value a seed, and what such values can tell: means, intervals, paired differences.

Seeds change the split, the labels chosen and the order of the batches together, so a value a seed is the unit of
everything that the book says about a method; test images within one seed are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student-t confidence interval over seeds: mean, low, high. A ValueError for fewer than two values, or NaN."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"An interval needs two seeds or more; got {values.size}.")
    if not np.isfinite(values).all():
        raise ValueError("An interval needs finite numbers; there is NaN or infinity among the values.")
    mean = float(values.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def paired(one: Sequence[float], other: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and interval of the difference of two methods, seed by seed: what both share, such as the split, drops out.

    One value a seed each, in the same order; a ValueError for lists of different length, and as `interval`.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values against {len(other)}: give one for each seed, in the same order.")
    return interval(np.asarray(one, dtype=float) - np.asarray(other, dtype=float), confidence)
