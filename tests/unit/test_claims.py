"""tl_helpers.book.claims and tl_helpers.book.chapter: true claims hold, false ones stop the notebook, both are on record."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tl_helpers import ledger, runtime
from tl_helpers.book import chapter, claims, panel
from tl_helpers.book.claims import (
    ClaimFailed,
    check,
    check_at_least,
    check_close,
    check_same,
    check_true,
    compare,
)
from tl_helpers.stats import interval

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
    assert "✓ A beats B: +5.3 points [" in capsys.readouterr().out
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
    assert check_close("alike", [80, 81, 82], [80.2, 80.8, 82.1], within=1).held
    with pytest.raises(ClaimFailed):
        check_close("alike", [80, 81], [83, 84], within=0.5)


def test_a_mean_near_zero_is_no_equivalence():
    """Three seeds that differ widely both ways cannot tell."""
    with pytest.raises(ClaimFailed, match="interval within ±2"):
        check_close("alike", [80, 85, 75], [85, 80, 75], within=2)
    with pytest.raises(ClaimFailed):  # one side is enough
        check_close("alike", [80, 81, 82.5], [79, 79, 81], within=2)


class Split:
    """A task of which only the sizes of the splits are asked for."""

    def rows(self, split):
        return range({"train": 600, "validation": 200, "test": 200}[split])


def test_resplits_widen_every_interval_of_the_chapter(capsys):
    chapter.begin("99_resplits")
    better, worse = [85.0, 86.0, 87.0, 84.0, 86.5], [80.0, 83.0, 82.5, 80.5, 84.0]
    plain = check("A beats B", better=better, worse=worse)
    assert claims.resplits(Split()) == 0.25
    assert "200 samples to test on, 800 others" in capsys.readouterr().out
    wide = check("A beats B", better=better, worse=worse)
    times = np.sqrt((1 / 5 + 0.25) / (1 / 5))
    assert wide.high - wide.difference == pytest.approx(times * (plain.high - plain.difference))
    assert "5 re-splits" in str(wide)
    assert "5 seeds" in str(plain)
    shown = compare("A minus B", better, worse)
    assert (shown.low, shown.high) == (wide.low, wide.high)
    assert "5 re-splits" in str(shown)
    assert compare("A minus B", better, worse, overlap=0).low == plain.low
    assert check_close("alike", better, worse, within=50).low == wide.low
    assert claims.check_at_least("well above", better, 80).low > check_at_least("x", better, 80, overlap=1).low
    assert ledger.default().records("claim")[-1]["of"] == "re-splits"
    chapter.begin("98_next")
    assert check("A beats B", better=better, worse=worse).low == plain.low


def test_re_splits_of_what_is_not_the_test(capsys):
    chapter.begin("99_resplits")
    assert claims.resplits(Split(), part="validation") == pytest.approx(1 / 3)
    assert "200 samples to test on, 600 others" in capsys.readouterr().out
    chapter.begin("98_next")


def test_re_splits_of_classes(capsys):
    chapter.begin("99_resplits")
    assert claims.resplits((200, 1000)) == 0.2
    assert "200 classes to test on, 1000 others" in capsys.readouterr().out
    chapter.begin("98_next")


def test_an_effect_that_re_splits_cannot_show():
    """Above zero for independent seeds, not so for re-splits."""
    gains = [0.5, 1.4, 0.6, 1.5, 0.5]
    assert check("better", better=gains, worse=[0] * 5).held
    with pytest.raises(ClaimFailed):
        check("better", better=gains, worse=[0] * 5, overlap=0.25)


def test_plain_truth():
    assert "bits equal" in str(check_true("same", True, "bits equal"))
    with pytest.raises(ClaimFailed):
        check_true("same", False)
    assert ledger.default().records("claim")[-1]["difference"] is None


def test_a_failed_claim_lets_the_notebook_go_on_where_claims_are_only_recorded(monkeypatch, capsys):
    monkeypatch.setenv("TL_CLAIMS", "record")
    assert not check_true("same", False).held
    assert "✗ same" in capsys.readouterr().out
    assert ledger.default().records("claim")[-1]["held"] is False


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ([3, 4, 5], 0.0, "above 0"),
        ([1.0, 2.0], [3.0, 4.1], "below 0"),
        ([1, -1, 0.5], [0, 0, 0], "these seeds cannot tell"),
    ],
)
def test_a_comparison_says_what_its_seeds_can_tell(one, other, says, capsys):
    found = compare("one minus other", one, other)
    assert found.verdict == says
    assert (found.difference, found.low, found.high) == interval(np.asarray(one) - other)
    assert f"{len(one)} seeds: {says}" in " ".join(capsys.readouterr().out.split())
    assert ledger.default().records("claim") == []  # nothing is claimed


def test_a_comparison_needs_values_of_the_same_seeds():
    with pytest.raises(ValueError, match="one for each seed"):
        compare("one minus other", [1, 2, 3], [1, 2])


def test_the_same_thing_computed_twice():
    x = torch.linspace(0, 1, 50)
    assert check_same("by hand", lambda: x.exp(), lambda: np.exp(x.numpy()), within=1e-6).held
    assert check_same("parts", {"a": x, "b": [1, 2.0]}, {"b": [1, 2.0], "a": x}, within=0).held
    assert check_same("large numbers", 1e6 * x, 1e6 * x + 0.01, relative=1e-5, within=0.02).held
    with pytest.raises(ClaimFailed, match=r"largest difference 1\.0e-03"):
        check_same("not the same", x, x + 1e-3, within=1e-6)
    with pytest.raises(ClaimFailed):
        check_same("not the same bits", x.double(), x.double() + 1e-12, within=0)


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (torch.ones(2).bfloat16(), torch.ones(2), "give a callable"),
        (np.ones(2, dtype=np.float16), np.ones(2), "give a callable"),
        (np.ones(2), np.ones(3), "shape"),
        ({"a": 1}, {"b": 1}, "names"),
        ([1, 2], [1], "parts"),
        (np.array([np.nan]), np.array([np.nan]), "NaN"),
    ],
)
def test_what_cannot_be_compared_is_said(one, other, says):
    with pytest.raises(ValueError, match=says):
        check_same("by hand", one, other)


def test_comparisons_are_exact_whatever_precision_was_asked_for(monkeypatch):
    """In bfloat16 this product is off by a hundredth: the comparison must not see that."""
    monkeypatch.setenv("TL_PRECISION", "bfloat16")
    runtime.current.cache_clear()
    x = torch.linspace(0, 1, 64)[None]
    exact = (x @ x.T).item()

    def packaged():
        with runtime.current().autocast():
            return (x @ x.T).float()

    assert abs(packaged().item() - exact) > 1e-3
    assert check_same("by hand", [[exact]], packaged, within=1e-5).held


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.text("abcdefgh &<", min_size=1, max_size=30), min_size=1, max_size=30), values=values)
def test_plain_rows_fit_a_page_and_html_rows_escape(words, values):
    sentence = " ".join(words)
    found = claims.Comparison(sentence, *interval(values), len(values))
    assert max(map(len, str(found).splitlines())) <= panel.COLUMNS
    drawn = found._repr_html_().split("</style>")[1]
    assert sentence.replace("&", "&amp;").replace("<", "&lt;") in drawn


def test_a_bar_marks_mean_interval_and_margin():
    found = claims.Claim("A beats B", True, 4.0, 2.0, 6.0, 5, "mean at least +3", "points", (3.0,))
    drawn = found._repr_html_()
    assert 'aria-label="interval from 2 to 6, mean 4, asked for 3"' in drawn
    x = {value: 10 + 140 * value / 6 for value in (0, 2, 3, 4, 6)}
    assert f'd="M{x[2]:.1f} 12.5H{x[6]:.1f}"' in drawn
    assert f'cx="{x[4]:.1f}"' in drawn
    assert f'd="M{x[3]:.1f} 3V22"' in drawn
    assert "+4.0 points [+2.0, +6.0]" in drawn


@pytest.mark.parametrize(("half", "text"), [(3.0, "+1.2 "), (0.02, "+1.23 "), (0.0, "+1.2 "), (0.0004, "+1.2346 ")])
def test_as_many_decimals_as_the_interval_deserves(half, text):
    assert claims.effect(1.23456, 1.23456 - half, 1.23456 + half, "points").startswith(text)


def test_a_correlation_has_two_decimals():
    assert claims.effect(-0.57, -0.72, -0.42) == "-0.57 [-0.72, -0.42]"


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
