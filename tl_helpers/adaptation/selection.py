"""Choosing a method, a strength or an epoch without labels of the target.

Each score is *higher is better* and sees what is there without labels: the source's held-out samples with their labels,
and the model's probabilities on the target. None of them is safe; chapter 7 holds them against the oracle.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tl_helpers.adaptation.shift import _pair
from tl_helpers.data import DomainPair, Samples, Unlabelled, without_labels
from tl_helpers.models import Classifier
from tl_helpers.training import evaluate, predict


def negative_entropy(probabilities: np.ndarray) -> float:
    """Minus the mean entropy of the target's predictions, float (N, classes), in nats: confident models score high."""
    return -float(entropy(_distribution(probabilities), axis=1).mean())


def mutual_information(probabilities: np.ndarray) -> float:
    """Entropy of the mean prediction minus the mean entropy, in nats: confident *and* diverse (Shi and Sha 2012).

    A model that calls everything one class has no entropy at all, which `negative_entropy` takes for certainty; here it
    scores 0, the worst.
    """
    p = _distribution(probabilities)
    return float(entropy(p.mean(axis=0)) - entropy(p, axis=1).mean())


def importance_weights(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How much more likely each source sample is in the target, p_target(x) / p_source(x), from a domain classifier: (N,).

    Bickel et al. (2007), "Discriminative learning for differing training and test distributions"; scaled to mean 1.
    Features are float, shapes (N, d) and (M, d). Weights are cut off at 20, so that one sample cannot decide.
    """
    source, target = _pair(source, target)
    x = np.concatenate([source, target])
    domain = np.repeat([0, 1], [len(source), len(target)])
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(x, domain)
    p = judge.predict_proba(source)
    ratio = np.clip(p[:, 1] / np.maximum(p[:, 0], np.finfo(float).tiny) * len(source) / len(target), 0, 20)
    if not ratio.any():
        raise ValueError("no source sample resembles the target: importance weights are all 0.")
    return ratio / ratio.mean()


def importance_weighted(right: np.ndarray, weights: np.ndarray) -> float:
    """Estimated accuracy on the target, in %: held-out source samples count as much as they resemble the target.

    Importance-weighted validation (Sugiyama et al. 2007) with a control variate, which takes out the noise that the
    weights' own mean brings: deep embedded validation (You et al. 2019), equation 8. Whether the model is right on each
    held-out source sample, bool (N,), and the `importance_weights`, float (N,), 0 or more; two samples or more.
    """
    right, weights = np.asarray(right, dtype=float), np.asarray(weights, dtype=float)
    if right.shape != weights.shape or right.ndim != 1 or len(right) < 2:
        raise ValueError(f"right and weights need the same length, 2 or more; got {right.shape} and {weights.shape}.")
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError("importance weights must be 0 or more, without NaN.")
    weighted = weights * (1 - right)
    spread = weights.var(ddof=1)
    eta = -np.cov(weighted, weights, ddof=1)[0, 1] / spread if spread > 0 else 0.0
    return float(100 * (1 - (weighted.mean() + eta * weights.mean() - eta)))


def reverse_validation(
    model: Classifier, pair: DomainPair, train: Callable[[Classifier, Samples, Unlabelled], object]
) -> float:
    """Adapt back: learn from the target with the model's own answers as labels, and see what is left of the source, in %.

    Ganin et al. (2016), section 5.1.2, after Zhong et al. (2010). The way back starts from a copy of the adapted model,
    as in that paper. A model that confuses the target's classes cannot find back. `train` trains a model in place: it
    is called with the copy, the pseudo-labelled target, and the unlabelled source. The result is the accuracy on the
    source's validation split; where all pseudo-labels are one class there is nothing to learn, and it is that class's
    share.
    """
    target, source, held_out = pair.target("train"), pair.source("train"), pair.source("validation")
    said = predict(model, target).argmax(axis=1)
    if len(np.unique(said)) == 1:
        return float(100 * (held_out.labels.numpy() == said[0]).mean())
    back = copy.deepcopy(model)
    train(back, target.pseudo_labelled(said), without_labels(source))
    return evaluate(back, held_out)["accuracy"]


def _distribution(p: np.ndarray) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    if p.ndim != 2 or not len(p) or not np.isfinite(p).all() or p.min() < 0 or not np.allclose(p.sum(1), 1, atol=1e-4):
        raise ValueError("probabilities must have the shape (N, classes), with rows that sum to 1 and without NaN.")
    return p
