"""Checks of chapter 8: a verdict on transfer, and answers for other class proportions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise
from tl_helpers.stats import interval

VERDICTS = ("helps", "hurts", "within noise")


@exercise("transfer-verdict")
def transfer_verdict(verdict_of: Callable) -> None:
    """A paired t-interval over seeds."""
    luck = np.array([0.0, 9.0, -7.0, 4.0, -6.0])  # of the seeds, common to both
    gain = np.array([3.0, 3.4, 2.8, 3.1, 2.9])
    cases = [
        ("clear gain", luck + gain, luck, "paired"),
        ("clear loss", luck - gain, luck, "paired"),
        ("noise", np.array([80.0, 82.0, 79.0]), np.array([79.0, 83.0, 77.0]), "noise"),
        ("three seeds", np.array([81.0, 84.5, 83.0]), np.array([80.0, 82.0, 82.5]), "Student"),
    ]
    for name, one, other, what in cases:
        _, low, high = interval(one - other)
        wanted = "helps" if low > 0 else "hurts" if high < 0 else "within noise"
        found = verdict_of(list(one), list(other))
        if found not in VERDICTS:
            raise Hint(f"Return one of {', '.join(map(repr, VERDICTS))}; yours is {found!r}.")
        if found == wanted:
            continue
        if {found, wanted} == {"helps", "hurts"}:
            raise Hint("That is the other way round: the gain is with the source minus without it.")
        hints = {
            "paired": "The accuracies are paired by seed: take differences first, so that the seed's luck cancels.",
            "noise": f"A difference of means is no verdict: the interval is [{low:+.1f}, {high:+.1f}], so noise.",
            "Student": f"With three seeds use Student's t, not 1.96: the interval is [{low:+.1f}, {high:+.1f}].",
        }
        raise Hint(f"{hints[what]} ({name}: yours is {found!r}, expected {wanted!r}.)")


@exercise("other-proportions")
def other_proportions(answers_for: Callable) -> None:
    """Bayes' rule for new class shares."""
    p = np.random.default_rng(1).dirichlet([1.0, 1.0], size=12)
    source, target = np.array([0.7, 0.3]), np.array([0.2, 0.8])
    found = np.asarray(answers_for(p.copy(), source.copy(), target.copy()), dtype=float)
    if found.shape != p.shape:
        raise Hint(f"One row for each sample and one column for each class, {p.shape}; yours is {found.shape}.")
    if not np.allclose(found.sum(axis=1), 1, atol=1e-9):
        raise Hint("Each row must sum to 1: divide by its sum at the end.")
    same = np.asarray(answers_for(p.copy(), target.copy(), target.copy()), dtype=float)
    if not np.allclose(same, p, atol=1e-9):
        raise Hint("With equal shares in both domains nothing may change: divide by the source's shares, too.")
    if (found[:, 1] < p[:, 1] - 1e-9).any():
        raise Hint("Class 1 is more frequent in the target, so its probability must rise: target over source.")
    weighted = p * target / source
    if not np.allclose(found, weighted / weighted.sum(axis=1, keepdims=True), atol=1e-9):
        raise Hint("Multiply by target share over source share, class by class, then normalise each row.")
