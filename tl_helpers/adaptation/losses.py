"""Alignment losses: what is added to the source's cross-entropy so that the target's features come to look alike.

Each takes a batch of source features (N, d) and one of target features (M, d), never a target label. A ValueError says
where a batch holds one sample, or the widths differ.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tl_helpers.adaptation.shift import FACTORS


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared Frobenius distance of the covariances, over 4 d^2: DeepCORAL (Sun and Saenko 2016), equation 1."""
    _check(source, target)
    difference = source.T.cov() - target.T.cov()
    return difference.square().sum() / (4 * source.shape[1] ** 2)


def mmd_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared MMD (the biased estimate, so never below 0) under a mean of Gaussian kernels: DAN (Long et al. 2015).

    Bandwidths are multiples of the batch's root mean squared distance; no gradient flows through that.
    """
    _check(source, target)
    x = torch.cat([source, target])
    squared = (x[:, None] - x[None]).square().sum(dim=2)
    scale = (squared.detach().sum() / (len(x) * (len(x) - 1))).clamp_min(torch.finfo(x.dtype).tiny)
    gram = torch.stack([torch.exp(-squared / (2 * f**2 * scale)) for f in FACTORS]).mean(dim=0)
    n = len(source)
    return gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean()


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """The same values; on the way back, the gradient times ``-strength``: DANN (Ganin et al. 2016), section 4."""
    return _Reverse.apply(x, strength)


def reversal_strength(progress: float) -> float:
    """The paper's schedule, 2 / (1 + exp(-10 p)) - 1, for the share p of training that is done, from 0 to 1."""
    if not 0 <= progress <= 1:
        raise ValueError(f"progress={progress}: a share of training, from 0 to 1.")
    return 2 / (1 + math.exp(-10.0 * progress)) - 1


def domain_loss(source_logits: Tensor, target_logits: Tensor, weights: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Binary cross-entropy of a domain classifier (source 1, target 0), mean of the two domains' means.

    Logits are float, shapes (N,) and (M,), and so are the weights of each domain's samples; see `certainty`.
    """
    each = nn.functional.softplus(-source_logits), nn.functional.softplus(target_logits)
    if weights is None:
        return sum(loss.mean() for loss in each) / 2
    return sum((w * loss).sum() / w.sum() for w, loss in zip(weights, each, strict=True)) / 2


def conditioned(features: Tensor, probabilities: Tensor) -> Tensor:
    """The outer product of features and class probabilities, flattened: what CDAN's domain classifier looks at.

    Long et al. (2018), equation 5. Shapes (N, d) and (N, c) give (N, d c).
    """
    return (probabilities[:, :, None] * features[:, None, :]).flatten(1)


def certainty(probabilities: Tensor) -> Tensor:
    """CDAN+E's weights 1 + exp(-H(p)) (Long et al. 2018, section 3.3), without gradient; shape (N, c) gives (N,)."""
    return 1 + torch.exp(-entropy(probabilities.detach()))


def entropy(probabilities: Tensor) -> Tensor:
    """In nats; shape (N, c) gives (N,). Zero probabilities count as zero."""
    return -torch.xlogy(probabilities, probabilities).sum(dim=1)


def _check(source: Tensor, target: Tensor) -> None:
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise ValueError(
            f"features must be (N, d) and (M, d) with the same d; got {tuple(source.shape)} and {tuple(target.shape)}."
        )
    if min(len(source), len(target)) < 2:
        raise ValueError("alignment needs two samples or more of each domain in a batch: raise the batch size.")
