"""Checks of chapter 9: drawing an episode, and the nearest centroid as a linear head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tl_helpers.book.exercises.checking import Hint, exercise, refuses
from tl_helpers.heads import nearest_centroid
from tl_helpers.training import softmax


@exercise("draw-episode")
def draw_episode(draw: Callable) -> None:
    """Episodes of a small data set: classes differ, rows belong to them, nothing overlaps, everything is reached."""
    labels = np.random.default_rng(0).permutation(np.repeat([2, 5, 7, 9], 8))
    random, seen = np.random.default_rng(1), set()
    for _ in range(60):
        found = draw(labels, 3, 2, 4, random)
        if not isinstance(found, tuple) or len(found) != 3:
            raise Hint("Return three arrays: the classes, the support, the queries.")
        classes, support, queries = map(np.asarray, found)
        if classes.shape != (3,) or support.shape != (3, 2) or queries.shape != (3, 4):
            raise Hint(
                f"Shapes are {classes.shape}, {support.shape} and {queries.shape}; for 3 ways, 2 shots and 4 queries they "
                "should be (3,), (3, 2) and (3, 4)."
            )
        if len(set(classes.tolist())) < 3:
            raise Hint(f"Classes {classes.tolist()}: one was drawn twice. Draw without replacement.")
        if (labels[support] != classes[:, None]).any() or (labels[queries] != classes[:, None]).any():
            raise Hint("A row holds a sample of another class: row i belongs to class i of those drawn.")
        if set(support.ravel().tolist()) & set(queries.ravel().tolist()):
            raise Hint(
                "A sample is both in the support and among the queries: it would be asked what it was just told."
            )
        seen |= set(support.ravel().tolist())
    if len(seen) < len(labels):
        raise Hint(
            f"Over 60 episodes, {len(labels) - len(seen)} samples were never drawn: shuffle the members of a class."
        )
    if refuses(lambda: draw(labels, 3, 5, 4, random)):
        return
    raise Hint(
        "Classes have 8 samples; 5 + 4 cannot be drawn. Say so with a ValueError, rather than use a sample twice."
    )


@exercise("centroid-as-linear")
def centroid_as_linear(as_linear: Callable) -> None:
    """Weights and biases whose softmax is that of minus the squared distances."""
    random = np.random.default_rng(2)
    labels = np.array([0, 1, 2, 2, 1, 0, 2, 2])
    support = random.normal(size=(8, 5)) + np.array([0.0, 1.0, 3.0])[labels][:, None]
    query = random.normal(size=(40, 5)) + random.uniform(0, 3, size=(40, 1))
    found = as_linear(support, labels)
    if not isinstance(found, tuple) or len(found) != 2:
        raise Hint("Return two arrays: the weights and the biases.")
    weights, biases = map(np.asarray, found)
    if weights.shape != (3, 5) or biases.shape != (3,):
        raise Hint(
            f"Shapes are {weights.shape} and {biases.shape}; for 3 classes and 5 features they should be (3, 5) and (3,)."
        )
    sums = np.stack([support[labels == way].sum(axis=0) for way in range(3)])
    wanted = nearest_centroid(*map(torch.from_numpy, (support, labels, query))).numpy()
    given = query @ weights.T + biases
    if np.allclose(softmax(given), softmax(wanted), atol=1e-8):
        return
    if np.allclose(weights, 2 * sums):
        raise Hint(
            "The prototype of a class is here the sum of its samples; a class with more samples then lies further out. "
            "Use the mean."
        )
    if np.allclose(biases, 0):
        raise Hint(
            "Long means win too often: expand |q - m|² and see which term, besides the product, depends on the class."
        )
    if (given.argmax(axis=1) == wanted.argmax(axis=1)).all():
        raise Hint(
            "These are the same answers, but other probabilities: compare the factor in front of m·q with that of the "
            "expanded square."
        )
    raise Hint("Other answers than the nearest centroid. Expand minus the squared distance: -|q|² + 2 m·q - |m|².")
