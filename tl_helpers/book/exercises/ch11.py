"""Checks of chapter 11: a split after which unseen means unseen, and a label that is near to everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_helpers import zeroshot
from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, same_every_time


@exercise("unseen-means-unseen")
def unseen_means_unseen(split_families: Callable) -> None:
    """A split by family: seen and unseen positions."""
    families = np.array(["run", "run", "cat", "walk", "sun", "walk", "tax", "walk", "oak", "run", "ink", "elk"])
    if not leaves_global_generator(lambda: split_families(families.copy(), 3, 5)):
        raise Hint("This moves NumPy's global generator: draw from np.random.default_rng(seed) instead.")
    answers = [tuple(np.asarray(part) for part in split_families(families.copy(), 3, seed)) for seed in range(8)]
    for seen, unseen in answers:
        if set(families[seen]) & set(families[unseen]):
            both = sorted(set(families[seen]) & set(families[unseen]))
            raise Hint(f"The family {both[0]!r} is on both sides: who has seen one of it has nearly seen the other.")
        if sorted([*seen, *unseen]) != list(range(len(families))):
            raise Hint("Some positions are left out or there twice: each concept belongs to exactly one side.")
        if len(set(families[unseen])) != 3:
            if len(set(families[seen])) == 3:
                raise Hint("Return the positions of the seen first, then those of the unseen.")
            raise Hint(f"Asked for 3 unseen families; yours are {len(set(families[unseen]))}.")
    if len({tuple(sorted(map(int, unseen))) for _, unseen in answers}) == 1:
        raise Hint("With another seed other families should be unseen: shuffle them.")
    first, again = same_every_time(lambda: split_families(families.copy(), 3, 5))
    if any(sorted(a) != sorted(b) for a, b in zip(first, again, strict=True)):
        raise Hint("The same seed has to give the same split every time.")


@exercise("inverted-softmax")
def inverted_softmax(inverted: Callable) -> None:
    """Normalised over samples, not over labels."""
    s = np.random.default_rng(3).uniform(0.1, 0.6, size=(7, 4))
    s[:, 2] += 0.5  # near to everything
    found = np.asarray(inverted(s.copy(), 4.0), dtype=float)
    if found.shape != s.shape:
        raise Hint(f"One row for each sample and one column for each label, {s.shape}; yours is {found.shape}.")
    want = np.exp(zeroshot.inverted_softmax(s, beta=4.0))
    if np.allclose(found, want, atol=1e-6) or np.allclose(found, np.log(want), atol=1e-6):
        return
    if np.allclose(found.sum(axis=1), 1):
        raise Hint("Rows sum to 1, so this is normalised over the labels, and the hub keeps winning: sum over samples.")
    if np.allclose(found, np.exp(zeroshot.inverted_softmax(s, beta=1.0)), atol=1e-6):
        raise Hint("beta does nothing here: multiply the similarities by it before anything else.")
    if np.allclose(found, s / s.sum(axis=0, keepdims=True), atol=1e-6):
        raise Hint("Similarities can be negative: take the exponential before you divide.")
    raise Hint("Expected exp(beta * s) divided by its sum over all samples, label by label.")
