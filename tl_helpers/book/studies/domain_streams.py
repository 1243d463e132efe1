"""Continual learning on streams of real domains, and with frozen pre-trained features (chapter 13)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies import continual, with_adapter
from tl_helpers.book.studies.adaptation import AFTER, CELLS, FROZEN
from tl_helpers.book.studies.transfer import FROZEN_TEXT
from tl_helpers.continual import (
    EWC,
    SI,
    GDumb,
    Joint,
    LwF,
    Naive,
    NearestMean,
    Progressive,
    Replay,
    Strategy,
    Stream,
    StreamingLDA,
    domain_stream,
    run_stream,
    split_stream,
)
from tl_helpers.data import load_task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe

STREAMS: dict[str, tuple[str, ...]] = {
    "solar cells": ("mono", "poly"),
    "sentiment": ("film", "product", "tweets", "editorial"),
}
SENTENCES = 300
SIZE = 100
"""Samples in every buffer."""

WEIGHTED: dict[str, tuple[float, Callable[[float], Strategy]]] = {
    "EWC": (100.0, lambda strength: EWC(strength, most=100)),
    "SI": (1.0, lambda strength: SI(strength)),
    "LwF": (1.0, lambda strength: LwF(strength)),
}
FACTORS = (0.1, 1.0, 10.0)

PLAIN: dict[str, Callable[[], Strategy]] = {
    "naive": Naive,
    "GDumb": lambda: GDumb(SIZE),
    "replay": lambda: Replay(SIZE),
    "nearest mean": NearestMean,
    "streaming LDA": StreamingLDA,
    "joint": Joint,
}
STRATEGIES = ("naive", *WEIGHTED, "GDumb", "replay", "nearest mean", "joint")
ON_FEATURES = ("nearest mean", "streaming LDA")
"""Strategies that train nothing: on the frozen backbone as it is, without an adapter."""


@functools.lru_cache(maxsize=4)
def stream_of(name: str, seed: int) -> Stream:
    """``solar cells``: mono-, then polycrystalline; ``sentiment``: four domains, at most 300 sentences of each split."""
    if name == "solar cells":
        cells = load_task("elpv", seed=seed)
        return domain_stream([cells.only(domain=kind) for kind in STREAMS[name]], size=CELLS)
    return domain_stream([load_task(domain, seed=seed) for domain in STREAMS[name]], most=SENTENCES, seed=seed)


def model_of(name: str, *, adapter: bool = True) -> Callable[[int], Classifier]:
    """The frozen backbone with a small adapter to train, as in chapters 7 and 8."""
    backbone, after = ("efficientnet_lite0", AFTER[CELLS]) if name == "solar cells" else ("minilm", None)

    def make(seed: int) -> Classifier:
        body = load_backbone(backbone)
        return Classifier(with_adapter(body, after=after, seed=seed) if adapter else body, 2, seed=seed)

    return make


def recipe_of(name: str, *, adapter: bool = True) -> Recipe:
    """The adapter and the head alone."""
    adapted, whole = (FROZEN[CELLS], 9) if name == "solar cells" else (FROZEN_TEXT, 7)
    return Recipe(epochs=8, lr=1e-3, batch_size=32, freeze_depth=adapted if adapter else whole)


def strength_cell(stream: str, strategy: str, factor: float, seed: int) -> dict[str, float]:
    """One cell: ``validation_accuracy`` (balanced, average after the last domain) and ``forgetting``."""
    usual, make = WEIGHTED[strategy]
    outcome = run_stream(
        stream_of(stream, seed), make(usual * factor), model_of(stream), recipe_of(stream), seed=seed,
        split="validation", metric="balanced_accuracy", fresh=True,
    )  # fmt: skip
    return {"validation_accuracy": round(outcome.average_accuracy, 3), "forgetting": round(outcome.forgetting, 3)}


def domain_cell(stream: str, strategy: str, seed: int) -> dict[str, float]:
    """One cell: a strategy on a stream of domains, balanced accuracy on the test samples; see `Outcome.row`."""
    if strategy in WEIGHTED:
        usual, make = WEIGHTED[strategy]
        made = make(usual * continual.best_factor("domain_strengths", strategy, stream=stream))
    else:
        made = PLAIN[strategy]()
    adapter = strategy not in ON_FEATURES
    return run_stream(
        stream_of(stream, seed), made, model_of(stream, adapter=adapter), recipe_of(stream, adapter=adapter),
        seed=seed, metric="balanced_accuracy", fresh=True,
    ).row()  # fmt: skip


def pretrained_cell(scenario: str, strategy: str, seed: int) -> dict[str, float]:
    """One cell: Split MNIST at 64 pixels through ImageNet's frozen network, and class means; see `Outcome.row`."""
    stream = split_stream(load_task("mnist5k", seed=seed), scenario, size=64)

    def make(seed: int) -> Classifier:
        return Classifier(load_backbone("efficientnet_lite0"), len(stream.classes), seed=seed)

    untrained = dataclasses.replace(continual.RECIPE, freeze_depth=9)  # the whole backbone: computed once for all cells
    return run_stream(stream, PLAIN[strategy](), make, untrained, seed=seed).row()


def progressive_cell(width: int, seed: int) -> dict[str, float]:
    """One cell: progressive networks on task-incremental Split MNIST; see `Outcome.row`."""
    return continual.learned("task", Progressive(width), seed, fresh=True).row()


SEEDS, CHOICE_SEED = seeds(5), 100
STUDIES = (
    Study(
        "domain_strengths",
        "Streams of real domains: strengths, on validation samples, with a seed that is not reported",
        {"stream": tuple(STREAMS), "strategy": tuple(WEIGHTED), "factor": FACTORS, "seed": (CHOICE_SEED,)},
        strength_cell,
    ),
    Study(
        "solar_stream",
        "Solar cells, first mono-, then polycrystalline: all strategies",
        {"stream": ("solar cells",), "strategy": STRATEGIES, "seed": SEEDS},
        domain_cell,
        cited={},
    ),
    Study(
        "sentiment_stream",
        "Sentiment in film reviews, product reviews, tweets and editorials, one after the other: all strategies",
        {"stream": ("sentiment",), "strategy": STRATEGIES, "seed": SEEDS[:3]},
        domain_cell,
        cited={},
    ),
    Study(
        "pretrained_streams",
        "Split MNIST with ImageNet's frozen features and class means",
        {"scenario": ("task", "domain", "class"), "strategy": ON_FEATURES, "seed": SEEDS},
        pretrained_cell,
        cited={},
    ),
    Study(
        "progressive",
        "Progressive networks on task-incremental Split MNIST, wide and narrow columns",
        {"width": (100, 400), "seed": SEEDS},
        progressive_cell,
        cited={},
    ),
)
