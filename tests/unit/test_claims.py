"""tl_helpers.claims and tl_helpers.chapter: true claims hold, false ones stop the notebook, both are on record."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tl_helpers import chapter, ledger
from tl_helpers.claims import ClaimFailed, check, check_at_least, check_close, check_true, interval

values = st.lists(st.floats(-100, 100), min_size=2, max_size=9)


@settings(max_examples=60, deadline=None)
@given(values=values, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_interval_is_scipys(values, confidence):
    mean, low, high = interval(values, confidence)
    assert low <= mean <= high
    if np.ptp(values) > 1e-6:
        want = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert (low, high) == pytest.approx((want.low, want.high), rel=1e-6, abs=1e-6)


def test_a_true_claim_is_printed_and_recorded(capsys):
    claim = check("A beats B", better=[85.0, 86.0, 87.0], worse=[80.0, 80.5, 81.5], by=5)
    assert claim.held
    assert claim.difference == pytest.approx(5.333, abs=1e-3)
    assert "✓ A beats B: +5.33 [" in capsys.readouterr().out
    record = ledger.default().records("claim")[-1]
    assert (record["statement"], record["held"]) == ("A beats B", True)


@pytest.mark.parametrize(
    ("better", "worse", "by"),
    [
        ([80, 81, 82], [85, 86, 87], 0),  # the other way round
        ([80, 90, 70], [79, 80, 79], 0),  # better on average, but within noise
        ([85, 86, 87], [84, 85, 86.1], 5),  # better, but not by enough
    ],
)
def test_a_false_claim_stops(better, worse, by, capsys):
    with pytest.raises(ClaimFailed, match="A beats B"):
        check("A beats B", better=better, worse=worse, by=by)
    assert "✗" in capsys.readouterr().out
    assert ledger.default().records("claim")[-1]["held"] is False


def test_pairing_removes_what_seeds_share():
    worse = [60.0, 75.0, 90.0]
    assert check("paired", better=[61.0, 76.1, 91.0], worse=worse).low > 0


@pytest.mark.parametrize(("better", "worse"), [([1, 2], [1, 2, 3]), ([1], [0]), ([1, np.nan], [0, 0])])
def test_bad_values(better, worse):
    with pytest.raises(ValueError, match=r"one for each seed|two seeds|finite"):
        check("?", better=better, worse=worse)


def test_at_least():
    assert check_at_least("reaches it", [84, 85], 82.44).difference == pytest.approx(2.06)
    with pytest.raises(ClaimFailed):
        check_at_least("does not", [80, 82], 82.44)


def test_close():
    assert check_close("alike", [80, 81, 82], [80.2, 80.8, 82.1], within=0.5).held
    with pytest.raises(ClaimFailed):
        check_close("alike", [80, 81], [83, 84], within=0.5)


def test_plain_truth():
    assert "bits equal" in str(check_true("same", True, "bits equal"))
    with pytest.raises(ClaimFailed):
        check_true("same", False)
    assert ledger.default().records("claim")[-1]["difference"] is None


def test_chapter_reports_on_itself(capsys):
    chapter.begin("99_test")
    check_true("one", True)
    with pytest.raises(ClaimFailed):
        check_true("two", False)
    chapter.finish()
    record = ledger.default().records("chapter")[-1]
    assert record["chapter"] == "99_test"
    assert [claim["held"] for claim in record["claims"]] == [True, False]
    assert record["cold"]
    assert 0 <= record["seconds"] < 60
    assert {"torch", "python"} <= set(record["versions"])
    assert "1 of 2 claims held" in capsys.readouterr().out
    assert ledger.default().records("claim")[-1]["chapter"] == "99_test"


def test_finish_needs_begin():
    ledger.SESSION[0] = ledger.Session()
    with pytest.raises(RuntimeError, match="first code cell"):
        chapter.finish()
