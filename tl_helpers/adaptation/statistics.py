"""The cheap part of adaptation: make the statistics of two domains agree. No training, no labels of the target."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tl_helpers import runtime
from tl_helpers.activations import Line
from tl_helpers.adaptation.shift import _pair
from tl_helpers.data import Samples, Unlabelled
from tl_helpers.models import Classifier

BATCH = 64


def standardise(features: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """Each domain's features, float (N, d), with mean 0 and standard deviation 1, by its own statistics.

    `domains` holds a name or number for each sample, (N,); a domain has two or more. A feature that is constant within
    a domain becomes 0 there.
    """
    features, domains = np.asarray(features, dtype=float), np.asarray(domains)
    if len(features) != len(domains):
        raise ValueError(f"{len(features)} rows of features, but {len(domains)} domains.")
    out = np.empty_like(features)
    for domain in np.unique(domains):
        rows = domains == domain
        if rows.sum() < 2:
            raise ValueError(f"domain {domain!r} has one sample; its statistics need two or more.")
        x = features[rows]
        spread = x.std(axis=0)
        out[rows] = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return out


def coral(source: np.ndarray, target: np.ndarray, shrink: float = 1.0) -> np.ndarray:
    """Source features, float (N, d), with the covariance of the target's, (M, d).

    CORAL (Sun, Feng and Saenko 2016, algorithm 1): whitens with (C_source + shrink I)^(-1/2), colours with (C_target +
    shrink I)^(1/2), `shrink` above 0. Means stay as they are: standardise first, as the paper does. A classifier is
    trained on these and applied to the target as it is.
    """
    source, target = _pair(source, target)
    if shrink <= 0:
        raise ValueError(f"shrink={shrink}: above 0, as covariances of few samples cannot be inverted.")
    eye = shrink * np.eye(source.shape[1])
    whiten = _power(np.atleast_2d(np.cov(source, rowvar=False)) + eye, -0.5)
    colour = _power(np.atleast_2d(np.cov(target, rowvar=False)) + eye, 0.5)
    return source @ whiten @ colour


def adapt_batch_norm(model: Classifier, samples: Samples | Unlabelled) -> Classifier:
    """A copy of the model whose batch-norm statistics are those of these samples: AdaBN (Li et al. 2017).

    The weights stay as they are, and so do the statistics of stages below the freeze line. Statistics are averaged over
    batches of 64, which counts each batch alike; labels are not looked at. A ValueError if the model has no batch norm
    above its freeze line, or there are fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError(f"{samples.name}: batch-norm statistics need two samples or more.")
    here = runtime.current()
    adapted = copy.deepcopy(model).eval().to(here.device)
    norms = _norms(adapted)
    if not norms:
        raise ValueError("the model has no batch norm above its freeze line, so it has no statistics to adapt.")
    depth = adapted.backbone.frozen_depth
    line = Line(adapted.backbone, depth, samples) if depth else None
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over batches
        nn.Module.train(norm)
    batches = np.array_split(np.arange(len(samples)), max(1, round(len(samples) / BATCH)))
    with torch.no_grad():
        for batch in batches:
            x = line(batch) if depth else adapted.backbone.prepare(samples.inputs[batch].to(here.device))
            adapted.above(x.to(here.device), depth)
    for norm, before in zip(norms, _norms(model), strict=True):
        norm.momentum = before.momentum
    return adapted.eval()


def _norms(model: Classifier) -> list[_BatchNorm]:
    """The batch norms above the freeze line."""
    above = [*list(model.backbone.stages.values())[model.backbone.frozen_depth :], model.head]
    return [module for part in above for module in part.modules() if isinstance(module, _BatchNorm)]


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T
