"""How far two domains are apart, measured on their features.

Nothing here needs labels of the target, except where an argument's name begins with ``oracle_``: such a measure explains a
result afterwards and must never choose a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Kernel = Literal["linear", "rbf", "laplace"]

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the mixed kernels, here and in the losses, as multiples of a typical distance."""

FOLDS = 5
"""Of the cross-validation behind `a_distance`."""


@dataclass(frozen=True)
class Discrepancy:
    """A squared MMD, and the share of permutations that gave at least as much (None if none were asked for)."""

    value: float
    p_value: float | None


def a_distance(source: np.ndarray, target: np.ndarray) -> float:
    """Proxy A-distance 2 (1 - 2 e): e is the error of a linear classifier that tells the domains apart.

    Ben-David et al. (2007), "Analysis of representations for domain adaptation". The error is cross-validated and is
    the mean of the two domains' errors, so domains of different size do not look different for that alone. From
    features, float (N, d) and (M, d): 0 (cannot be told apart) to 2 (always told apart). A ValueError for features of
    different width, NaN, or fewer than five samples of a domain.
    """
    source, target = _pair(source, target)
    if min(len(source), len(target)) < FOLDS:
        raise ValueError(
            f"{len(source)} and {len(target)} samples are too few for {FOLDS} folds: give {FOLDS} or more of each domain."
        )
    x = np.concatenate([source, target])
    domain = np.repeat([0, 1], [len(source), len(target)])
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
    said = cross_val_predict(judge, x, domain, cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0))
    error = np.mean([np.mean(said[domain == side] != side) for side in (0, 1)])
    return float(max(0.0, 2 * (1 - 2 * error)))


def mmd(source: np.ndarray, target: np.ndarray, *, kernel: Kernel = "rbf", permutations: int = 0) -> Discrepancy:
    """Maximum mean discrepancy, squared, with a permutation test of "both samples come from one distribution".

    The unbiased estimate of Gretton et al. (2012), "A kernel two-sample test", equation 3; around 0 (also below) for
    equal distributions. ``rbf`` and ``laplace`` average over five bandwidths around the median distance of the pooled
    samples; ``linear`` compares means only. Features are float, (N, d) and (M, d), two samples or more each. No
    permutations, no test. A ValueError for features of different width, NaN, fewer samples, or an unknown kernel.
    """
    source, target = _pair(source, target)
    if min(len(source), len(target)) < 2:
        raise ValueError("MMD needs two samples or more of each domain.")
    gram = _gram(np.concatenate([source, target]), kernel)
    side = np.repeat([1.0, 0.0], [len(source), len(target)])
    value = float(_unbiased(gram, side[:, None])[0])
    if not permutations:
        return Discrepancy(value, None)
    generator = np.random.default_rng(0)
    shuffled = np.stack([generator.permutation(side) for _ in range(permutations)], axis=1)
    as_large = int((_unbiased(gram, shuffled) >= value).sum())
    return Discrepancy(value, (1 + as_large) / (1 + permutations))


def centroid_distances(
    source: np.ndarray, source_labels: np.ndarray, target: np.ndarray, oracle_target_labels: np.ndarray
) -> np.ndarray:
    """How far each class has moved: the distance of its two centres, in units of the source's spread within classes.

    The spread is the root mean squared distance of the source's samples to the centre of their class. float, shape
    (classes,); NaN for a class that one of the domains lacks.
    """
    source, target = _pair(source, target)
    ours, theirs = np.asarray(source_labels), np.asarray(oracle_target_labels)
    classes = int(max(ours.max(), theirs.max())) + 1
    centres = np.full((2, classes, source.shape[1]), np.nan)
    for side, (x, y) in enumerate(((source, ours), (target, theirs))):
        for label in np.unique(y):
            centres[side, label] = x[y == label].mean(axis=0)
    spread = np.sqrt(np.mean(np.sum((source - centres[0, ours]) ** 2, axis=1)))
    return np.linalg.norm(centres[0] - centres[1], axis=1) / max(spread, np.finfo(float).tiny)


def label_shift(source_labels: np.ndarray, oracle_target_labels: np.ndarray) -> float:
    """Total variation distance of the two domains' class proportions: 0 (equal) to 1 (no class in common)."""
    ours, theirs = np.asarray(source_labels), np.asarray(oracle_target_labels)
    classes = int(max(ours.max(), theirs.max())) + 1
    shares = [np.bincount(labels, minlength=classes) / len(labels) for labels in (ours, theirs)]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def estimate_proportions(held_out_labels: np.ndarray, held_out_said: np.ndarray, target_said: np.ndarray) -> np.ndarray:
    """Class proportions of the target without its labels, from a source classifier's confusions: float (classes,), sum 1.

    Black box shift estimation (Lipton et al. 2018): if only the proportions differ, what the classifier says on the
    target is its confusion matrix times the target's proportions. Solved by least squares, clipped at 0, normalised.
    From the true classes and the classifier's, int (N,), on source samples it has not seen (a ValueError names an absent
    class), and the classifier's classes on the target, int (M,).
    """
    truth, said, there = map(np.asarray, (held_out_labels, held_out_said, target_said))
    classes = int(max(truth.max(), said.max(), there.max())) + 1
    counts = np.bincount(truth, minlength=classes)
    if (counts == 0).any():
        absent = int(np.flatnonzero(counts == 0)[0])
        raise ValueError(f"class {absent} is absent from the held-out source samples: hold out more of them.")
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (said, truth), 1)
    seen = np.bincount(there, minlength=classes) / len(there)
    found = np.clip(np.linalg.lstsq(confusion / counts, seen, rcond=None)[0], 0, None)
    return found / found.sum()


def _pair(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pair = np.asarray(source, dtype=float), np.asarray(target, dtype=float)
    shapes = " and ".join(str(x.shape) for x in pair)
    if any(x.ndim != 2 for x in pair) or pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(f"features of two domains must be (N, d) and (M, d) with the same d; got {shapes}.")
    if not min(map(len, pair)):
        raise ValueError(f"no samples in one of the domains; got {shapes}.")
    if not all(np.isfinite(x).all() for x in pair):
        raise ValueError("there is NaN or infinity among the features.")
    return pair


def _gram(x: np.ndarray, kernel: Kernel) -> np.ndarray:
    if kernel == "linear":
        return x @ x.T
    if kernel not in ("rbf", "laplace"):
        raise ValueError(f"unknown kernel {kernel!r}: use 'linear', 'rbf' or 'laplace'.")
    distances = pairwise_distances(x, metric="euclidean" if kernel == "rbf" else "manhattan")
    median = np.median(distances[np.triu_indices(len(x), 1)])
    if median == 0:
        raise ValueError("more than half of the samples are equal, so there is no bandwidth: are these features?")
    if kernel == "rbf":
        return np.mean([np.exp(-(distances**2) / (2 * (f * median) ** 2)) for f in FACTORS], axis=0)
    return np.mean([np.exp(-distances / (f * median)) for f in FACTORS], axis=0)


def _unbiased(gram: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """MMD^2 for each column of `sides` (1 source, 0 target), shape (N + M, k)."""
    n = sides[:, 0].sum()
    m = len(sides) - n
    off = gram - np.diag(np.diag(gram))
    others = 1 - sides
    within = np.einsum("ik,ik->k", sides, off @ sides) / (n * (n - 1))
    beyond = np.einsum("ik,ik->k", others, off @ others) / (m * (m - 1))
    between = np.einsum("ik,ik->k", sides, gram @ others) / (n * m)
    return within + beyond - 2 * between
