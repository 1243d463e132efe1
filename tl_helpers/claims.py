"""Claims: what a chapter says, checked against its runs. A claim that stops being true stops the notebook.

A claim is about an effect over several seeds, with a margin and an interval - not about a third decimal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from tl_helpers import ledger


class ClaimFailed(AssertionError):
    """The runs do not support what the chapter says."""


@dataclass(frozen=True)
class Claim:
    """A checked statement: the effect, its 95 % interval, and whether it held."""

    statement: str
    held: bool
    difference: float
    low: float
    high: float
    seeds: int
    rule: str

    def __str__(self) -> str:
        tick = "✓" if self.held else "✗"
        if self.seeds == 0:
            return f"{tick} {self.statement}: {self.rule}"
        return (
            f"{tick} {self.statement}: {self.difference:+.2f} "
            f"[{self.low:+.2f}, {self.high:+.2f}], {self.seeds} seeds ({self.rule})"
        )


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student-t confidence interval over seeds.

    Parameters
    ----------
    values : sequence of float, length 2 or more
    confidence : float
        In (0, 1).

    Returns
    -------
    mean, low, high : float

    Raises
    ------
    ValueError
        For fewer than two values, or NaN among them.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"An interval needs two seeds or more; got {values.size}.")
    if not np.isfinite(values).all():
        raise ValueError("An interval needs finite numbers; there is NaN or infinity among the values.")
    mean = float(values.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def check(
    statement: str, *, better: Sequence[float], worse: Sequence[float], by: float = 0.0, confidence: float = 0.95
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

    Returns
    -------
    Claim
        Printed with a tick, and recorded in the ledger.

    Raises
    ------
    ClaimFailed
        If it did not hold.
    ValueError
        For lists of different length, fewer than two seeds, or NaN.
    """
    difference, low, high = _paired(better, worse, confidence)
    held = difference >= by and low > 0
    rule = f"mean at least {by:+g}, interval above 0"
    return _settle(Claim(statement, held, difference, low, high, len(better), rule))


def check_at_least(statement: str, values: Sequence[float], bound: float) -> Claim:
    """The mean over seeds reaches a bound, such as a published number; the difference to it is printed.

    Raises
    ------
    ClaimFailed
        If the mean is below the bound.
    """
    mean, low, high = interval(values)
    rule = f"mean {mean:.2f}, bound {bound:g}"
    return _settle(Claim(statement, mean >= bound, mean - bound, low - bound, high - bound, len(values), rule))


def check_close(statement: str, one: Sequence[float], other: Sequence[float], *, within: float) -> Claim:
    """Two methods do not differ by more than a margin on average; for honest "this brought nothing" statements.

    Raises
    ------
    ClaimFailed
        If the mean difference is larger than `within`.
    """
    difference, low, high = _paired(one, other, 0.95)
    rule = f"mean within {within:g}"
    return _settle(Claim(statement, abs(difference) <= within, difference, low, high, len(one), rule))


def check_true(statement: str, condition: bool, detail: str = "") -> Claim:
    """A statement without seeds, such as "these weights are bit-identical".

    Raises
    ------
    ClaimFailed
        If the condition is false.
    """
    return _settle(Claim(statement, bool(condition), math.nan, math.nan, math.nan, 0, detail or "checked"))


def _paired(better: Sequence[float], worse: Sequence[float], confidence: float) -> tuple[float, float, float]:
    if len(better) != len(worse):
        raise ValueError(f"{len(better)} values against {len(worse)}: give one for each seed, in the same order.")
    return interval(np.asarray(better, dtype=float) - np.asarray(worse, dtype=float), confidence)


def _settle(claim: Claim) -> Claim:
    print(claim)
    record = {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(claim).items()
    }
    session = ledger.SESSION[0]
    session.claims.append(record)
    ledger.default().append("claim", chapter=session.chapter, **record)
    if not claim.held:
        raise ClaimFailed(str(claim))
    return claim
