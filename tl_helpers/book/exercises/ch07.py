"""Checks of chapter 7: the mutual information of answers, and pseudo-labels that are balanced over the classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_helpers.adaptation import mutual_information as reference
from tl_helpers.book.exercises.checking import Hint, exercise


@exercise("mutual-information")
def mutual_information(information: Callable) -> None:
    """Equal to the packaged score, in whatever precision; hints for the usual slips."""
    collapsed = _one_number(information(np.tile([[0.0, 1.0, 0.0]], (6, 1))))
    spread = _one_number(information(np.eye(3)))
    if not np.isfinite([collapsed, spread]).all():
        raise Hint("A probability of 0 makes your result NaN or infinite: such a term counts as 0.")
    p = np.random.default_rng(0).dirichlet([0.5] * 3, size=40)
    value, wanted = _one_number(information(p.copy())), reference(p)
    if _near(value, wanted) and _near(collapsed, 0) and _near(spread, np.log(3)):
        other = np.random.default_rng(1).dirichlet([1.0] * 5, size=7)
        value, wanted = _one_number(information(other.copy())), reference(other)
        if not _near(value, wanted):
            raise Hint(f"Right for 40 answers over 3 classes, not for 7 over 5: {wanted:.4f}; yours is {value:.4f}.")
        return
    if _near(value, -wanted):
        raise Hint("The sign is turned: entropy of the mean answer first, minus the mean entropy.")
    if _near(value * np.log(2), wanted):
        raise Hint("That is in bits; use the natural logarithm, for nats.")
    if any(_near(value * np.log(n), wanted) for n in (3, 10)):
        raise Hint(
            "That is on another scale: nats are asked for, the natural logarithm and no division by its maximum."
        )
    total, each = _entropy(p.mean(axis=0)), _entropy(p)
    if _near(value, total):
        raise Hint(
            "That is the entropy of the mean answer alone: unsure answers score as high. Subtract the mean entropy."
        )
    if _near(value, total + each.mean()):
        raise Hint("You add the mean entropy of the answers: subtract it, as sure answers are to score high.")
    if any(_near(value, sign * each.mean()) for sign in (1, -1)) or _near(collapsed, np.log(3)):
        raise Hint(
            f"Answers that are sure but all of one class must score 0, sure and spread over three classes ln 3; yours "
            f"give {collapsed:.3f} and {spread:.3f}. Did you forget the entropy of the mean answer?"
        )
    if _near(value, total - each.sum()):
        raise Hint("You subtract the sum of the entropies of all answers; it is their mean.")
    if _near(value, _entropy(p.mean(axis=1)) - _entropy(p.T).mean()) or _near(value, reference((p / p.sum(axis=0)).T)):
        raise Hint("The axes have changed places: average over the answers (rows), sum the entropy over the classes.")
    if _near(value, _entropy(np.bincount(p.argmax(axis=1), minlength=3) / len(p))):
        raise Hint("You count the most likely classes; how sure the answers are is lost. Use the probabilities.")
    raise Hint(
        f"For the check's answers the mutual information is {wanted:.4f}; yours is {value:.4f}. All of one class must give "
        f"0 (yours: {collapsed:.3f}), sure and spread over three classes ln 3 (yours: {spread:.3f})."
    )


def _entropy(q: np.ndarray) -> np.ndarray:
    return -(q * np.log(np.where(q > 0, q, 1))).sum(axis=-1)


def _one_number(found: object) -> float:
    numbers = np.asarray(found, dtype=float)
    if numbers.size != 1:
        raise Hint(
            f"Return one number for all answers together; you returned {numbers.size}. Average over the answers."
        )
    return float(numbers.item())


def _near(one: float, other: float) -> bool:
    return bool(abs(one - other) < 1e-4)  # an answer may compute in float32, or add a small number to each logarithm's


@exercise("balanced-pseudo-labels")
def balanced_pseudo_labels(believed: Callable) -> None:
    """Of each class that is answered, the surest share, rounded up; as a mask over the answers."""
    p = np.random.default_rng(0).dirichlet([4.0, 3.0, 2.5], size=41)
    found, wanted = _mask(believed(p.copy(), 0.375), p), _surest(p, 0.375)
    if not (found == wanted).all():
        _which_belief(found, p, 0.375)
        raise Hint(_belief_counts(found, wanted, p))
    for other, share in ((p, 0.5), (p, 0.75), (np.random.default_rng(1).dirichlet([1.0] * 5, size=60), 0.25)):
        found, wanted = _mask(believed(other.copy(), share), other), _surest(other, share)
        if not (found == wanted).all():
            _which_belief(found, other, share)
            raise Hint(
                f"Right for a share of 0.375 of answers over 3 classes, not for {share:g} over {other.shape[1]}: "
                f"{wanted.sum()} are to be believed, you believe {found.sum()}."
            )
    p = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0]])
    found = _mask(believed(p.copy(), 0.5), p)
    if not (found == _surest(p, 0.5)).all():
        raise Hint("Right where each class is answered often. Where one is never answered or only once it goes wrong.")


def _surest(p: np.ndarray, share: float, rounded: Callable = np.ceil, order: int = -1) -> np.ndarray:
    """The mask that is wanted; with another rounding or order, a mistake."""
    said, sure, keep = p.argmax(axis=1), p.max(axis=1), np.zeros(len(p), dtype=bool)
    for label in np.unique(said):
        members = np.flatnonzero(said == label)
        members = members[np.argsort(order * sure[members], kind="stable")]
        keep[members[: int(rounded(share * len(members)))]] = True
    return keep


def _mask(found: object, p: np.ndarray) -> np.ndarray:
    if found is None:
        raise Hint("Your function returns nothing yet.")
    found = np.asarray(found)
    if found.shape != (len(p),) or not np.isin(found, (0, 1)).all():
        raise Hint(
            f"Return a mask: one True or False for each of the {len(p)} answers, not their numbers, labels or "
            f"probabilities. Yours has the shape {found.shape}."
        )
    return found.astype(bool)


def _belief_counts(found: np.ndarray, wanted: np.ndarray, p: np.ndarray) -> str:
    said, classes = p.argmax(axis=1), p.shape[1]
    theirs, right, all_ = (
        ", ".join(map(str, np.bincount(said[some], minlength=classes)))
        for some in (found, wanted, np.ones(len(p), bool))
    )
    words = f"of answers in the classes ({all_}) you believe ({theirs}), wanted are ({right})"
    return words + (", the surest of each class." if theirs == right else ".")


def _which_belief(found: np.ndarray, p: np.ndarray, share: float) -> None:
    """Raise the hint for a mask that a common mistake gives."""
    said, sure, classes = p.argmax(axis=1), p.max(axis=1), p.shape[1]
    order = np.argsort(-sure, kind="stable")

    def same(mask: np.ndarray) -> bool:
        return bool((found == mask).all())

    def first(count: float) -> np.ndarray:
        return np.isin(np.arange(len(p)), order[: int(count)])

    if found.all() or not found.any():
        raise Hint(f"You believe {'all' if found.all() else 'none'} of the answers, whatever the share is.")
    if any(same(first(rounded(share * len(p)))) for rounded in (np.ceil, np.floor, np.round)):
        raise Hint("That is the surest share of all answers together: a class that is never sure is never believed.")
    if any(same(compare(sure, level)) for compare in (np.greater, np.greater_equal) for level in (share, 1 - share)):
        raise Hint("You use the share as a threshold on the probability; it is how many of a class are believed.")
    if any(same(_surest(p, share, rounded)) for rounded in (np.floor, np.round, lambda n: max(1, np.floor(n)))):
        raise Hint("Round up, so that a class that is answered only once is believed, too.")
    if any(same(_surest(p, share, rounded, 1)) for rounded in (np.ceil, np.floor)):
        raise Hint("Those are the least sure of each class: the order is turned.")
    columns = np.zeros(len(p), dtype=bool)
    for label in range(classes):
        columns[np.argsort(-p[:, label], kind="stable")[: int(np.ceil(share * len(p)))]] = True
    if same(columns):
        raise Hint(
            "For each class you rank every answer. A class's own are those for which it is the most likely: rank these."
        )
    equal = np.zeros(len(p), dtype=bool)
    for label in range(classes):
        members = order[said[order] == label]
        equal[members[: int(np.ceil(share * len(p) / classes))]] = True
    if same(equal):
        raise Hint("You believe the same number of each class; it is to be the same share of the answers in it.")
