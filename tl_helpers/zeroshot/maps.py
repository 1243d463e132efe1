"""From images to the space of names or attributes: ConSE needs no training, the maps are learned on what is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tl_helpers.heads import ridge_weights
from tl_helpers.zeroshot.labels import check_embeddings


def conse(probabilities: np.ndarray, labels: np.ndarray, *, top: int = 10) -> np.ndarray:
    """Convex combination of the embeddings of the most probable source classes: ConSE (Norouzi et al. 2014), equation 3.

    From what a classifier of S source classes answers, float (N, S), and the embeddings of their names, (S, d): float
    (N, d), not of length 1, as a cosine does not mind. So many classes (`top`, 1 to S) take part. A ValueError for
    shapes that do not fit, NaN, rows that are no probabilities, or `top` out of range.
    """
    check_embeddings(probabilities, what="probabilities")
    check_embeddings(labels, what="labels of the source")
    if probabilities.shape[1] != len(labels):
        raise ValueError(f"probabilities of {probabilities.shape[1]} source classes, but embeddings of {len(labels)}.")
    if probabilities.min() < 0 or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise ValueError("these are no probabilities (rows do not sum to 1): apply a softmax to logits first.")
    if not 1 <= top <= len(labels):
        raise ValueError(f"top={top}: from 1 to {len(labels)}, the number of source classes.")
    kept = np.argpartition(-probabilities, top - 1, axis=1)[:, :top]
    weights = np.take_along_axis(probabilities, kept, axis=1)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.einsum("nt,ntd->nd", weights, labels[kept])


@dataclass(frozen=True)
class LinearMap:
    """``(x - centre) @ weight + shift``: features (N, p) into another space, (N, d).

    All float64: weight (p, d), centre (p,) and shift (d,).
    """

    weight: np.ndarray
    centre: np.ndarray
    shift: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float64, shape (N, d); a ValueError for NaN or another width than in training."""
        check_embeddings(x, what="features")
        if x.shape[1] != len(self.centre):
            raise ValueError(f"features are {x.shape[1]} wide; this map was trained on {len(self.centre)}.")
        return (np.asarray(x, dtype=float) - self.centre) @ self.weight + self.shift


def ridge_map(x: np.ndarray, targets: np.ndarray, *, strength: float = 1.0) -> LinearMap:
    r"""The linear map with the least squared error, its weights held small: `tl_helpers.heads.ridge_weights`, with

    .. math:: \lambda = \mathrm{strength} \cdot \tfrac1N \sum_i \|x_i\|^2

    and X and T centred: for each of two training samples or more its features, float (N, p), and the embedding of its
    name, (N, d). The intercept is not penalised. The strength, above 0, is a multiple of the mean squared length, so
    that it means the same for any backbone. With names as `x` and features as `targets` it goes the other way, from
    names to images, which makes fewer hubs: Shigeto et al. (2015) compare the two.
    """
    x, targets = _pairs(x, targets)
    centre, shift = x.mean(axis=0), targets.mean(axis=0)
    x, targets = torch.from_numpy(x - centre), torch.from_numpy(targets - shift)
    penalty = strength * float((x**2).sum(dim=1).mean())
    return LinearMap(ridge_weights(x, targets, penalty).numpy(), centre, shift)


def eszsl_map(
    x: np.ndarray, signatures: np.ndarray, own: np.ndarray, *, strength: float = 0.1, signature_strength: float = 0.1
) -> LinearMap:
    r"""ESZSL (Romera-Paredes and Torr 2015), equation 4: a bilinear score of features and signatures, in closed form.

    .. math:: V = (X^\top X + \gamma I)^{-1} X^\top Y S \, (S^\top S + \lambda I)^{-1}

    X are features, float (N, p), less their mean; S the signatures of the L seen classes, (L, a): one column an attribute,
    or a name's embedding; `own` says which is each sample's own, int (N,), and Y, (N, L), has a 1 there and 0 elsewhere.
    (The paper's -1 elsewhere gives twice V, as X is centred.)
    Gamma is `strength` times the mean squared length of a row of X, lambda `signature_strength` times that of a row of S.
    The score of a new class with signature s is :math:`x V s^\top`: use `cosine` where all signatures have one length.
    Without the last factor it is ridge regression from features to signatures.
    """
    own = np.asarray(own)
    check_embeddings(signatures, what="signatures")
    if len(own) and not 0 <= own.min() <= own.max() < len(signatures):
        raise ValueError(f"own signatures run from {own.min()} to {own.max()}; there are {len(signatures)}.")
    if not (strength > 0 and signature_strength > 0):
        raise ValueError(f"strength={strength}, signature_strength={signature_strength}: both above 0.")
    x, targets = _pairs(x, np.asarray(signatures, dtype=float)[own])
    centre, s = x.mean(axis=0), np.asarray(signatures, dtype=float)
    centred = torch.from_numpy(x - centre)
    to_signatures = ridge_weights(centred, torch.from_numpy(targets), strength * float((centred**2).sum(1).mean()))
    of_signatures = s.T @ s + signature_strength * np.mean(np.sum(s**2, axis=1)) * np.eye(s.shape[1])
    return LinearMap(np.linalg.solve(of_signatures, to_signatures.numpy().T).T, centre, np.zeros(s.shape[1]))


def ranking_loss(mapped: torch.Tensor, labels: torch.Tensor, own: torch.Tensor, *, margin: float) -> torch.Tensor:
    r"""Hinge rank loss of DeViSE (Frome et al. 2013), equation 1, mean over samples.

    .. math:: \sum_{j \neq y} \max\left(0,\; m - t_y \cdot v + t_j \cdot v\right)

    with images in the space of names (v), float (N, d); embeddings of all training names (t), of length 1, (L, d); and
    which name is each image's own (y), int64 (N,).
    """
    products = mapped @ labels.T
    right = products.gather(1, own[:, None])
    hinges = (margin - right + products).clamp_min(0)
    return (hinges.sum(dim=1) - margin).mean()  # the own name adds exactly the margin


def ranking_map(
    x: np.ndarray,
    labels: np.ndarray,
    own: np.ndarray,
    *,
    margin: float = 0.4,
    steps: int = 150,
    lr: float = 3e-3,
    seed: int = 0,
) -> LinearMap:
    """A linear map trained so that an image lies nearer to its own name than to any other, by a margin: DeViSE.

    Frome et al. (2013), with all training names as the wrong ones instead of a part, AdamW without weight decay, and
    mapped images brought to length 1, so that the margin, above 0, is one of cosines. From features, float (N, p), the
    embeddings of two training names or more, (L, d), and which name is each sample's own, int (N,). The seed is that of
    the starting weights and the batches.
    """
    own = np.asarray(own)
    if np.ndim(labels) != 2 or len(labels) < 2:
        raise ValueError(f"label embeddings have shape {np.shape(labels)}: a ranking needs two names or more.")
    if not margin > 0:
        raise ValueError(f"margin={margin}: without one above 0, all images on one point would have no loss.")
    if len(own) and not 0 <= own.min() <= own.max() < len(labels):
        raise ValueError(f"own names run from {own.min()} to {own.max()}, but there are {len(labels)} embeddings.")
    check_embeddings(labels, what="label embeddings")
    x, _ = _pairs(x, labels[own])
    centre = x.mean(axis=0)
    scale = float(np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1)))) or 1.0
    inputs = torch.from_numpy((x - centre) / scale).float()
    names, own = nn.functional.normalize(torch.tensor(labels), dim=1).float(), torch.from_numpy(own).long()
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(x.shape[1], names.shape[1], generator=generator) / x.shape[1] ** 0.5
    weight, shift = nn.Parameter(start), nn.Parameter(torch.zeros(names.shape[1]))
    optimiser = torch.optim.AdamW([weight, shift], lr=lr, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (min(128, len(inputs)),), generator=generator)
        mapped = nn.functional.normalize(inputs[chosen] @ weight + shift, dim=1)
        optimiser.zero_grad()
        ranking_loss(mapped, names, own[chosen], margin=margin).backward()
        optimiser.step()
        schedule.step()
    return LinearMap(weight.detach().double().numpy() / scale, centre, shift.detach().double().numpy())


def _pairs(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_embeddings(x, what="features")
    check_embeddings(targets, what="targets")
    if len(x) != len(targets):
        raise ValueError(f"{len(x)} samples but {len(targets)} targets: give one for each.")
    if len(x) < 2:
        raise ValueError("one sample: a map needs two or more.")
    return np.asarray(x, dtype=float), np.asarray(targets, dtype=float)
