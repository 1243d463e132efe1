"""tl_helpers.stats: corrected intervals and p-values against scipy, direct formulas and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from tl_helpers import stats

values = st.lists(st.floats(-100, 100), min_size=2, max_size=9)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(values=values)
def test_p_value_is_scipys(values):
    if np.ptp(values) > 1e-6:
        assert stats.p_value(values) == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue, rel=1e-6, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(values=values, overlap=st.floats(0, 2))
def test_interval_and_p_value_tell_the_same(values, overlap):
    _, low, high = stats.interval(values, overlap=overlap)
    if np.ptp(values) > 1e-6 and min(abs(low), abs(high)) > 1e-6:
        assert (low > 0 or high < 0) == (stats.p_value(values, overlap) < 0.05)


def test_values_without_spread():
    assert stats.p_value([0, 0, 0]) == 1
    assert stats.p_value([2, 2, 2]) == 0
    assert stats.interval([2, 2], overlap=0.25) == (2, 2, 2)


def test_correction_of_nadeau_and_bengio():
    """The variance of the mean is (1/n + test/train) times that of a value."""
    values = np.array([1.0, 2.0, 4.0, 3.0, 2.5])
    mean, low, high = stats.interval(values, overlap=0.25)
    error = np.sqrt((1 / 5 + 0.25) * values.var(ddof=1))
    assert (high - mean) / error == pytest.approx(scipy_stats.t.ppf(0.975, 4))
    assert mean - low == pytest.approx(high - mean)


def test_coverage_where_values_share_what_re_splits_share():
    """Values with a correlation of test / all: the plain interval misses too often, the corrected one does not."""
    rng, share, seeds = np.random.default_rng(0), 0.2, 5
    overlap, plain, corrected = share / (1 - share), 0, 0
    for _ in range(2000):
        values = np.sqrt(share) * rng.normal() + np.sqrt(1 - share) * rng.normal(size=seeds)
        _, low, high = stats.interval(values)
        plain += low <= 0 <= high
        _, low, high = stats.interval(values, overlap=overlap)
        corrected += low <= 0 <= high
    assert plain / 2000 < 0.9
    assert corrected / 2000 == pytest.approx(0.95, abs=0.015)


def test_negative_overlap():
    with pytest.raises(ValueError, match="overlap"):
        stats.interval([1, 2], overlap=-0.1)
    with pytest.raises(ValueError, match="overlap"):
        stats.interval([1, 2], overlap=float("nan"))


def test_holm_of_a_known_example():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=60, deadline=None)
@given(p=p_values)
def test_holm_by_its_definition(p):
    """Reject the smallest at 0.05 / m, the next at 0.05 / (m - 1), ..., until one is not rejected."""
    corrected, rejected = stats.holm(p), set()
    for step, number in enumerate(np.argsort(p)):
        if p[number] * (len(p) - step) > 0.05:
            break
        rejected.add(number)
    assert rejected == {n for n, value in enumerate(corrected) if value <= 0.05}
    assert (corrected >= np.array(p) - 1e-12).all()
    assert (corrected <= 1).all()


@pytest.mark.parametrize("bad", [[0.1, np.nan], [-0.1], [1.2], 0.3])
def test_holm_refuses_what_is_no_probability(bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.holm(bad)
