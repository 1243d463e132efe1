"""Heads for a few samples on frozen features: no gradient reaches the backbone, most have nothing to train at all.

Each is a function of support features (n * k, D), support labels (n * k,) from 0 to n - 1, and query features (m, D), and
returns scores (m, n), float64: the highest one is the answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from tl_helpers.fewshot.episodes import Head


def nearest_centroid(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Minus the squared distance to each class mean: what a prototypical network does with its embeddings.

    Mensink et al. (2013); Snell et al. (2017).
    """
    support, labels, query = _checked(support, labels, query)
    return -_squared_distances(query, class_means(support, labels))


def cosine_centroid(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosine of the angle to each class mean (Gidaris and Komodakis 2018)."""
    support, labels, query = _checked(support, labels, query)
    return _unit(query) @ _unit(class_means(_unit(support), labels)).T


def matching(support: np.ndarray, labels: np.ndarray, query: np.ndarray, *, scale: float = 10.0) -> np.ndarray:
    """Log-probabilities of a soft nearest neighbour: each support sample votes with softmax(scale * cosine).

    Vinyals et al. (2016) without their attention over the whole support; `scale` is fixed here.
    """
    support, labels, query = _checked(support, labels, query)
    logits = scale * _unit(query) @ _unit(support).T
    votes = np.exp(logits - logits.max(axis=1, keepdims=True))
    votes /= votes.sum(axis=1, keepdims=True)
    return np.log(votes @ _one_hot(labels) + 1e-12)


def ridge(support: np.ndarray, labels: np.ndarray, query: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """Ridge regression on one-hot labels, in closed form on the n * k support samples (Bertinetto et al. 2019).

    Features are centred on the support mean and scaled to average length 1, so that one strength fits all backbones.

    Parameters
    ----------
    strength : float
        Above 0.
    """
    support, labels, query = _checked(support, labels, query)
    if not strength > 0:
        raise ValueError(f"strength={strength}: ridge regression needs one above 0.")
    centre = support.mean(axis=0)
    scale = np.linalg.norm(support - centre, axis=1).mean() or 1.0
    x, z = (support - centre) / scale, (query - centre) / scale
    targets = _one_hot(labels)
    mean = targets.mean(axis=0)
    return z @ x.T @ np.linalg.solve(x @ x.T + strength * np.eye(len(x)), targets - mean) + mean


def linear_probe(support: np.ndarray, labels: np.ndarray, query: np.ndarray, *, c: float = 1.0) -> np.ndarray:
    """Logistic regression on features scaled to length 1 (times the root of D): the linear classifier of Tian et al. (2020).

    Parameters
    ----------
    c : float
        Inverse strength of the penalty, above 0.
    """
    support, labels, query = _checked(support, labels, query)
    model = LogisticRegression(C=c, max_iter=500).fit(_unit(support) * support.shape[1] ** 0.5, labels)
    scores = model.decision_function(_unit(query) * support.shape[1] ** 0.5)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def cosine_classifier(
    support: np.ndarray,
    labels: np.ndarray,
    query: np.ndarray,
    *,
    scale: float = 10.0,
    steps: int = 50,
    lr: float = 0.02,
) -> np.ndarray:
    """A trained head of cosines, started at the class means: *Baseline++* (Chen et al. 2019).

    Parameters
    ----------
    scale : float
        Of the cosines in front of the softmax.
    steps, lr
        Of Adam, on the whole support at once.
    """
    support, labels, query = _checked(support, labels, query)
    x, y = torch.from_numpy(_unit(support)), torch.from_numpy(labels)
    weights = torch.from_numpy(class_means(_unit(support), labels)).requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=lr)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(scale * x @ torch.nn.functional.normalize(weights, dim=1).T, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return scale * _unit(query) @ _unit(weights.detach().numpy()).T


def refined_centroid(
    support: np.ndarray, labels: np.ndarray, query: np.ndarray, *, steps: int = 3, scale: float = 10.0
) -> np.ndarray:
    """Nearest centroid whose centroids also move towards the queries: soft k-means (Ren et al. 2018).

    *Transductive*: it looks at all queries of the episode at once, without labels, and gains from their being as many of
    each class. Squared distances are divided by their mean, so `scale` fits all backbones.

    Parameters
    ----------
    steps : int
        0 or more; 0 is `nearest_centroid`.
    scale : float
        How sharply queries choose their class.
    """
    support, labels, query = _checked(support, labels, query)
    if steps < 0:
        raise ValueError(f"steps={steps}: use 0 or more.")
    means = class_means(support, labels)
    sums, counts = _one_hot(labels).T @ support, np.bincount(labels)[:, None]
    unit = _squared_distances(query, means).mean() or 1.0
    for _ in range(steps):
        logits = -scale * _squared_distances(query, means) / unit
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        means = (sums + share.T @ query) / (counts + share.sum(axis=0)[:, None])
    return -_squared_distances(query, means)


def centred(head: Head, mean: np.ndarray) -> Head:
    """The head on features that are first centred on a mean of the source and scaled to length 1: *SimpleShot*.

    Wang et al. (2019) call this CL2N.

    Parameters
    ----------
    head : callable
    mean : numpy.ndarray
        Shape (D,): the mean feature of the classes that the backbone was trained on, or of other unlabelled data.
    """

    @functools.wraps(head)
    def wrapped(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
        return head(_unit(support - mean), labels, _unit(query - mean))

    return wrapped


HEADS: dict[str, Callable] = {
    "nearest centroid": nearest_centroid,
    "cosine centroid": cosine_centroid,
    "soft nearest neighbour": matching,
    "ridge": ridge,
    "logistic regression": linear_probe,
    "cosine classifier": cosine_classifier,
    "refined centroid": refined_centroid,
}
"""All heads by name; only the last one looks at more than one query at a time."""


def class_means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean feature of each class: (N, D) and labels (N,) to (n, D)."""
    targets = _one_hot(labels)
    return targets.T @ features / targets.sum(axis=0)[:, None]


def _checked(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    support, query = np.asarray(support, dtype=np.float64), np.asarray(query, dtype=np.float64)
    labels = np.asarray(labels, dtype=np.int64)
    if support.ndim != 2 or query.ndim != 2 or support.shape[1] != query.shape[1]:
        raise ValueError(f"support {support.shape} and query {query.shape}: give two tables with equally many columns.")
    if labels.shape != support.shape[:1]:
        raise ValueError(f"{len(support)} support samples, but labels of shape {labels.shape}: give one for each.")
    present = np.unique(labels)
    if len(present) < 2:
        raise ValueError("The support holds one class only: there is nothing to tell apart. Give two classes or more.")
    if present[0] != 0 or present[-1] != len(present) - 1:
        raise ValueError(f"Labels {present.tolist()}: number the classes of an episode from 0 to n - 1.")
    if not (np.isfinite(support).all() and np.isfinite(query).all()):
        raise ValueError("The features hold NaN or infinity. Did the training of the backbone diverge?")
    return support, labels, query


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(int(labels.max()) + 1)[labels]


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)[None]
