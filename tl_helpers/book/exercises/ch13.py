"""Checks of chapter 13: a buffer that treats all samples alike, and a step that does not hurt what is in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, same_every_time


@exercise("reservoir-sampling")
def reservoir_sampling(reservoir: Callable) -> None:
    """Every item of a stream of unknown length ends up in the buffer with the same probability."""
    if not leaves_global_generator(lambda: reservoir(iter(range(12)), 3, 5)):
        raise Hint("This moves NumPy's global generator: draw from np.random.default_rng(seed) instead.")
    if sorted(reservoir(iter(range(3)), 4, 0)) != [0, 1, 2]:
        raise Hint("A stream that is shorter than the buffer is kept whole.")
    long, size, seeds = 12, 3, 1200
    counts = np.zeros(long)
    for seed in range(seeds):
        kept = list(reservoir(iter(range(long)), size, seed))
        if len(kept) != size or len(set(kept)) != size or not set(kept) <= set(range(long)):
            raise Hint(f"Of {long} items, {size} different ones are kept; yours with seed {seed} are {kept}.")
        counts[kept] += 1
    share = counts / seeds
    if share[:size].min() == 1:
        raise Hint(f"The first {size} are always kept and nothing after them: a new item must be able to replace one.")
    if share[-size:].min() == 1:
        raise Hint(f"The last {size} are always kept: a buffer that forgets on purpose is no help against forgetting.")
    if share[-1] == 1:
        raise Hint("The newest item always gets in, so old ones die out: let new ones in rarer and rarer, size of n.")
    next_one = [size in list(reservoir(iter(range(size + 1)), size, seed)) for seed in range(200)]
    if all(next_one):
        raise Hint(
            "Item number n, counted from 0, is the (n + 1)-th and counts itself: draw among n + 1 places, not n."
        )
    error = np.sqrt(size / long * (1 - size / long) / seeds)
    if np.abs(share - size / long).max() > 5 * error:
        worst = int(np.abs(share - size / long).argmax())
        raise Hint(
            f"All items should have the same chance, {size} of {long}: item {worst} was kept in {share[worst]:.0%} of runs."
        )
    first, again = same_every_time(lambda: list(reservoir(iter(range(long)), size, 5)))
    if list(first) != list(again):
        raise Hint("Give the same buffer every time for one seed.")


@exercise("a-step-that-does-not-hurt")
def a_step_that_does_not_hurt(corrected: Callable) -> None:
    """A-GEM: a gradient without the part that points against the buffer's gradient."""
    random = np.random.default_rng(6)
    for _ in range(4):
        g, r = random.normal(size=(2, 6))
        r = 3 * r if g @ r < 0 else -3 * r  # in conflict, and of another length than g
        before = g.copy(), r.copy()
        found = np.asarray(corrected(g, r), dtype=float)
        if not (np.array_equal(g, before[0]) and np.array_equal(r, before[1])):
            raise Hint("Your function changed the gradient that it got: return a new array.")
        if found.shape != g.shape:
            raise Hint(f"A gradient of shape {g.shape} stays of that shape; yours is {found.shape}.")
        if np.allclose(found, 0):
            raise Hint("In a conflict this takes no step at all: only the part along r has to go.")
        if np.allclose(found, r):
            raise Hint("The buffer only vetoes: start from g, and take away what points against r.")
        part = (g @ r) / (r @ r) * r
        if np.allclose(found, g + part):
            raise Hint("Now it points against r twice as much as before: look at the sign.")
        if not np.allclose(found, g - part):
            raise Hint("What is left should be at right angles to r: subtract (g·r) / (r·r) times r.")
        if not np.allclose(np.asarray(corrected(g, -r)), g):
            raise Hint("Where g and r agree there is nothing to repair: give g back as it is.")
    g = random.normal(size=6)
    if not np.allclose(np.asarray(corrected(g, np.zeros(6))), g):
        raise Hint("An r of zeros forbids nothing: give g back, and do not divide by 0.")
