"""Checks of chapter 8: a verdict on transfer, and answers for other class proportions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise
from tl_helpers.stats import interval

VERDICTS = ("helps", "hurts", "within noise")


class _Case(NamedTuple):
    """What the mean is, in standard errors over so many seeds; the slips before it in the list are told apart."""

    t: float
    seeds: int
    hint: str


# With three seeds Student's quantile is 4.30, with ten 2.26; each case lies between it, or the one before, and that of
# another slip.
_CASES = (
    _Case(
        5.5,
        10,
        "That is where single seeds fall: the standard error is the spread divided by the root of their number.",
    ),
    _Case(
        1.85,
        3,
        "The interval is wider than one standard deviation or standard error: take Student's t times the error.",
    ),
    _Case(2.3, 3, "With three seeds use Student's t, not 1.96."),
    _Case(2.85, 3, "The quantile of t depends on the number of seeds, n - 1 degrees of freedom; do not write it down."),
    _Case(
        3.05,
        3,
        "95 % in the middle leave 2.5 % on each side: take the 0.975 quantile, not that of one side or of 90 %.",
    ),
    _Case(3.3, 3, "One degree of freedom too many: the mean takes one, so n seeds leave n - 1."),
    _Case(4.0, 3, "The spread of a few seeds is estimated with n - 1: std(ddof=1), not the default."),
    _Case(8.5, 3, "An interval of 99 % or more was not asked for: 95 % leave 2.5 % on each side, the 0.975 quantile."),
    _Case(2.5, 10, "Ten seeds narrow the interval: both the standard error and the quantile of t go by their number."),
)


@exercise("transfer-verdict")
def transfer_verdict(verdict_of: Callable) -> None:
    """A paired t-interval over seeds, whatever the scale: a hint for each quantile and error that is often mistaken."""

    def say(one: np.ndarray, other: np.ndarray) -> object:
        found = verdict_of(one.copy(), other.copy())
        return found.item() if isinstance(found, np.ndarray) and found.size == 1 else found  # as of np.where

    def ask(one: np.ndarray, other: np.ndarray, hint: str) -> None:
        _, low, high = interval(one - other)
        wanted = "helps" if low > 0 else "hurts" if high < 0 else "within noise"
        found = say(one, other)
        if not isinstance(found, str) or found not in VERDICTS:
            raise Hint(f"Return one of {', '.join(map(repr, VERDICTS))}; yours is {found!r}.")
        if found != wanted:
            difference = (one - other).round(2).tolist()
            raise Hint(
                f"{hint} (Differences {difference}: the interval is [{low:+.2f}, {high:+.2f}], so {wanted!r}; yours is "
                f"{found!r}.)"
            )

    base = np.full(5, 60.0)
    gain = np.array([3.0, 3.4, 2.8, 3.1, 2.9])
    given = [str(say(base + d, base)) for d in (gain, -gain)]
    if given == ["hurts", "helps"]:
        raise Hint("That is the other way round: the gain is with the source minus without it.")
    if given == ["helps", "helps"]:
        raise Hint(
            "A loss is called a gain: the difference keeps its sign, and only low > 0 means that transfer helps."
        )
    if given == ["helps", "within noise"]:
        raise Hint("Your function never says 'hurts': if the whole interval is below 0, transfer hurts.")
    both = ((1, "a gain"), (-1, "a loss"))
    for sign, name in both:
        ask(
            base + sign * gain, base, f"Every seed shows {name} of nearly the same size: that is clear with five seeds."
        )
    noise = np.array([1.0, -1.0, 2.0])
    for sign, _ in both:
        ask(70 + sign * noise, np.full(3, 70.0), "A difference of means is no verdict: noise makes such a one, too.")
    for sign, name in both:
        scale = (
            f"How large {name} is decides nothing by itself: the interval's width follows the spread over the seeds."
        )
        ask(60 + sign * gain / 100, base, scale)
        ask(base + sign * 10 * np.array([0.5, 4.0, -1.0, 2.0, -2.0]), base, scale)
    agree = np.array([0.5, 1.0, 6.0])
    for sign, name in both:
        ask(70 + sign * agree, np.full(3, 70.0), f"All seeds show {name}, yet they scatter so much that 0 is possible.")
    luck = np.array([0.0, 9.0, -7.0, 4.0, -6.0])  # of the seeds, common to both
    for sign, _ in both:
        ask(
            60 + luck + sign * gain,
            60 + luck,
            "The accuracies are paired by seed: take differences first, so that the seed's luck cancels.",
        )
    for case in _CASES:
        for sign, _ in both:
            ask(60 + sign * _with_t(case.t, case.seeds), np.full(case.seeds, 60.0), case.hint)


def _with_t(t: float, seeds: int) -> np.ndarray:
    """Differences whose mean is `t` standard errors."""
    spread = np.random.default_rng(seeds).normal(size=seeds)
    spread = (spread - spread.mean()) / spread.std(ddof=1)
    return spread + t / np.sqrt(seeds)


@exercise("other-proportions")
def other_proportions(answers_for: Callable) -> None:
    """Bayes' rule for new class shares, for two classes and for three."""
    p = np.random.default_rng(1).dirichlet([1.0, 1.0], size=12)
    source, target = np.array([0.7, 0.3]), np.array([0.2, 0.8])

    def ask(p: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        found = np.asarray(answers_for(p.copy(), source.copy(), target.copy()), dtype=float)
        if found.shape != p.shape:
            raise Hint(f"One row for each sample and one column for each class, {p.shape}; yours is {found.shape}.")
        return found

    found = ask(p, source, target)
    if _close(found, p):
        raise Hint("Your answers are those of the source, unchanged: where the shares differ, the answers do as well.")
    if not np.allclose(found.sum(axis=1), 1, atol=1e-5):
        raise Hint("Each row must sum to 1: divide by its sum at the end.")
    if np.isin(found, (0, 1)).all():
        raise Hint("Probabilities were asked for: yours are decisions, 0 or 1.")
    if _close(found, p + target - source) or _close(found, _rows(np.clip(p + target - source, 0, None))):
        raise Hint("Shares act as factors: multiply by target share over source share, rather than add the difference.")
    if not _close(ask(p, target, target), p):
        raise Hint("With equal shares in both domains nothing may change: divide by the source's shares, too.")
    if (found[:, 1] < p[:, 1] - 1e-5).any():
        raise Hint("Class 1 is more frequent in the target, so its probability must rise: target over source.")
    if not _close(found, _rows(p * target / source)):
        raise Hint("Multiply by target share over source share, class by class, then normalise each row.")
    three = np.random.default_rng(2).dirichlet([1.0, 1.0, 1.0], size=8)
    source, target = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    found = ask(three, source, target)
    if not _close(found, _rows(three * target / source)):
        raise Hint(
            f"Right for two classes, not for three: the first row, {three[0].round(3)}, becomes {found[0].round(3)}. Does "
            "every class get its own factor?"
        )
    alone = ask(three[:1], source, target)
    if not _close(alone, found[:1]):
        raise Hint(
            "A sample's answer changes with the other samples: the shares are given, nothing is to be estimated."
        )


def _rows(p: np.ndarray) -> np.ndarray:
    return p / p.sum(axis=1, keepdims=True)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, atol=1e-5))  # an answer may compute in float32
