"""Checks of chapter 11: a split after which unseen means unseen, and a label that is near to everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tl_helpers import zeroshot
from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, same_every_time

_FAMILIES = np.array(["run", "run", "cat", "walk", "sun", "walk", "tax", "walk", "oak", "run", "ink", "elk"])
_SEEDS = 200


@exercise("unseen-means-unseen")
def unseen_means_unseen(split_families: Callable) -> None:
    """A split by family: seen and unseen positions, drawn at random."""
    families = _FAMILIES
    if not leaves_global_generator(lambda: split_families(families.copy(), 3, 5)):
        raise Hint("This moves NumPy's global generator: draw from np.random.default_rng(seed) instead.")
    first, again = same_every_time(lambda: _sides(split_families(families.copy(), 3, 5)))
    if any(sorted(a) != sorted(b) for a, b in zip(first, again, strict=True)):
        raise Hint("The same seed has to give the same split every time.")
    drawn = [_unseen(_sides(split_families(families.copy(), 3, seed)), families, 3) for seed in range(_SEEDS)]
    if len(set(drawn)) == 1:
        raise Hint("With another seed other families should be unseen: shuffle them.")
    names = sorted(set(families.tolist()))
    share = np.array([sum(name in unseen for unseen in drawn) for name in names]) / _SEEDS
    large = [k for k, name in enumerate(names) if (families == name).sum() > 1]
    if share[large].min() > 0.375 + 0.14:
        raise Hint(
            "Families with many concepts are unseen more often than others: you draw concepts. Every family has the same "
            "chance, so draw among the different names."
        )
    if np.abs(share - 0.375).max() > 0.2:  # six standard errors
        worst = int(np.abs(share - 0.375).argmax())
        raise Hint(
            f"Three of eight families are to be unseen, each with the same chance: {names[worst]!r} was in "
            f"{share[worst]:.0%} of the seeds, 38 % were due."
        )
    if len(set(drawn)) < 25:  # of 56 that are possible, over 50 are expected; of rotations there are eight
        raise Hint(
            f"Over {_SEEDS} seeds only {len(set(drawn))} different choices of families appear: with a fixed order that is "
            "only shifted, the same ones always go together. Draw them, or shuffle."
        )
    other = np.array(["a", "b", "b", "c", "a"])
    _unseen(_sides(split_families(other.copy(), 1, 0)), other, 1)


def _sides(found: object) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise Hint("Return two lists or arrays: the positions of the seen, and those of the unseen.")
    seen, unseen = (np.asarray(_listed(part)).ravel() for part in found)
    for part in (seen, unseen):
        if len(part) and not np.issubdtype(part.dtype, np.integer):
            kind = "a mask" if part.dtype == bool else "names" if part.dtype.kind in "UO" else f"of type {part.dtype}"
            raise Hint(
                f"Positions were asked for, whole numbers from 0; yours are {kind} (np.flatnonzero finds positions)."
            )
    return seen.astype(int), unseen.astype(int)


def _listed(part: object) -> object:
    """Positions in a set or from a generator as a list."""
    return list(part) if isinstance(part, (set, frozenset, Iterator)) else part


def _unseen(sides: tuple[np.ndarray, np.ndarray], families: np.ndarray, count: int) -> tuple[str, ...]:
    """The unseen families of a split that has been looked through."""
    seen, unseen = sides
    if sorted([*seen, *unseen]) == list(range(len(set(families)))):
        raise Hint(
            "These are numbers of families: return the positions of their concepts, of which a family may have many."
        )
    if any(len(part) and (part.min() < 0 or part.max() >= len(families)) for part in sides):
        raise Hint(f"Positions go from 0 to {len(families) - 1}; yours leave that.")
    both = sorted(set(families[seen].tolist()) & set(families[unseen].tolist()))
    if both:
        raise Hint(f"The family {both[0]!r} is on both sides: who has seen one of it has nearly seen the other.")
    if sorted([*seen, *unseen]) != list(range(len(families))):
        raise Hint("Some positions are left out or there twice: each concept belongs to exactly one side.")
    chosen = set(families[unseen].tolist())
    if len(chosen) != count:
        if len(set(families[seen].tolist())) == count:
            raise Hint("Return the positions of the seen first, then those of the unseen.")
        raise Hint(f"Asked for {count} unseen families; yours are {len(chosen)}. Count families, each once.")
    return tuple(sorted(chosen))


@exercise("inverted-softmax")
def inverted_softmax(inverted: Callable) -> None:
    """Normalised over samples, not over labels."""
    s = np.random.default_rng(3).uniform(-0.2, 0.6, size=(7, 4))
    s[:, 2] += 0.5  # near to everything
    found = np.asarray(inverted(s.copy(), 4.0), dtype=float)
    if found.shape != s.shape:
        raise Hint(f"One row for each sample and one column for each label, {s.shape}; yours is {found.shape}.")
    want = _columns(4 * s)
    for form in (lambda shares: shares, np.log):  # the shares, or their logarithms: the order is the same
        if _close(found, form(want)):
            for beta in (1.0, 9.0):
                if not _close(np.asarray(inverted(s.copy(), beta), dtype=float), form(_columns(beta * s))):
                    raise Hint(
                        f"Right for beta = 4, not for {beta:g}: your function does not go by the beta that it is given."
                    )
            return
    _name_the_mistake(found, s, want)


def _name_the_mistake(found: np.ndarray, s: np.ndarray, want: np.ndarray) -> None:
    e, rows = np.exp(4 * s), np.exp(4 * s) / np.exp(4 * s).sum(axis=1, keepdims=True)
    if _is(found, rows):
        raise Hint("Rows sum to 1, so this is normalised over the labels, and the hub keeps winning: sum over samples.")
    if _is(found, want / want.sum(axis=1, keepdims=True)) or _is(found, rows / rows.sum(axis=0)):
        raise Hint(
            "You normalise twice, over the samples and over the labels: only the columns, and from exp(beta * s)."
        )
    if _is(found, e):
        raise Hint("The exponentials are not divided by anything: divide each column by its sum.")
    if _is(found, e / e.sum()):
        raise Hint("All numbers together sum to 1: each label has a sum of its own, that of its column.")
    if any(_is(found, x / x.sum(axis=0)) for x in (s, np.abs(s), 4 * s, s - s.min(), np.clip(s, 0, None))):
        raise Hint("Similarities can be negative: take the exponential before you divide.")
    if _is(found, _columns(s)):
        raise Hint("beta does nothing here: multiply the similarities by it before anything else.")
    if _is(found, _columns(s / 4)):
        raise Hint("You divide by beta: it is the inverse temperature, so the similarities are multiplied by it.")
    if _is(found, _columns(-4 * s)):
        raise Hint("The sign is turned: the sample that is most similar to a label gets most of its attention.")
    raise Hint("Expected exp(beta * s) divided by its sum over all samples, label by label.")


def _columns(s: np.ndarray) -> np.ndarray:
    return np.exp(zeroshot.inverted_softmax(s, beta=1.0))


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, atol=1e-5))  # an answer may compute in float32


def _is(found: np.ndarray, shares: np.ndarray) -> bool:
    """These shares, or their logarithms."""
    return _close(found, shares) or (bool((shares > 0).all()) and _close(found, np.log(shares)))
