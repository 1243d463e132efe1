"""Heads: answers for queries from a few labelled features, the same function in training and in evaluation.

All take and return tensors; give float64 where rounding should not matter. A ValueError says which shapes do not fit,
where there is one class only, labels skip a number, or features are NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

Head = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Support features (n * k, D), their labels (n * k,) from 0 to n - 1, query features (m, D) to scores (m, n).

The highest score is the answer."""


def class_means(x: Tensor, labels: Tensor) -> Tensor:
    """Mean feature of each class: float (N, D) and int64 labels (N,), 0 to n - 1, to (n, D)."""
    targets = functional.one_hot(labels).to(x.dtype)
    return targets.T @ x / targets.sum(dim=0)[:, None]


def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of each row of x, float (N, D), with each of y, (M, D): shape (N, M); 0 for rows of zeros."""
    return functional.normalize(x, dim=1) @ functional.normalize(y, dim=1).T


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """From each row of x, float (N, D), to each of y, (M, D): shape (N, M)."""
    return ((x[:, None] - y[None]) ** 2).sum(dim=2)


def nearest_centroid(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Minus the squared distance to each class mean, so that softmax gives probabilities (Mensink et al. 2013).

    Trained through, these are the logits of a prototypical network (Snell et al. 2017).
    """
    _check(support, labels, query)
    return -squared_distances(query, class_means(support, labels))


def cosine_centroid(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Cosine of the angle to each class mean of features of length 1 (Gidaris and Komodakis 2018)."""
    _check(support, labels, query)
    return cosines(query, class_means(functional.normalize(support, dim=1), labels))


def refined_centroid(support: Tensor, labels: Tensor, query: Tensor, *, steps: int = 3, scale: float = 10.0) -> Tensor:
    """Nearest centroid whose centroids also move towards the queries: soft k-means (Ren et al. 2018).

    *Transductive*: it looks at all queries of the episode at once, without labels, and gains from their being as many
    of each class. Squared distances are divided by their mean, so one `scale`, how sharply queries choose their class,
    fits all backbones. Without steps it is `nearest_centroid`.
    """
    _check(support, labels, query)
    if steps < 0:
        raise ValueError(f"steps={steps}: use 0 or more.")
    means, counts = class_means(support, labels), labels.bincount()[:, None]
    sums = counts * means
    spread = squared_distances(query, means).mean().clamp_min(torch.finfo(query.dtype).tiny)
    for _ in range(steps):
        share = (-scale * squared_distances(query, means) / spread).softmax(dim=1)
        means = (sums + share.T @ query) / (counts + share.sum(dim=0)[:, None])
    return -squared_distances(query, means)


def centred(head: Head, mean: Tensor) -> Head:
    """The head on features that are first centred on a mean of the source, (D,), and scaled to length 1: *SimpleShot*.

    Wang et al. (2019) call this CL2N. The mean is of the classes that the backbone was trained on, or of other
    unlabelled data.
    """
    return lambda support, labels, query: head(
        functional.normalize(support - mean, dim=1), labels, functional.normalize(query - mean, dim=1)
    )


def matching(support: Tensor, labels: Tensor, query: Tensor, *, scale: float = 10.0) -> Tensor:
    """Log-probabilities of a soft nearest neighbour: each support sample votes with softmax(scale * cosine).

    Vinyals et al. (2016) without their attention over the whole support; `scale` is fixed here.
    """
    _check(support, labels, query)
    votes = (scale * cosines(query, support)).softmax(dim=1) @ functional.one_hot(labels).to(support.dtype)
    return (votes + 1e-12).log()


def ridge_weights(x: Tensor, targets: Tensor, penalty: float) -> Tensor:
    r"""The weights, (p, d), with the least squared error plus a penalty on their squares; no intercept.

    .. math:: W = (X^\top X + \lambda I)^{-1} X^\top T = X^\top (X X^\top + \lambda I)^{-1} T

    For float X (N, p) and targets T (N, d). Whichever of the two systems is the smaller one is solved; gradients flow
    through it. The penalty, above 0, is of the squared error summed over samples.
    """
    if not penalty > 0:
        raise ValueError(f"A penalty of {penalty:g}: ridge regression needs one above 0.")
    n, p = x.shape
    eye = torch.eye(min(n, p), dtype=x.dtype, device=x.device)
    if n < p:
        return x.T @ torch.linalg.solve(x @ x.T + penalty * eye, targets)
    return torch.linalg.solve(x.T @ x + penalty * eye, x.T @ targets)


def ridge(support: Tensor, labels: Tensor, query: Tensor, *, strength: float = 1.0) -> Tensor:
    """Ridge regression on one-hot labels (Bertinetto et al. 2019), with an intercept that is not penalised.

    Features are centred on the support mean and scaled to average length 1, so that one strength, above 0, fits all
    backbones.
    """
    _check(support, labels, query)
    targets = functional.one_hot(labels).to(support.dtype)
    centre, shift = support.mean(dim=0), targets.mean(dim=0)
    x = support - centre
    scale = x.norm(dim=1).mean().clamp_min(torch.finfo(x.dtype).tiny)
    return (query - centre) / scale @ ridge_weights(x / scale, targets - shift, strength) + shift


def ridge_predict(support: Tensor, y: Tensor, query: Tensor, *, penalty: float = 0.1) -> Tensor:
    """Ridge regression on features as they are, for values: the head of R2-D2 (Bertinetto et al. 2019).

    Unlike in `ridge`, nothing is centred or scaled: a body that is trained through it learns what suits the penalty,
    above 0, of the mean squared error. A column of ones stands for the offset, penalised like the rest, which a small
    penalty makes harmless. Support (n, D) with values (n, outputs) and queries (q, D), all float, give (q, outputs).
    """
    if len(support) != len(y):
        raise ValueError(f"{len(support)} support samples and {len(y)} values: give one value for each sample.")
    x, q = (torch.cat([part, part.new_ones(len(part), 1)], dim=1) for part in (support, query))
    return q @ ridge_weights(x, y, penalty * len(x))


def linear_probe(support: Tensor, labels: Tensor, query: Tensor, *, c: float = 1.0) -> Tensor:
    """Logistic regression on features of length 1 (times the root of D): the linear classifier of Tian et al. (2020).

    `c`, above 0, is the inverse strength of the penalty.
    """
    _check(support, labels, query)
    x, z = (functional.normalize(part, dim=1).numpy() * part.shape[1] ** 0.5 for part in (support, query))
    scores = torch.from_numpy(LogisticRegression(C=c, max_iter=500).fit(x, labels.numpy()).decision_function(z))
    return torch.stack([-scores, scores], dim=1) if scores.ndim == 1 else scores


def cosine_classifier(
    support: Tensor, labels: Tensor, query: Tensor, *, scale: float = 10.0, steps: int = 50, lr: float = 0.02
) -> Tensor:
    """A trained head of cosines, started at the class means: *Baseline++* (Chen et al. 2019).

    Adam, on the whole support at once; `scale` is that of the cosines in front of the softmax.
    """
    _check(support, labels, query)
    weights = class_means(functional.normalize(support, dim=1), labels).requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=lr)
    for _ in range(steps):
        loss = functional.cross_entropy(scale * cosines(support, weights), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return scale * cosines(query, weights.detach())


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


def _check(support: Tensor, labels: Tensor, query: Tensor) -> None:
    """Raise where a head could not answer; see `Head`."""
    if support.ndim != 2 or query.ndim != 2 or support.shape[1] != query.shape[1]:
        shapes = f"support {tuple(support.shape)} and query {tuple(query.shape)}"
        raise ValueError(f"{shapes}: give two tables with equally many columns.")
    if labels.shape != support.shape[:1]:
        raise ValueError(f"{len(support)} samples, but labels of shape {tuple(labels.shape)}: give one for each.")
    present = labels.unique().tolist()
    if len(present) < 2:
        raise ValueError("The support holds one class only: there is nothing to tell apart. Give two classes or more.")
    if present != list(range(len(present))):
        raise ValueError(f"Labels {present}: number the classes of an episode from 0 to n - 1.")
    if not (support.isfinite().all() and query.isfinite().all()):
        raise ValueError("The features hold NaN or infinity. Did the training of the backbone diverge?")
