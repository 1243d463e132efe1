"""Checks of chapter 11b: classes from the probabilities of their attributes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise

_SIGNATURES = np.array([[1.0, 0, 0, 1], [0, 1, 0, 1], [1, 1, 1, 0]])


@exercise("attribute-prediction")
def attribute_prediction(by_attributes: Callable) -> None:
    """Direct attribute prediction: products of what is there and what is not, or their logarithms."""
    p, s = np.random.default_rng(4).uniform(0.05, 0.95, size=(6, 4)), _SIGNATURES
    found = np.asarray(by_attributes(p.copy(), s.copy()), dtype=float)
    n, classes = len(p), len(s)
    if found.shape == (classes, n):
        raise Hint(f"One row for each image and one column for each class, ({n}, {classes}); yours is turned round.")
    if found.shape != (n, classes):
        raise Hint(f"One row for each image and one column for each class, ({n}, {classes}); yours is {found.shape}.")
    want = _products(p, s)
    if _close(found, want) or _close(found, np.log(want)):
        q, other = (
            np.random.default_rng(5).uniform(0.05, 0.95, size=(3, 5)),
            np.array([[0.0, 1, 1, 0, 1], [1, 0, 0, 0, 0]]),
        )
        again, want = np.asarray(by_attributes(q.copy(), other.copy()), dtype=float), _products(q, other)
        if again.shape != want.shape or not (_close(again, want) or _close(again, np.log(want))):
            raise Hint(
                "Right for one table of attributes, not for another of a different size: take sizes from the input."
            )
        return
    _look(found, p, s, want)


def _look(found: np.ndarray, p: np.ndarray, s: np.ndarray, want: np.ndarray) -> None:
    """Name the mistake."""
    has = np.where(s[None] == 1, p[:, None], 1.0).prod(axis=2)
    if _close(found, has) or _close(found, np.log(has)):
        raise Hint(
            "Attributes that a class lacks count as well: an image of it should *not* have them, with probability 1 - p."
        )
    if _close(found, p @ s.T) or _close(found, p @ s.T + (1 - p) @ (1 - s).T):
        raise Hint("Those are sums of probabilities: for all attributes to fit at once they are multiplied.")
    if _close(found, np.log(want) / p.shape[1]) or _close(found, want ** (1 / p.shape[1])):
        raise Hint("You average over attributes: the probability that all of them fit is the product, not a mean.")
    rounded = (np.round(p)[:, None] == s[None]).sum(axis=2)
    if _close(found, rounded) or _close(found, rounded / p.shape[1]):
        raise Hint("You round the probabilities first: then a guess counts as much as a certainty.")
    if _close(found, want / want.sum(axis=1, keepdims=True)) or _close(found, want / want.sum(axis=0)):
        raise Hint("You divide by a sum: the probability of exactly these attributes was asked for, undivided.")
    if _close(found, _products(1 - p, s)) or _close(found, np.log(_products(1 - p, s))):
        raise Hint(
            "There and not there are exchanged: an attribute with signature 1 contributes p, one with 0 gives 1 - p."
        )
    if _close(found, -np.log(want)):
        raise Hint("The sign is turned: the most probable class has to have the highest score.")
    raise Hint("For each attribute p where the signature is 1, and 1 - p where it is 0; multiply over attributes.")


def _products(p: np.ndarray, s: np.ndarray) -> np.ndarray:
    return np.where(s[None] == 1, p[:, None], 1 - p[:, None]).prod(axis=2)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, atol=1e-5))  # an answer may compute in float32
