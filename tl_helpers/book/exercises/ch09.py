"""Checks of chapter 9: drawing an episode, and the nearest centroid as a linear head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, refuses, same_every_time
from tl_helpers.heads import nearest_centroid
from tl_helpers.training import softmax

_LABELS = np.random.default_rng(0).permutation(np.repeat([2, 5, 7, 9], 8))


@exercise("draw-episode")
def draw_episode(draw: Callable) -> None:
    """Episodes of a small data set: classes differ, rows belong to them, nothing overlaps, everything is reached."""
    labels, random = _LABELS, np.random.default_rng(1)
    drawn, seen, together = set(), set(), set()
    for _ in range(60):
        classes, support, queries = _episode(draw(labels.copy(), 3, 2, 4, random))
        _belong(labels, classes, support, queries)
        drawn |= set(classes.tolist())
        seen |= set(support.ravel().tolist())
        together |= {tuple(sorted(row)) for row in support.tolist()}
    first, again = same_every_time(lambda: _episode(draw(labels.copy(), 3, 2, 4, np.random.default_rng(5))))
    if not all(np.array_equal(a, b) for a, b in zip(first, again, strict=True)) or not leaves_global_generator(
        lambda: draw(labels.copy(), 3, 2, 4, np.random.default_rng(5))
    ):
        raise Hint(
            "Your episodes do not come from `random` alone: with a generator in the same state the same episode must be "
            "drawn. Draw with random.choice or random.permutation, not with a generator of your own or the global one."
        )
    others = [_episode(draw(labels.copy(), 3, 2, 4, np.random.default_rng(seed))) for seed in range(6)]
    if all(np.array_equal(first[1], support) for _, support, _ in others):
        raise Hint("Every generator gives the same episode: draw with `random`, and seed no generator of your own.")
    if len(drawn) < 4:
        raise Hint(
            f"Over 60 episodes class {min(set(labels.tolist()) - drawn)} was never asked: draw the classes, too."
        )
    if len(seen) < len(labels):
        raise Hint(
            f"Over 60 episodes, {len(labels) - len(seen)} samples were never drawn: shuffle the members of a class."
        )
    if len(together) < 50:  # of 112 pairs; 90 are expected, and 32 where they stand side by side
        raise Hint(
            "The samples of a support always stand side by side in the labels: shuffle the members, rather than draw where "
            "to begin."
        )
    pairs = {frozenset(_episode(draw(labels.copy(), 2, 1, 1, random), 2, 1, 1)[0].tolist()) for _ in range(80)}
    if len(pairs) < 6:
        raise Hint(
            f"Of 6 pairs of classes {len(pairs)} were drawn in 80 episodes: any classes may meet, so shuffle them."
        )
    _too_few(draw, labels)
    _one_small_class(draw)


def _too_few(draw: Callable, labels: np.ndarray) -> None:
    """Nine of eight samples are refused, eight are not."""
    random = np.random.default_rng(4)
    try:
        draw(labels.copy(), 3, 5, 4, random)
    except Exception as raised:  # the mechanism's own; the error of the reader is its cause, and there is none for None
        kind = type(raised.__cause__).__name__
        if not isinstance(raised.__cause__, ValueError):
            raise Hint(
                f"8 samples are too few for 5 + 4, and a ValueError was to say so: yours "
                f"{'returns nothing' if raised.__cause__ is None else f'raises {kind}'}."
            ) from None
    else:
        raise Hint(
            "Classes have 8 samples; 5 + 4 cannot be drawn. Say so with a ValueError, rather than use a sample twice."
        )
    kept = []
    if refuses(lambda: kept.append(draw(labels.copy(), 4, 3, 5, random))):
        raise Hint(
            "Your function refuses 3 + 5 of a class that has 8 samples, and these are enough: mind the last one."
        )
    _belong(labels, *_episode(kept[0], 4, 3, 5))


def _one_small_class(draw: Callable) -> None:
    """A class too small is an error where it is drawn, and none where it is not."""
    labels = np.repeat([0, 1, 2], [2, 6, 6])
    for seed in range(12):
        kept = []
        random = np.random.default_rng(seed)
        if not refuses(lambda kept=kept, random=random: kept.append(draw(labels.copy(), 1, 1, 3, random))):
            classes, support, queries = _episode(kept[0], 1, 1, 3)
            _belong(labels, classes, support, queries)
            return
    raise Hint(
        "One class of three is too small, and your function refuses all episodes: only a drawn one has to suffice."
    )


def _episode(found: object, ways: int = 3, shots: int = 2, asked: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not isinstance(found, (tuple, list)) or len(found) != 3:
        raise Hint("Return three arrays: the classes, the support, the queries.")
    try:
        classes, support, queries = map(np.asarray, found)
    except ValueError:  # rows of different lengths
        raise Hint("The rows of your support or of your queries are not equally long.") from None
    if classes.shape != (ways,) or support.shape != (ways, shots) or queries.shape != (ways, asked):
        raise Hint(
            f"Shapes are {classes.shape}, {support.shape} and {queries.shape}; for {ways} ways, {shots} shots and {asked} "
            f"queries they should be ({ways},), ({ways}, {shots}) and ({ways}, {asked})."
        )
    if not all(np.issubdtype(part.dtype, np.integer) for part in (support, queries)):
        raise Hint("Support and queries are positions in `labels`: whole numbers.")
    return classes, support, queries


def _belong(labels: np.ndarray, classes: np.ndarray, support: np.ndarray, queries: np.ndarray) -> None:
    rows = np.concatenate([support, queries], axis=1)
    if len(set(classes.tolist())) < len(classes):
        raise Hint(f"Classes {classes.tolist()}: one was drawn twice. Draw without replacement.")
    if not set(classes.tolist()) <= set(labels.tolist()):
        raise Hint(f"Classes {classes.tolist()} do not all occur in the labels: return the class numbers found there.")
    if rows.min() < 0 or rows.max() >= len(labels):
        raise Hint(f"Positions go from 0 to {len(labels) - 1}, as there are {len(labels)} samples; yours leave that.")
    if (labels[rows] != classes[:, None]).any():
        if (rows == classes[:, None]).all():
            raise Hint("Your rows hold class numbers: give the positions of the samples in `labels`.")
        if (rows < (labels == classes[0]).sum()).all():
            raise Hint(
                "A row holds a sample of another class. Are these places among the members of the class? Positions in "
                "`labels` were asked for: look the members up, members[place]."
            )
        raise Hint("A row holds a sample of another class: row i belongs to class i of those that you return.")
    if set(support.ravel().tolist()) & set(queries.ravel().tolist()):
        raise Hint("A sample is both in the support and among the queries: it would be asked what it was just told.")
    if any(len(set(row.tolist())) < len(row) for row in rows):
        raise Hint("A sample stands twice in a row: within a class, draw without replacement as well.")


@exercise("centroid-as-linear")
def centroid_as_linear(as_linear: Callable) -> None:
    """Weights and biases whose softmax is that of minus the squared distances."""
    random = np.random.default_rng(2)
    labels = np.array([2, 0, 1, 2, 1, 0, 2, 2])
    support = random.normal(size=(8, 5)) + np.array([0.0, 1.0, 3.0])[labels][:, None]
    query = random.normal(size=(40, 5)) + random.uniform(0, 3, size=(40, 1))
    weights, biases = _head(as_linear(support.copy(), labels.copy()), 3, 5)
    wanted = _probabilities(support, labels, query)
    given = _softmax(query @ weights.T + biases)
    if np.allclose(given, wanted, atol=1e-4):
        _five_ways(as_linear)
        return
    means = np.stack([support[labels == way].mean(axis=0) for way in range(3)])
    sums, squares = means * np.bincount(labels)[:, None], (means**2).sum(axis=1)
    mistakes = [
        (
            2 * sums,
            -(sums**2).sum(axis=1),
            "The prototype of a class is here the sum of its samples; a class with more samples then lies further out. "
            "Use the mean.",
        ),
        (-2 * means, squares, "The furthest mean wins: the scores are minus the squared distances."),
        (
            2 * means,
            squares,
            "Mind the sign of the bias: of -|q - m|² = -|q|² + 2 m·q - |m|² the last term is negative.",
        ),
        (2 * means, -np.sqrt(squares), "The bias holds the length of the mean; the expanded square holds its square."),
        (
            2 * means[[2, 0, 1]],
            -squares[[2, 0, 1]],
            "The classes stand in another order: row k belongs to class k, not to the k-th one met.",
        ),
        (
            2 * np.stack([np.median(support[labels == way], axis=0) for way in range(3)]),
            -(np.stack([np.median(support[labels == way], axis=0) for way in range(3)]) ** 2).sum(axis=1),
            "The prototype of a class is here the median of its samples. Use the mean.",
        ),
        (
            means / np.sqrt(squares)[:, None],
            np.zeros(3),
            "That is a head of cosines: the means keep their length, which the bias makes up for.",
        ),
    ]
    for factor, (w, b, hint) in ((factor, mistake) for mistake in mistakes for factor in (1, 0.5, 2)):
        if np.allclose(given, _softmax(factor * (query @ w.T + b)), atol=1e-4):
            raise Hint(hint)
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


def _five_ways(as_linear: Callable) -> None:
    random = np.random.default_rng(3)
    labels, support, query = np.arange(10) % 5, random.normal(size=(10, 2)), random.normal(size=(20, 2))
    weights, biases = _head(as_linear(support.copy(), labels.copy()), 5, 2)
    if not np.allclose(_softmax(query @ weights.T + biases), _probabilities(support, labels, query), atol=1e-4):
        raise Hint("Right for three classes and five features, not for five and two.")


def _head(found: object, ways: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise Hint("Return two arrays: the weights and the biases.")
    weights, biases = (np.asarray(part, dtype=float) for part in found)
    if weights.shape != (ways, features) or biases.shape != (ways,):
        raise Hint(
            f"Shapes are {weights.shape} and {biases.shape}; for {ways} classes and {features} features they should be "
            f"({ways}, {features}) and ({ways},)."
        )
    return weights, biases


def _probabilities(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    return softmax(nearest_centroid(*map(torch.from_numpy, (support, labels, query))).numpy())


def _softmax(scores: np.ndarray) -> np.ndarray:
    return softmax(scores - scores.max(axis=1, keepdims=True))
