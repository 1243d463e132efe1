"""Adaptation without the source's data, on a stream of digits, and a peer library beside ours (chapter 7)."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from tl_helpers import adaptation, features
from tl_helpers.book.studies.adaptation import (
    AFTER,
    CELLS,
    adapted,
    pair_of,
    with_statistics,
)
from tl_helpers.data import Samples, load_task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import evaluate

STREAM = ("source only", "AdaBN", "batch statistics", "TENT")
ORDERS = ("shuffled", "by class")
TENT_RATE = 1e-3
"""Adam's, as in Wang et al. (2021)."""


def stream(order: str, seed: int) -> tuple[Classifier, Samples]:
    """A network that learned from MNIST, and optdigits' test images as a stream, shuffled or one class after the other."""
    model, _ = adapted("mnist5k", "optdigits", "source only", 1.0, seed)
    test = pair_of("mnist5k", "optdigits", seed).oracle_target("test")
    rows = np.random.default_rng(seed).permutation(len(test))
    if order == "by class":
        rows = rows[np.argsort(test.labels.numpy()[rows], kind="stable")]
    return model, test.take(rows)


def stream_cell(method: str, batch_size: int, order: str, seed: int) -> dict[str, float]:
    """Accuracy (%) of a source model's answers over a stream of the target, with no look at the source.

    `method` is one of `STREAM`: the source's statistics, those of the target's unlabelled training images, each batch's
    own, or these and a step on the answers' entropy after each batch.
    """
    model, test = stream(order, seed)
    if method in ("source only", "AdaBN"):
        target = pair_of("mnist5k", "optdigits", seed).target("train")
        return {"oracle_accuracy": round(evaluate(with_statistics(model, method, target), test)["accuracy"], 3)}
    rate = TENT_RATE if method == "TENT" else 0.0
    _, logits = adaptation.tent(model, test, batch_size=batch_size, lr=rate)
    return {"oracle_accuracy": round(100 * float((logits.argmax(1) == test.labels.numpy()).mean()), 3)}


LIBRARIES, PEER_METHODS = ("this book", "skada"), ("standardised", "CORAL")


def peers_cell(source_target: str, method: str, library: str, seed: int) -> dict[str, float]:
    """Solar cells, features of a frozen stage, a logistic regression: what skada's estimators give, and what ours do.

    Returns
    -------
    dict of str to float
        ``oracle_balanced_accuracy`` on the target's test split, in %, and ``negative_entropy`` of the answers there.
    """
    source, target = source_target.split(" -> ")
    cells = load_task("elpv", seed=seed)
    home, abroad = cells.only(domain=source), cells.only(domain=target)
    stages = [AFTER[CELLS], "head_conv"]
    x = features.extract_stages(load_backbone("efficientnet_lite0"), cells.all_samples(CELLS), stages=stages)[stages[0]]
    rows = home.rows("train"), abroad.rows("train"), abroad.rows("test")
    x = [x[some_rows].astype(float) for some_rows in rows]
    answers = home.labels("train")
    probabilities = (_ours if library == LIBRARIES[0] else _skadas)(method, x, answers)
    said = probabilities.argmax(1)
    return {
        "oracle_balanced_accuracy": round(100 * float(balanced_accuracy_score(abroad.labels("test"), said)), 4),
        "negative_entropy": round(adaptation.negative_entropy(probabilities), 6),
    }


def _head() -> LogisticRegression:
    return LogisticRegression(C=0.01, max_iter=5000, tol=1e-8)


def _ours(method: str, x: list[np.ndarray], answers: np.ndarray) -> np.ndarray:
    """Ours, without shrinkage: statistics of the training images of each domain."""
    home, abroad, asked = x
    moments = [(part.mean(0), part.std(0)) for part in (home, abroad, abroad)]
    home, abroad, asked = ((p - m) / np.where(s > 0, s, 1) for p, (m, s) in zip(x, moments, strict=True))
    if method == "CORAL":
        scale = (len(home) - 1) / len(home), (len(abroad) - 1) / len(abroad)  # skada's covariances are over N
        home = adaptation.coral(home, abroad, shrink=1e-12) * np.sqrt(scale[1] / scale[0])
    return _head().fit(home, answers).predict_proba(asked)


def _skadas(method: str, x: list[np.ndarray], answers: np.ndarray) -> np.ndarray:
    """Theirs: the target's training images stand masked in the fit."""
    from skada import CORALAdapter, PerDomain, make_da_pipeline
    from sklearn.preprocessing import StandardScaler

    home, abroad, asked = x
    domains = np.repeat([1, -2], [len(home), len(abroad)])
    labels = np.concatenate([answers, np.full(len(abroad), -1)])
    steps = [PerDomain(StandardScaler()), *([CORALAdapter(reg=None)] if method == "CORAL" else [])]
    pipeline = make_da_pipeline(*steps, _head())
    pipeline.fit(np.concatenate([home, abroad]), labels, sample_domain=domains)
    return pipeline.predict_proba(asked, sample_domain=np.full(len(asked), -2))
