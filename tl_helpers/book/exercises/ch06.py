"""Checks of chapter 6: per-domain statistics, and class proportions from a confusion matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_helpers.adaptation import standardise
from tl_helpers.book.exercises.checking import Hint, exercise


@exercise("own-statistics")
def own_statistics(own: Callable) -> None:
    """The packaged `standardise`, whatever of n and n - 1 the deviation divides by; hints for what is usually forgotten."""
    generator = np.random.default_rng(0)
    domain = generator.permutation(np.repeat(["a", "b"], [30, 20]))
    x = np.where((domain == "a")[:, None], generator.normal(5, 3, (50, 4)), generator.normal(-2, 1, (50, 4)))
    x[domain == "b", 2] = 7.0  # constant in one domain
    found = np.asarray(own(x.copy(), domain), dtype=float)
    if found.shape != x.shape:
        raise Hint(f"The result must have the shape of x, {x.shape}; yours has {found.shape}.")
    if not np.isfinite(found).all():
        raise Hint("There is NaN or infinity: a feature that is constant in a domain has deviation 0. Make it 0 there.")
    wanted = standardise(x, domain)
    # std(ddof=1) over 20 rows is 2.6 % larger; a small number added to the deviation counts less.
    if np.allclose(found, wanted, rtol=0.04, atol=1e-5):
        return
    if np.allclose(np.sort(found, axis=0), np.sort(wanted, axis=0), rtol=0.04, atol=0.05):
        raise Hint("The numbers are right, but the rows have left their order: write each domain back to its own rows.")
    means = np.array([found[domain == name].mean(axis=0) for name in ("a", "b")])
    if np.abs(means).max() > 1e-6:
        raise Hint("Within each domain every feature must have mean 0; yours has not. Use each domain's own mean.")
    raise Hint("The means are right; now divide by each domain's own standard deviation.")


CONFUSION = np.array([[0.9, 0.3], [0.1, 0.7]])


@exercise("target-proportions")
def target_proportions(proportions: Callable) -> None:
    """Solves said = confusion @ proportions, clipped and normalised."""
    for truth in (np.array([0.5, 0.5]), np.array([0.1, 0.9])):
        said = CONFUSION @ truth
        found = np.asarray(proportions(CONFUSION.copy(), said.copy()), dtype=float)
        if found.shape != (2,):
            raise Hint(f"One share for each class, please: shape (2,); yours has {found.shape}.")
        if np.allclose(found, truth, atol=1e-4):
            continue
        if np.allclose(found, said):
            raise Hint(
                "Those are the shares that the classifier *says*. Take the errors of the classifier out of them."
            )
        turned = np.clip(np.linalg.solve(CONFUSION.T, said), 0, None)
        if np.allclose(found, turned / turned.sum()):
            raise Hint(
                "Mind the order: the confusion's columns belong to the true classes, so said = confusion @ shares."
            )
        raise Hint(f"For true shares {truth} the classifier says {said.round(2)}; you find {found.round(3)}.")
    noisy = np.array([0.05, 0.95])  # more extreme than the confusion allows, as small samples are
    found = np.asarray(proportions(CONFUSION.copy(), noisy), dtype=float)
    if (found < -1e-9).any() or abs(found.sum() - 1) > 1e-6:
        raise Hint(
            f"Noise can push a share below 0, but shares are never negative: clip at 0, divide by the sum ({found})."
        )
    if not np.allclose(found, [0, 1], atol=1e-3):
        raise Hint(
            f"A share that noise pushes below 0 counts as 0; yours becomes {found[0]:.2f}. The absolute value would turn "
            "less than none into some."
        )
    confusion = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.2, 0.7]])
    truth = np.array([0.2, 0.5, 0.3])
    found = np.asarray(proportions(confusion.copy(), confusion @ truth), dtype=float)
    if found.shape != (3,) or not np.allclose(found, truth, atol=1e-4):
        raise Hint(f"Right for two classes, not for three: for true shares {truth} you find {found.round(3)}.")
