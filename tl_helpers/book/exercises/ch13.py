"""Checks of chapter 13: a buffer that treats all samples alike, and a step that does not hurt what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, same_every_time


@exercise("reservoir-sampling")
def reservoir_sampling(reservoir: Callable) -> None:
    """Every item of a stream of unknown length ends up in the buffer with the same probability; no more are held."""
    if not leaves_global_generator(lambda: reservoir(iter(range(12)), 3, 5)):
        raise Hint("This moves NumPy's global generator: draw from np.random.default_rng(seed) instead.")
    long, size, seeds = 12, 3, 1200
    first, again = same_every_time(lambda: [int(item) for item in reservoir(iter(range(long)), size, 5)])
    if first != again:
        raise Hint("Give the same buffer every time for one seed.")
    if sorted(int(item) for item in reservoir(iter(range(3)), 4, 0)) != [0, 1, 2]:
        raise Hint("A stream that is shorter than the buffer is kept whole.")
    counts = np.zeros(long)
    for seed in range(seeds):
        kept = [int(item) for item in reservoir(iter(range(long)), size, seed)]
        if len(kept) != size or len(set(kept)) != size or not set(kept) <= set(range(long)):
            raise Hint(f"Of {long} items, {size} different ones are kept; yours with seed {seed} are {kept}.")
        counts[kept] += 1
    _which_are_kept(counts / seeds, size)
    tries = 800
    next_one = np.mean([size in list(reservoir(iter(range(size + 1)), size, seed)) for seed in range(tries)])
    due = size / (size + 1)
    if next_one == 1:
        raise Hint(
            "Item number n, counted from 0, is the (n + 1)-th and counts itself: draw among n + 1 places, not n."
        )
    error = np.sqrt(size / long * (1 - size / long) / seeds)
    share = counts / seeds
    if abs(next_one - 1 / (size + 1)) < 0.08 and share[-1] < 0.15:
        raise Hint(
            "New items get in too rarely: with probability 1 / n, which is right for a buffer of one. For `size` places it "
            "is size / n, as each of them is to be filled."
        )
    if abs(next_one - share[-1]) < 0.08:  # where it should fall from 75 to 25 %
        raise Hint(
            f"The last of {long} items gets in as often as the first that meets a full buffer, in about {share[-1]:.0%} of "
            "runs. Item number n gets in with probability size / n, which falls as more have come by."
        )
    if abs(next_one - due) > 5 * np.sqrt(due * (1 - due) / tries):
        often = "often" if next_one > due else "rarely"
        raise Hint(
            f"The first item that meets a full buffer of {size} gets in too {often}, in {next_one:.0%} of runs: all "
            f"{size + 1} items so far should have the same chance, so {due:.0%}. Look at the bounds that you draw between."
        )
    if np.abs(share - size / long).max() > 5 * error:
        worst = int(np.abs(share - size / long).argmax())
        raise Hint(
            f"All items should have the same chance, {size} of {long}: item {worst} was kept in {share[worst]:.0%} of runs. "
            "Both matter: how likely a new item gets in, and that each one in the buffer is as likely to make room."
        )
    if (most := _most_held(reservoir, size)) > 3 * size + 3:
        raise Hint(
            f"While 200 items came by, your function held {most} of them, and there is room for {size}: the stream may be "
            "endless. Decide about each item as it comes, and forget it or another one."
        )


def _which_are_kept(share: np.ndarray, size: int) -> None:
    """Raise the hint for items that are always, or never, in the buffer."""
    if share[:size].min() == 1:
        raise Hint(f"The first {size} are always kept and nothing after them: a new item must be able to replace one.")
    if share[-size:].min() == 1:
        raise Hint(f"The last {size} are always kept: a buffer that forgets on purpose is no help against forgetting.")
    if np.isin(share, (0, 1)).all():
        raise Hint("Every seed keeps the same items: give it to your generator, np.random.default_rng(seed).")
    if share[-1] == 1:
        raise Hint("The newest item always gets in, so old ones die out: let new ones in rarer and rarer, size of n.")
    if (share[:size] == 1).any():
        raise Hint(
            f"Item {int(share[:size].argmax())} is always kept: draw which item has to make room among all that are kept."
        )


def _most_held(reservoir: Callable, size: int) -> int:
    """How many items of a long stream exist at once, while it is read. They are no numbers: a copy as one would hide."""
    alive, most, copied = [0], 0, []

    class Item:
        def __init__(self) -> None:
            alive[0] += 1

        def __del__(self) -> None:
            alive[0] -= 1

        def __int__(self) -> int:
            copied.append(1)
            return 0

    def stream() -> Iterator[Item]:
        nonlocal most
        for _ in range(200):
            yield Item()
            most = max(most, alive[0])

    kept = reservoir(stream(), size, 5)
    list(kept)  # of a generator
    if copied:
        raise Hint("Items may be anything, not only numbers: take one after the other, and keep each as it comes.")
    return max(most, alive[0])


@exercise("a-step-that-does-not-hurt")
def a_step_that_does_not_hurt(corrected: Callable) -> None:
    """A-GEM: a gradient without the part that points against the buffer's gradient."""
    random = np.random.default_rng(6)

    def ask(g: np.ndarray, r: np.ndarray) -> np.ndarray:
        before = g.copy(), r.copy()
        answer = corrected(g, r)
        found = np.asarray(answer, dtype=float)
        if not (np.array_equal(g, before[0]) and np.array_equal(r, before[1])):
            raise Hint("Your function changed the gradient that it got: return a new array.")
        if found.shape != g.shape:
            raise Hint(f"A gradient of shape {g.shape} stays of that shape; yours is {found.shape}.")
        if g @ r >= 0 and np.shares_memory(np.asarray(answer), g):
            raise Hint(
                "What you return is g itself, and a new array was asked for: who changes one changes both. Copy it."
            )
        return found

    for _ in range(4):
        g, r = random.normal(size=(2, 6))
        r = 3 * r if g @ r < 0 else -3 * r  # in conflict, and of another length than g
        part = (g @ r) / (r @ r) * r
        found = ask(g, r)
        if not np.allclose(found, g - part, atol=1e-5):
            _in_conflict(found, g, r, part)
            raise Hint("What is left should be at right angles to r: subtract (g·r) / (r·r) times r.")
        if not np.allclose(ask(g, -r), g, atol=1e-5):
            raise Hint("Where g and r agree there is nothing to repair: give g back as it is.")
    g = random.normal(size=3)
    if not np.allclose(ask(g, np.zeros(3)), g, atol=1e-5):
        raise Hint("An r of zeros forbids nothing: give g back, and do not divide by 0.")


def _in_conflict(found: np.ndarray, g: np.ndarray, r: np.ndarray, part: np.ndarray) -> None:
    """Raise the hint for what a common mistake makes of a conflict."""

    def is_(*others: np.ndarray) -> bool:
        return any(np.allclose(found, other, atol=1e-5) for other in others)

    if is_(np.zeros_like(g)):
        raise Hint("In a conflict this takes no step at all: only the part along r has to go.")
    if is_(g):
        raise Hint("Where g and r are in conflict, g comes back as it was: take away what points against r.")
    if is_(r, r - (g @ r) / (g @ g) * g):
        raise Hint("The new samples lead: start from g, and take away what points against r.")
    if is_(g + part):
        raise Hint("Now it points against r twice as much as before: look at the sign.")
    if is_(g - 2 * part, -g):
        raise Hint(
            "That turns the step round, where only the part against r is to be taken away: nothing is left along r."
        )
    if is_((g + r) / 2, g + r, (g + r) / np.sqrt(2)):
        raise Hint(
            "A mean or sum of both gradients is replay; here r adds only as much as takes the conflict out of g."
        )
    if is_(np.where(g * r < 0, 0, g), np.where(g * r < 0, 0, g + r), np.where(g * r < 0, 0, (g + r) / 2)):
        raise Hint("You compare number by number: two gradients agree or not as a whole, by g·r.")
    left = g - part
    if is_(left / np.linalg.norm(left), left * np.linalg.norm(g) / np.linalg.norm(left)):
        raise Hint("The direction is right, its length is not: what is left of g keeps its length.")
    if is_(part, -part):
        raise Hint("That is the part along r, the one that has to go: what is left is g without it.")
    if is_(g - (g @ r) * r, g - (g @ r) / np.linalg.norm(r) * r):
        raise Hint("Right for an r of length 1 only: the part along r is divided by the squared length, r·r.")
