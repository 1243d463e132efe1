"""Continual learning on Split MNIST: three scenarios, all strategies, buffers of all sizes (chapter 13)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from tl_helpers.book import results
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.continual import (
    AGEM,
    EWC,
    L2SP,
    SCENARIOS,
    SI,
    GDumb,
    Joint,
    LabelsTrick,
    LwF,
    Naive,
    OnlineEWC,
    Outcome,
    Replay,
    Strategy,
    Stream,
    run_stream,
    split_stream,
)
from tl_helpers.data import load_task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe

RECIPE = Recipe(epochs=30, lr=1e-3, batch_size=64, weight_decay=0.0, schedule="constant", warmup=0.0)
"""For each experience: Adam at a constant rate, as Hsu et al. (2018), with fewer steps for fewer images."""

SIZE = 200
"""Images in the buffer of every strategy that has one: of 3,000."""

FISHER = 100
"""Training images that the Fisher information is computed on."""


class NaiveTrick(LabelsTrick, Naive):
    """Nothing but the labels trick."""


class EWCTrick(LabelsTrick, EWC):
    """EWC with the labels trick."""


class SITrick(LabelsTrick, SI):
    """SI with the labels trick."""


class LwFTrick(LabelsTrick, LwF):
    """LwF with the labels trick."""


WEIGHTED: dict[str, tuple[float, Callable[[float], Strategy]]] = {
    "L2-SP": (0.01, lambda strength: L2SP(strength)),
    "EWC": (1e4, lambda strength: EWC(strength, most=FISHER)),
    "online EWC": (1e4, lambda strength: OnlineEWC(strength, most=FISHER)),
    "SI": (1.0, lambda strength: SI(strength)),
    "LwF": (1.0, lambda strength: LwF(strength)),
    "EWC + trick": (1e4, lambda strength: EWCTrick(strength, most=FISHER)),
    "SI + trick": (1.0, lambda strength: SITrick(strength)),
    "LwF + trick": (1.0, lambda strength: LwFTrick(strength)),
}
"""Strategies with a strength: the strength that a factor of 1 stands for, and how it is made."""

PENALTIES = ("L2-SP", "EWC", "online EWC", "SI", "LwF")
TRICKS = ("naive + trick", "EWC + trick", "SI + trick", "LwF + trick")
"""The labels trick is for the class-incremental scenario; in the others it changes nothing."""

FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
TABLE_FACTORS = FACTORS[:5]
"""Those that the strength in the table was chosen among. The larger ones came later: see how far the choice would move."""

CHOICE_SEED = 100
"""Of the splits and weights that strengths were chosen with; none of the reported ones."""


@functools.lru_cache(maxsize=6)
def split_mnist(scenario: str, seed: int) -> Stream:
    """Five experiences of two digits each: about 600 images to train on, 150 and 250 to validate and test."""
    return split_stream(load_task("mnist5k", seed=seed), scenario)


def network(stream: Stream) -> Callable[[int], Classifier]:
    """Two hidden layers of 400 and one output for each class of the stream."""
    return lambda seed: Classifier(
        load_backbone("digit_mlp", pretrained=False, seed=seed), len(stream.classes), seed=seed
    )


def learned(
    scenario: str, strategy: Strategy, seed: int, *, split: str = "test", fresh: bool | None = None, **report
) -> Outcome:
    """One strategy on Split MNIST; a live control and the recorded cells call the same."""
    stream = split_mnist(scenario, seed)
    return run_stream(stream, strategy, network(stream), RECIPE, seed=seed, split=split, fresh=fresh, **report)


def strength_cell(scenario: str, strategy: str, factor: float, seed: int) -> dict[str, float]:
    """One cell: a strategy at some strength, scored on the validation images.

    Parameters
    ----------
    scenario : {"task", "domain", "class"}
    strategy : str
        One of `WEIGHTED`.
    factor : float
        Of the strength.
    seed : int

    Returns
    -------
    dict of str to float
        ``validation_accuracy`` (average after the last experience) and ``forgetting``, on validation images.
    """
    usual, make = WEIGHTED[strategy]
    outcome = learned(scenario, make(usual * factor), seed, split="validation", fresh=True)
    return {"validation_accuracy": round(outcome.average_accuracy, 3), "forgetting": round(outcome.forgetting, 3)}


@functools.lru_cache(maxsize=64)
def best_factor(study: str, strategy: str, among: tuple[float, ...] | None = None, **stream: str) -> float:
    """The factor with the best validation accuracy in a recorded study of strengths; the smallest of equals.

    Parameters
    ----------
    study, strategy : str
    among : tuple of float, optional
        Only these; all by default.
    stream : str
        The column that says which stream, and its value, such as ``scenario="class"``.
    """
    grid = results.load(study)
    (column, value), *_ = stream.items()
    own = grid[(grid[column] == value) & (grid["strategy"] == strategy)].sort_values("factor")
    own = own if among is None else own[own["factor"].isin(among)]
    return float(own.loc[own["validation_accuracy"].idxmax(), "factor"])


def chosen_factor(scenario: str, strategy: str) -> float:
    """See `best_factor`: of a strategy in a scenario of Split MNIST."""
    study = "trick_strengths" if strategy in TRICKS else "split_strengths"
    return best_factor(study, strategy, TABLE_FACTORS, scenario=scenario)


def strategy_for(scenario: str, name: str) -> Strategy:
    """A new strategy by name, at the strength chosen for the scenario, or with the usual buffer."""
    if name in WEIGHTED:
        usual, make = WEIGHTED[name]
        return make(usual * chosen_factor(scenario, name))
    return BUFFERED[name](SIZE) if name in BUFFERED else PLAIN[name]()


def scenario_cell(scenario: str, strategy: str, seed: int) -> dict[str, float]:
    """One cell: a strategy in a scenario, on the test images; see `Outcome.row`."""
    return learned(scenario, strategy_for(scenario, strategy), seed, fresh=True).row()


def buffer_cell(scenario: str, strategy: str, size: int, seed: int) -> dict[str, float]:
    """One cell: a strategy with a buffer of some size; see `Outcome.row`."""
    return learned(scenario, BUFFERED[strategy](size), seed, fresh=True).row()


BUFFERED: dict[str, Callable[[int], Strategy]] = {
    "replay": lambda size: Replay(size),
    "balanced replay": lambda size: Replay(size, kind="balanced"),
    "A-GEM": lambda size: AGEM(size),
    "GDumb": lambda size: GDumb(size),
}
PLAIN: dict[str, Callable[[], Strategy]] = {"naive": Naive, "joint": Joint, "naive + trick": NaiveTrick}
STRATEGIES = ("naive", *PENALTIES, "A-GEM", "GDumb", "replay", "balanced replay", "joint")

PUBLISHED = {
    "naive": (87.2, 59.2, 19.9),
    "EWC": (98.6, 64.0, 20.0),
    "SI": (99.1, 65.4, 20.0),
    "LwF": (99.6, 71.5, 23.9),
    "replay": (99.4, 95.2, 90.8),
    "joint": (99.7, 98.4, 97.9),
}
"""Average accuracy in % for task-, domain- and class-incremental Split MNIST with all 60,000 images: van de Ven and Tolias
(2019), and for replay Hsu et al. (2018)."""

SIZES = (10, 30, 100, 300, 1000)

STUDIES = (
    Study(
        "split_strengths",
        "Split MNIST: strengths of penalties and of distillation, on validation images, with a seed that is not reported",
        {"scenario": SCENARIOS, "strategy": PENALTIES, "factor": FACTORS, "seed": (CHOICE_SEED,)},
        strength_cell,
    ),
    Study(
        "trick_strengths",
        "Split MNIST, class-incremental, with the labels trick: strengths, on validation images of the same seed",
        {"scenario": ("class",), "strategy": TRICKS[1:], "factor": TABLE_FACTORS, "seed": (CHOICE_SEED,)},
        strength_cell,
    ),
    Study(
        "labels_trick",
        "Split MNIST, class-incremental: strategies whose new classes compete with each other only",
        {"scenario": ("class",), "strategy": TRICKS, "seed": seeds(5)},
        scenario_cell,
        cited={"strategy": ("naive + trick",)},
    ),
    Study(
        "split_mnist",
        "Split MNIST: all strategies in the three scenarios, at the strengths chosen on validation images",
        {"scenario": SCENARIOS, "strategy": STRATEGIES, "seed": seeds(5)},
        scenario_cell,
        cited={},
    ),
    Study(
        "split_task",
        "Split MNIST, told the task: five more seeds of naive and EWC, as naive scatters widely",
        {"scenario": ("task",), "strategy": ("naive", "EWC"), "seed": seeds(10)[5:]},
        scenario_cell,
        cited={},
    ),
    Study(
        "replay_size",
        "Split MNIST: replay, A-GEM and GDumb with buffers of 10 to 1,000 images",
        {"scenario": SCENARIOS, "strategy": ("replay", "A-GEM", "GDumb"), "size": SIZES, "seed": seeds(3)},
        buffer_cell,
        cited={"scenario": ("class",), "strategy": ("replay", "GDumb")},
    ),
)
