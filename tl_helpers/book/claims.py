"""Claims: what a chapter says, checked against its runs. A claim that stops being true stops the notebook.

A claim is about an effect over several seeds, with a margin and an interval - not about a third decimal. `check` and its
siblings assert; `compare` only shows a difference and says what these seeds can tell. Both draw a row of a panel: the
sentence, the difference, and its interval as a small bar. Used by every chapter.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from tl_helpers import ledger, runtime, stats
from tl_helpers.book import panel


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

    def __str__(self) -> str:
        facts = self.rule
        if self.seeds:
            numbers = effect(self.difference, self.low, self.high, self.unit)
            facts = f"{numbers}, {self.seeds} seeds ({self.rule})"
        return panel.text("✓" if self.held else "✗", self.statement, facts)

    def _repr_html_(self) -> str:
        if not self.seeds:
            return panel.row("held" if self.held else "failed", self.statement, self.rule)
        return panel.row(
            "held" if self.held else "failed",
            self.statement,
            f"{effect(self.difference, self.low, self.high, self.unit)}, {self.seeds} seeds; asked: {self.rule}",
            interval=(self.low, self.difference, self.high),
            margins=self.margins,
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
    mean, low, high = (f"{value:+.{digits}f}" for value in (mean, low, high))
    return f"{mean}{f' {unit}' if unit else ''} [{low}, {high}]"


def compare(
    label: str,
    one: Sequence[float],
    other: Sequence[float] | float = 0.0,
    *,
    unit: str = "points",
    of: str = "seeds",
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
        What the values are drawn over.

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
    found = Comparison(label, *stats.paired(one, other), len(one), unit, of)
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
    difference, low, high = stats.paired(better, worse, confidence)
    held = difference >= by and low > 0
    rule = "interval above 0" if by == 0 else f"mean at least {by:+g}, interval above 0"
    return _settle(Claim(statement, held, difference, low, high, len(better), rule, unit, (by,)))


def check_at_least(statement: str, values: Sequence[float], bound: float, *, unit: str = "points") -> Claim:
    """The mean over seeds reaches a bound, such as a published number; the difference to it is shown.

    Raises
    ------
    ClaimFailed
        If the mean is below the bound.
    """
    mean, low, high = stats.interval(values)
    rule = f"mean {mean:.2f}, bound {bound:g}"
    found = Claim(statement, mean >= bound, mean - bound, low - bound, high - bound, len(values), rule, unit, (0.0,))
    return _settle(found)


def check_close(
    statement: str, one: Sequence[float], other: Sequence[float], *, within: float, unit: str = "points"
) -> Claim:
    """Two methods do not differ by more than a margin on average; for honest "this brought nothing" statements.

    Raises
    ------
    ClaimFailed
        If the mean difference is larger than `within`.
    """
    difference, low, high = stats.paired(one, other)
    rule = f"mean within {within:g}"
    held = abs(difference) <= within
    return _settle(Claim(statement, held, difference, low, high, len(one), rule, unit, (-within, within)))


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


def _settle(claim: Claim) -> Claim:
    panel.show(claim)
    record = {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(claim).items()
    }
    session = ledger.SESSION[0]
    session.claims.append(record)
    ledger.default().append("claim", chapter=session.chapter, **record)
    if not claim.held and os.environ.get("TL_CLAIMS") != "record":
        raise ClaimFailed(str(claim))
    return claim
