"""Sentences both ways, and adaptation without the source's data on a stream of digits (chapter 7)."""

from __future__ import annotations

import functools

import numpy as np

from tl_helpers import adaptation
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies.adaptation import METHODS, WITHOUT, adapted, pair_of, with_statistics
from tl_helpers.book.studies.transfer import adapted_sentences, sentence_pair
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import evaluate

BACK = ("tweets -> film",)
"""The other way is in the study `proportions` of chapter 8, at a share of one half."""
EVEN = 0.5


def sentences_cell(source_target: str, method: str, strength: float, seed: int) -> dict[str, float]:
    """Sentences, as many positive as negative ones: an adapter on a frozen sentence encoder.

    Parameters
    ----------
    source_target : str
        Two of ``film``, ``tweets`` and the other domains of sentiment, such as ``tweets -> film``.
    method : str
        As in `adaptation.adapted`.
    strength : float
        The usual one, 1.
    seed : int
        Of the splits, the weights and the order of sentences.

    Returns
    -------
    dict of str to float
        ``oracle_accuracy`` on the target's test split, ``source_accuracy`` on the source's, in %.

    Raises
    ------
    ValueError
        For another strength.
    """
    if strength != 1.0:
        raise ValueError(f"strength={strength}: sentences are adapted at the usual strength, 1, only.")
    pair = sentence_pair(*source_target.split(" -> "), EVEN, seed)
    model = adapted_sentences(pair, method, seed)
    at_home = with_statistics(model, method, pair.source("train"))
    return {
        "oracle_accuracy": round(evaluate(model, pair.oracle_target("test"))["accuracy"], 3),
        "source_accuracy": round(evaluate(at_home, pair.source("test"))["accuracy"], 3),
    }


STREAM = ("source only", "AdaBN", "batch statistics", "TENT")
ORDERS = ("shuffled", "by class")
TENT_RATE = 1e-3
"""Adam's, as in Wang et al. (2021)."""


@functools.lru_cache(maxsize=16)
def _learned(seed: int) -> tuple[Classifier, Classifier, Samples]:
    """A network that learned from MNIST, the same with the target's statistics, and optdigits' test images."""
    model, _ = adapted("mnist5k", "optdigits", "source only", 1.0, seed)
    pair = pair_of("mnist5k", "optdigits", seed)
    return model, with_statistics(model, "AdaBN", pair.target("train")), pair.oracle_target("test")


def stream(order: str, seed: int) -> tuple[Classifier, Samples]:
    """A network that learned from MNIST, and optdigits' test images as a stream, shuffled or one class after the other."""
    model, _, test = _learned(seed)
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
        answering = model if method == "source only" else _learned(seed)[1]
        return {"oracle_accuracy": round(evaluate(answering, test)["accuracy"], 3)}
    rate = TENT_RATE if method == "TENT" else 0.0
    _, logits = adaptation.tent(model, test, batch_size=batch_size, lr=rate)
    return {"oracle_accuracy": round(100 * float((logits.argmax(1) == test.labels.numpy()).mean()), 3)}


STUDIES = (
    Study(
        "sentences_adaptation",
        "Tweets to film reviews, in equal proportions: adaptation methods at their usual strength",
        {
            "source_target": BACK,
            "method": (*WITHOUT, *METHODS),
            "strength": (1.0,),
            "seed": seeds(5),
        },
        sentences_cell,
        cited={},
    ),
)
