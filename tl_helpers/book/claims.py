"""Claims: what a chapter says, checked against its runs. A claim that stops being true stops the notebook.

A claim is about an effect over several seeds, with a margin and an interval - not about a third decimal. `check` and its
siblings assert; `compare` only shows a difference and says what these seeds can tell. Both draw a row of a panel: the
sentence, the difference, and its interval as a small bar. A claim's row also says whether it held again with fresh seeds
(`make replicate`). Used by every chapter.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from IPython import get_ipython

from tl_helpers import ledger, runtime, stats
from tl_helpers.book import panel, replication
from tl_helpers.data import Task


class ClaimFailed(AssertionError):
    """The runs do not support what the chapter says."""


@dataclass(frozen=True)
class Claim:
    """A checked statement: the effect, its 95 % interval, and whether it held.

    Attributes
    ----------
    statement : str
    held : bool
    difference, low, high : float
        NaN for statements without seeds.
    seeds : int
        0 for statements without seeds.
    rule : str
        What was asked for, in words.
    unit : str
        Of the difference.
    margins : tuple of float
        What the mean was held against.
    of : str
        What the values are drawn over: "seeds", or "re-splits" of one data set.
    fresh : str
        What fresh seeds said, in words; empty where nothing is to be said.
    again : bool, optional
        Whether it held with fresh seeds; None if that is not known.
    """

    statement: str
    held: bool
    difference: float
    low: float
    high: float
    seeds: int
    rule: str
    unit: str = "points"
    margins: tuple[float, ...] = ()
    of: str = "seeds"
    fresh: str = ""
    again: bool | None = None

    def __str__(self) -> str:
        facts = self.rule
        if self.seeds:
            numbers = effect(self.difference, self.low, self.high, self.unit)
            facts = f"{numbers}, {self.seeds} {self.of} ({self.rule})"
        facts += f"; {self.fresh}" if self.fresh else ""
        return panel.text("✓" if self.held else "✗", self.statement, facts)

    def _repr_html_(self) -> str:
        kind, fresh = "held" if self.held else "failed", (self.again, self.fresh)
        if not self.seeds:
            return panel.row(kind, self.statement, self.rule, fresh=fresh)
        return panel.row(
            kind,
            self.statement,
            f"{effect(self.difference, self.low, self.high, self.unit)}, {self.seeds} {self.of}; asked: {self.rule}",
            interval=(self.low, self.difference, self.high),
            margins=self.margins,
            fresh=fresh,
        )


@dataclass(frozen=True)
class Comparison:
    """A difference over seeds that nothing is claimed about: mean, 95 % interval, and what it can tell.

    Attributes
    ----------
    label : str
    difference, low, high : float
    seeds : int
    unit : str
    of : str
        What the values are drawn over: "seeds", "splits", "targets".
    """

    label: str
    difference: float
    low: float
    high: float
    seeds: int
    unit: str = "points"
    of: str = "seeds"

    @property
    def verdict(self) -> str:
        """What the interval says: "above 0", "below 0", or that these values cannot tell."""
        if self.low > 0:
            return "above 0"
        return "below 0" if self.high < 0 else f"these {self.of} cannot tell"

    def __str__(self) -> str:
        return panel.text("·", self.label, self._facts())

    def _repr_html_(self) -> str:
        return panel.row("shown", self.label, self._facts(), interval=(self.low, self.difference, self.high))

    def _facts(self) -> str:
        numbers = effect(self.difference, self.low, self.high, self.unit)
        return f"{numbers}, {self.seeds} {self.of}: {self.verdict}"


def effect(mean: float, low: float, high: float, unit: str = "") -> str:
    """Mean and interval in words, such as "+4.6 points [+3.9, +5.3]", with as many decimals as the interval deserves."""
    half, least = (high - low) / 2, 1 if unit else 2  # a number without a unit is a correlation or the like: below 1
    digits = least if half <= 0 else min(6, max(least, -math.floor(math.log10(half))))
    mean, low, high = (f"{value:+z.{digits}f}" for value in (mean, low, high))
    return f"{mean}{f' {unit}' if unit else ''} [{low}, {high}]"


SEEDS, RESPLITS = "seeds", "re-splits"


def resplits(task: Task | tuple[int, int], part: str = "test") -> float:
    """The seeds of this chapter are random re-splits of one data set: widen the intervals of all that follows.

    Such seeds share most of their samples, so their values differ less than those of new data would. `check`, `compare` and
    their siblings take the corrected interval of Nadeau & Bengio (2003) from here on (`tl_helpers.stats.interval`), until
    the next chapter begins; a call can ask for another ``overlap``.

    Parameters
    ----------
    task : Task, or (int, int)
        One of the splits: how many samples are tested on, and how many others there are. Two numbers say just that, where
        what is divided anew are no samples but classes.
    part : {"test", "validation"}
        What is tested on. With ``validation`` the test is the same for all seeds, and only the others are divided anew.

    Returns
    -------
    float
        Samples that are tested on, divided by all others.
    """
    if isinstance(task, tuple):
        test, others = task
    else:
        test = len(task.rows(part))
        others = sum(len(task.rows(other)) for other in ("train", "validation")[: 2 if part == "test" else 1])
    ledger.SESSION[0].overlap = test / others
    what = "classes" if isinstance(task, tuple) else "samples"
    print(f"Seeds are re-splits: {test} {what} to test on, {others} others. Intervals are widened accordingly.")
    return test / others


def _overlap(asked: float | None) -> tuple[float, str]:
    """How much the seeds have in common, and what to call them."""
    overlap = ledger.SESSION[0].overlap if asked is None else asked
    return overlap, RESPLITS if overlap else SEEDS


def compare(
    label: str,
    one: Sequence[float],
    other: Sequence[float] | float = 0.0,
    *,
    unit: str = "points",
    of: str = "",
    overlap: float | None = None,
) -> Comparison:
    """Show a mean difference with its 95 % interval, and what it can tell. Nothing is asserted.

    Parameters
    ----------
    label : str
        What is compared, such as "fine-tuning minus head only".
    one : sequence of float
        One value a seed.
    other : sequence of float, or float
        To be taken away: values of the same seeds in the same order, or a constant.
    unit : str
        Of the difference; "" for a plain number.
    of : str
        What the values are drawn over; "seeds" or "re-splits" by default.
    overlap : float, optional
        What the seeds have in common, as in `tl_helpers.stats.interval`; what `resplits` said by default.

    Returns
    -------
    Comparison
        Drawn as a row of the panel; its numbers can be used further.

    Raises
    ------
    ValueError
        For lists of different length, fewer than two values, or NaN.
    """
    if np.ndim(other) == 0:
        other = np.full(len(one), float(other))
    overlap, name = _overlap(overlap)
    found = Comparison(label, *stats.paired(one, other, overlap=overlap), len(one), unit, of or name)
    panel.show(found)
    return found


def check(
    statement: str,
    *,
    better: Sequence[float],
    worse: Sequence[float],
    by: float = 0.0,
    confidence: float = 0.95,
    unit: str = "points",
    overlap: float | None = None,
) -> Claim:
    """One method is better than another, over seeds.

    Held if the mean difference is at least `by` *and* the interval of the difference is above 0. Values are paired by
    seed (first with first), which removes what both methods share: the split.

    Parameters
    ----------
    statement : str
        As the chapter says it.
    better, worse : sequence of float
        One value a seed, in the same order; higher is better.
    by : float
        Margin for the mean, in the unit of the values.
    unit : str
        Of the difference; "" for a plain number.
    overlap : float, optional
        What the seeds have in common, as in `tl_helpers.stats.interval`; what `resplits` said by default.

    Returns
    -------
    Claim
        Drawn with a tick, and recorded in the ledger.

    Raises
    ------
    ClaimFailed
        If it did not hold (with ``TL_CLAIMS=record``: recorded, and the notebook goes on).
    ValueError
        For lists of different length, fewer than two seeds, or NaN.
    """
    overlap, of = _overlap(overlap)
    difference, low, high = stats.paired(better, worse, confidence, overlap)
    held = difference >= by and low > 0
    rule = "interval above 0" if by == 0 else f"mean at least {by:+g}, interval above 0"
    return _settle(Claim(statement, held, difference, low, high, len(better), rule, unit, (by,), of))


def check_at_least(
    statement: str, values: Sequence[float], bound: float, *, unit: str = "points", overlap: float | None = None
) -> Claim:
    """The mean over seeds reaches a bound, such as a published number; the difference to it is shown.

    Raises
    ------
    ClaimFailed
        If the mean is below the bound.
    """
    overlap, of = _overlap(overlap)
    mean, low, high = stats.interval(values, overlap=overlap)
    rule = f"mean {mean:.2f}, bound {bound:g}"
    away = mean - bound, low - bound, high - bound
    return _settle(Claim(statement, mean >= bound, *away, len(values), rule, unit, (0.0,), of))


def check_close(
    statement: str,
    one: Sequence[float],
    other: Sequence[float],
    *,
    within: float,
    unit: str = "points",
    overlap: float | None = None,
) -> Claim:
    """Two methods are equivalent: the whole 95 % interval of their difference lies within a margin of 0.

    A mean near 0 is not enough. Where the interval reaches further, these seeds cannot tell: use `compare`.

    Raises
    ------
    ClaimFailed
        If the interval reaches beyond `within` on either side.
    """
    overlap, of = _overlap(overlap)
    difference, low, high = stats.paired(one, other, overlap=overlap)
    held = -within <= low and high <= within
    rule = f"interval within ±{within:g}"
    return _settle(Claim(statement, held, difference, low, high, len(one), rule, unit, (-within, within), of))


def check_true(statement: str, condition: bool, detail: str = "") -> Claim:
    """A statement without seeds, such as "these weights are bit-identical".

    Raises
    ------
    ClaimFailed
        If the condition is false.
    """
    return _settle(Claim(statement, bool(condition), math.nan, math.nan, math.nan, 0, detail or "checked"))


def check_same(statement: str, one: Any, other: Any, *, within: float = 1e-6, relative: float = 0.0) -> Claim:
    """Two ways to compute a thing agree: a method written out in the notebook, and the packaged one.

    Parameters
    ----------
    statement : str
    one, other : callable, array, tensor, number, or mapping or sequence of these
        A callable is called without arguments, in an `exact` block: whatever precision was asked for, the comparison is
        made in float32 or better. Give a callable wherever a network computes; values that are there already are taken
        as they are, and refused if their dtype is coarser than float32.
    within : float
        Largest difference allowed; 0 asks for the same bits.
    relative : float
        Allowed on top, as a share of `other`'s size, element by element.

    Raises
    ------
    ClaimFailed
        If they differ by more.
    ValueError
        For different shapes, names or lengths, NaN, or half precision.
    """
    with runtime.exact():
        one, other = (value() if callable(value) else value for value in (one, other))
    pairs = list(_pairs(statement, one, other))
    furthest = max((float(np.abs(a - b).max()) for a, b in pairs if a.size), default=0.0)
    held = all(bool((np.abs(a - b) <= within + relative * np.abs(b)).all()) for a, b in pairs)
    allowed = "the same bits" if within == relative == 0 else f"at most {within:.0e}"
    allowed += f" + {relative:.0e} of the value" if relative else ""
    return check_true(statement, held, f"largest difference {furthest:.1e}, asked: {allowed}")


def _pairs(where: str, one: Any, other: Any) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """The arrays of both sides, side by side, in double precision."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            raise ValueError(f"{where}: the names differ: {sorted(map(str, set(one) ^ set(other)))}.")
        return [pair for name in one for pair in _pairs(f"{where}, {name}", one[name], other[name])]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            raise ValueError(f"{where}: {len(one)} parts against {len(other)}.")
        return [pair for a, b in zip(one, other, strict=True) for pair in _pairs(where, a, b)]
    a, b = (_double(where, value) for value in (one, other))
    if a.shape != b.shape:
        raise ValueError(f"{where}: shape {a.shape} against {b.shape}.")
    return [(a, b)]


def _double(where: str, value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        if value.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(f"{where}: computed in {value.dtype}; give a callable, so that it is computed exactly.")
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype == np.float16:
        raise ValueError(f"{where}: computed in {array.dtype}; give a callable, so that it is computed exactly.")
    array = array.astype(float)
    if np.isnan(array).any():
        raise ValueError(f"{where}: there is NaN among the values.")
    return array


_PLACE: list[tuple[int, str, int]] = [(-1, "", 0)]
"""The last claim's cell: its number among those executed, its name; and the claim's number in it."""


def _place() -> dict[str, Any]:
    """Which claim of which cell this one is. Outside a notebook the cell has no name."""
    shell = get_ipython()
    executed = shell.execution_count if shell else -1
    cell = replication.cell_name(shell.history_manager.input_hist_parsed[-1]) if shell else ""
    before, _, number = _PLACE[0]
    _PLACE[0] = (executed, cell, number + 1 if executed == before else 0)
    return {"cell": cell, "number": _PLACE[0][2]}


def _with_fresh(claim: Claim, place: Mapping[str, Any]) -> Claim:
    """The claim, with what fresh seeds said of it. One that was never replicated says so if it is about seeds."""
    session = ledger.SESSION[0]
    if replication.base() or not session.chapter or not place["cell"]:
        return claim
    other = replication.found(replication.load(), session.chapter, place)
    if other is None:
        return dataclasses.replace(claim, fresh=replication.NOT_YET if claim.seeds else "")
    words = replication.HELD if other["held"] else replication.FAILED
    if not other["held"] and other["difference"] is not None:
        words += f": {effect(other['difference'], other['low'], other['high'], other['unit'])}"
    return dataclasses.replace(claim, fresh=words, again=other["held"])


def _settle(claim: Claim) -> Claim:
    place = _place()
    claim = _with_fresh(claim, place)
    panel.show(claim)
    record = {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in asdict(claim).items()
        if key not in ("fresh", "again")
    } | place
    session = ledger.SESSION[0]
    session.claims.append(record)
    ledger.default().append("claim", chapter=session.chapter, seed_base=replication.base(), **record)
    if not claim.held and os.environ.get("TL_CLAIMS") != "record":
        raise ClaimFailed(str(claim))
    return claim
