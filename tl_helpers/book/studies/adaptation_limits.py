"""What bounds adaptation (chapter 7): the terms of Ben-David's bound, sentences both ways, streams, a peer library."""

from __future__ import annotations

import functools

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from tl_helpers import adaptation, features
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies import with_adapter
from tl_helpers.book.studies.adaptation import (
    AFTER,
    CELLS,
    METHODS,
    WITHOUT,
    adapted,
    label_free_scores,
    pair_of,
    train_method,
    with_statistics,
)
from tl_helpers.book.studies.transfer import FROZEN_TEXT, SENTENCES, task_of, with_proportions
from tl_helpers.data import DomainPair, Samples, load_task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, embed, evaluate, fit

EVEN = 0.5
"""Share of positive sentences where nothing else is said."""


@functools.lru_cache(maxsize=4)
def sentence_pair(source: str, target: str, share: float, seed: int) -> DomainPair:
    """Two of ``film`` and ``tweets``: half of the source's sentences are positive, and this share of the target's."""
    home = with_proportions(task_of(source, seed), (1 - EVEN, EVEN), seed=seed)
    return DomainPair(home, with_proportions(task_of(target, seed), (1 - share, share), seed=seed))


def some(samples: Samples, seed: int) -> Samples:
    """At most a thousand of them."""
    return samples.take(np.random.default_rng(seed).permutation(len(samples))[:SENTENCES])


def adapted_sentences(pair: DomainPair, method: str, strength: float, seed: int) -> Classifier:
    """An adapter on the frozen sentence encoder, for the target; methods as in `adaptation.adapted`."""
    model = Classifier(with_adapter(load_backbone("minilm"), seed=seed), 2, seed=seed)
    recipe = Recipe(epochs=6, batch_size=32, freeze_depth=FROZEN_TEXT)
    if method == "target-trained":
        fit(model, some(pair.oracle_target("train"), seed), None, recipe, seed=seed, name=method, fresh=True)
        return model
    train_method(method, strength, seed, True)(model, some(pair.source("train"), seed), pair.target("train"), recipe)
    return with_statistics(model, method, pair.target("train"))


def sentences_cell(source_target: str, method: str, seed: int) -> dict[str, float]:
    """Film reviews and tweets, as many positive as negative ones: a method at its usual strength.

    Returns
    -------
    dict of str to float
        ``oracle_accuracy`` on the target's test split, in %, and the scores of `adaptation.label_free_scores`.
    """
    source, target = source_target.split(" -> ")
    pair = sentence_pair(source, target, EVEN, seed)
    model = adapted_sentences(pair, method, 1.0, seed)
    at_home = with_statistics(model, method, pair.source("train"))
    found = label_free_scores(model, at_home, pair) | {
        "oracle_accuracy": evaluate(model, pair.oracle_target("test"))["accuracy"]
    }
    return {name: round(value, 4) for name, value in found.items()}


TERMS = ("source_error", "half_divergence", "joint_error", "target_error")


def bound_cell(case: str, method: str, strength: float, seed: int) -> dict[str, float]:
    """The terms of Ben-David et al. (2010), theorem 2, estimated on the features of an adapted network.

    Parameters
    ----------
    case : str
        ``digits`` (MNIST to optdigits), or ``sentences, SHARE``: film reviews to tweets of which this share is positive.
    method, strength, seed
        As in `adaptation.adapted`.

    Returns
    -------
    dict of str to float
        In %, on test splits: ``source_error`` and ``target_error`` of the network's answers; ``half_divergence``, half
        the proxy A-distance of a linear judge; ``joint_error``, the sum of both errors of one linear head that was
        trained on the labels of both domains, each weighing the same.
    """
    if case == "digits":
        names = "mnist5k", "optdigits"
        pair, (model, _) = pair_of(*names, seed), adapted(*names, method, strength, seed)
    else:
        pair = sentence_pair("film", "tweets", float(case.split(", ")[1]), seed)
        model = adapted_sentences(pair, method, strength, seed)
    at_home = with_statistics(model, method, pair.source("train"))
    train = some(pair.source("train"), seed), some(pair.oracle_target("train"), seed)
    test = pair.source("test"), pair.oracle_target("test")
    sides = at_home, model
    x = [embed(side, part) for side, part in zip(sides, train, strict=True)]
    weights = np.concatenate([np.full(len(part), 1000 / len(part)) for part in x])
    labels = np.concatenate([part.labels.numpy() for part in train])
    joint = LogisticRegression(max_iter=3000).fit(np.concatenate(x), labels, sample_weight=weights)
    z = [embed(side, part) for side, part in zip(sides, test, strict=True)]
    errors = [100 - evaluate(side, part)["accuracy"] for side, part in zip(sides, test, strict=True)]
    shared = [
        100 - 100 * accuracy_score(part.labels.numpy(), joint.predict(rows)) for rows, part in zip(z, test, strict=True)
    ]
    values = errors[0], 50 * adaptation.a_distance(*z), sum(shared), errors[1]
    return {name: round(float(value), 3) for name, value in zip(TERMS, values, strict=True)}


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


SENTENCE_PAIRS = ("film -> tweets", "tweets -> film")
CASES = ("digits", "sentences, 0.5", "sentences, 0.9")
SEEDS = seeds(5)

STUDIES = (
    Study(
        "sentences_adaptation",
        "Film reviews and tweets, both ways, in equal proportions: adaptation methods at their usual strength",
        {"source_target": SENTENCE_PAIRS, "method": (*WITHOUT, *METHODS), "seed": SEEDS},
        sentences_cell,
        cited={},
    ),
    Study(
        "adaptation_bound",
        "The terms of Ben-David's bound: digits, and sentences in equal and in other proportions",
        {"case": CASES, "method": ("AdaBN", "MMD"), "strength": (1.0,), "seed": SEEDS},
        bound_cell,
        cited={},
    ),
    Study(
        "adaptation_peers",
        "Solar cells, both ways: skada's estimators and ours on the same features",
        {
            "source_target": ("mono -> poly", "poly -> mono"),
            "method": PEER_METHODS,
            "library": LIBRARIES,
            "seed": seeds(3),
        },
        peers_cell,
    ),
)
