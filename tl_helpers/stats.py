"""One value a seed, and what such values can tell: means, intervals, paired differences.

Seeds change the split, the labels chosen and the order of the batches together, so a value a seed is the unit of
everything that the book says about a method; test images within one seed are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats


def interval(values: Sequence[float], confidence: float = 0.95, overlap: float = 0.0) -> tuple[float, float, float]:
    """Mean and Student-t confidence interval over seeds: mean, low, high.

    Parameters
    ----------
    values : sequence of float
        One value a seed.
    confidence : float
    overlap : float
        For seeds that are random re-splits of one data set: test samples divided by all others. Such seeds share most of
        their samples, so their spread alone makes the interval too narrow; the variance of the mean is taken as
        ``1 / n + overlap`` times that of a value, instead of ``1 / n`` (Nadeau & Bengio 2003).

    Raises
    ------
    ValueError
        For fewer than two values, NaN, or a negative overlap.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"An interval needs two seeds or more; got {values.size}.")
    if not np.isfinite(values).all():
        raise ValueError("An interval needs finite numbers; there is NaN or infinity among the values.")
    mean = float(values.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * _error(values, overlap)
    return mean, mean - half, mean + half


def paired(
    one: Sequence[float], other: Sequence[float], confidence: float = 0.95, overlap: float = 0.0
) -> tuple[float, float, float]:
    """Mean and interval of the difference of two methods, seed by seed: what both share, such as the split, drops out.

    One value a seed each, in the same order; a ValueError for lists of different length, and as `interval`.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values against {len(other)}: give one for each seed, in the same order.")
    return interval(np.asarray(one, dtype=float) - np.asarray(other, dtype=float), confidence, overlap)


def p_value(values: Sequence[float], overlap: float = 0.0) -> float:
    """How likely a mean at least this far from 0 would be if there were no effect: a two-sided t-test, as `interval`.

    1 where all values are 0, 0 where all are another number.
    """
    mean, *_ = interval(values, overlap=overlap)
    error = _error(np.asarray(values, dtype=float), overlap)
    if error == 0:
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / error, len(values) - 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values of several tests, corrected so that one false alarm among *all* of them stays as rare as for a single test.

    Holm (1979): the smallest is multiplied by the number of tests, the next by one less, and so on; none exceeds 1 or
    falls below a smaller one.

    Parameters
    ----------
    p_values : sequence of float, shape (tests,)

    Returns
    -------
    numpy.ndarray, float64, shape (tests,)
        In the order given.

    Raises
    ------
    ValueError
        For NaN or numbers outside 0 to 1.
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("holm needs a list of p-values between 0 and 1.")
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return corrected


def _error(values: np.ndarray, overlap: float) -> float:
    """Standard error of the mean."""
    if not overlap >= 0:
        raise ValueError(f"overlap={overlap}: test samples divided by all others, 0 or more.")
    return float(values.std(ddof=1) * np.sqrt(1 / len(values) + overlap))
