"""Checks of chapter 16: a split that keeps copies together, and two steps of a head in one layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, same_every_time


@exercise("copies-stay-together")
def copies_stay_together(in_test: Callable) -> None:
    """No content on both sides, about the share of the contents, by the seed alone."""
    rng = np.random.default_rng(3)
    contents = rng.permutation([f"c{n}" for n in range(60) for _ in range(1 + n % 4)])
    names = np.unique(contents)
    if not leaves_global_generator(lambda: in_test(contents, 0.25, 5)):
        raise Hint("This moves NumPy's global generator: draw from np.random.default_rng(seed) instead.")

    def ask(share: float, seed: int) -> np.ndarray:
        found = np.asarray(in_test(contents, share, seed))
        if found.shape != contents.shape or found.dtype != bool:
            raise Hint(
                f"One True or False for each of the {len(contents)} files; yours is {found.dtype} of shape {found.shape}."
            )
        return found

    first, again = same_every_time(lambda: ask(0.25, 5).tolist())
    if first != again:
        raise Hint("Give the same split every time for one seed.")
    drawn = []
    for seed in range(12):
        found = ask(0.25, seed)
        both = set(contents[found]) & set(contents[~found])
        if both:
            raise Hint(
                f"{len(both)} of {len(names)} contents are on both sides: draw contents, not files, and give all files of "
                "a content what was drawn for it."
            )
        share = len(set(contents[found])) / len(names)
        if abs(share - 0.75) < 0.1:
            raise Hint("That is the share of the training part: True is for the files to test on.")
        drawn.append(share)
    if np.isin(drawn, (0, 1)).all():
        raise Hint("All files are on one side: about a quarter of the contents was asked for.")
    if np.abs(np.array(drawn) - 0.25).max() > 0.18 or abs(np.mean(drawn) - 0.25) > 0.06:
        raise Hint(
            f"Asked for 25 % of the contents, yours gives {np.mean(drawn):.0%} on average: count contents, not files."
        )
    if all(np.array_equal(ask(0.25, 0), ask(0.25, seed)) for seed in (1, 2, 3)):
        raise Hint("Every seed gives the same split: give it to your generator, np.random.default_rng(seed).")


@exercise("two-steps-in-one-layer")
def two_steps_in_one_layer(one_layer: Callable) -> None:
    """Standardise, then a linear layer: the same scores from one layer."""
    rng = np.random.default_rng(4)
    for classes, width in ((3, 5), (4, 4)):
        W, b = rng.normal(size=(classes, width)), rng.normal(size=classes)
        mean, scale = rng.normal(size=width), rng.uniform(0.5, 2, size=width)
        kept = W.copy(), b.copy(), mean.copy(), scale.copy()
        answer = one_layer(W, b, mean, scale)
        if not all(np.array_equal(a, c) for a, c in zip((W, b, mean, scale), kept, strict=True)):
            raise Hint("Your function changed what it got: make new arrays.")
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            raise Hint("Give two things: the weights and the bias.")
        weights, bias = (np.asarray(each, dtype=float) for each in answer)
        if weights.shape != W.shape or bias.shape != b.shape:
            raise Hint(
                f"Weights of shape {W.shape} and a bias of shape {b.shape}; yours are {weights.shape} and {bias.shape}."
            )
        if np.allclose(weights, W / scale, atol=1e-5) and np.allclose(bias, b - (W / scale) @ mean, atol=1e-5):
            continue
        if np.allclose(weights, W):
            raise Hint("The weights stay as they were: each feature is still to be divided by its scale.")
        if np.allclose(weights, W * scale):
            raise Hint("You multiply by the scale where the features are divided by it.")
        if np.allclose(weights, W / scale**2):
            raise Hint("You divide by the squared scale: StandardScaler's scale is the standard deviation.")
        if np.allclose(bias, b):
            raise Hint("The weights are right, the bias is not: the mean that is taken away is still missing.")
        if np.allclose(bias, b + (W / scale) @ mean):
            raise Hint("The mean is taken away from x, so what it adds to the bias is negative: look at the sign.")
        if np.allclose(bias, b - W @ mean):
            raise Hint("The mean is scaled, too: it is multiplied by the *new* weights.")
        raise Hint("Write out W ((x - mean) / scale) + b, and collect what stands at x and what does not.")
