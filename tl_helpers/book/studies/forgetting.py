"""Catastrophic forgetting: ImageNet's network learns digits, and what is left of ImageNet is measured (chapter 12)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from timm.data import ImageNetInfo
from torch import nn

from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.continual import KeepAnswers, between, together
from tl_helpers.data import Samples, load_task
from tl_helpers.data.glyphs import load_meta_task
from tl_helpers.ledger import Run
from tl_helpers.models import Backbone, Classifier, load_backbone, load_imagenet_classifier
from tl_helpers.training import L2SP, Recipe, Retention, Watcher, evaluate, fit

SIZE, SOURCE_SIZE = 64, 128
"""Pixels of the digits while they are learned, and of the drawings that the source's head is asked about."""

ARTISTS = ("twemoji", "openmoji")
LABELS = 400
REHEARSED = 300
"""Drawings to rehearse: of other things than those that are asked about, and without labels."""

BASE = Recipe(epochs=4, batch_size=32)
DEPTHS, RATES = (0, 5, 7), (1e-4, 3e-4, 1e-3)

PULL, DISTILLATION, REHEARSAL = 1.0, 0.1, 0.1
"""Strengths: settled in a few trials with a seed that is not reported (100), on validation digits."""

MITIGATIONS = ("none", "frozen statistics", "L2-SP", "distillation", "rehearsal")
"""All but the first also keep the source's batch-norm statistics."""


@dataclass(frozen=True)
class Start:
    """A way to fine-tune: freeze depth, rate, mitigation, head."""

    depth: int
    rate: float
    mitigation: str
    head: Literal["random", "trained first"] = "random"


WAYS: dict[str, Start] = {
    "plain": Start(0, 1e-3, "none"),
    "a tenth of the rate": Start(0, 1e-4, "none"),
    "frozen statistics": Start(0, 3e-4, "frozen statistics"),
    "head first": Start(0, 3e-4, "frozen statistics", "trained first"),
    "half frozen": Start(5, 2e-4, "frozen statistics"),
    "L2-SP": Start(5, 2e-4, "L2-SP"),
    "distillation": Start(5, 2e-4, "distillation"),
    "rehearsal": Start(5, 2e-4, "rehearsal"),
    "head only": Start(9, 1e-2, "none"),
}
"""What chapter 12 compares over seeds."""

DEMANDS = tuple(range(75, 93))
"""Accuracies on the target that are demanded, in %, see `kept_on_demand`."""

CURVES = ("plain", "a tenth of the rate", "frozen statistics", "distillation")
"""Ways along which the source is measured step by step."""


def drawn_imagenet(artist: str, size: int = 128) -> tuple[Samples, list[int]]:
    """Drawings of things that ImageNet has a class for, and the class of each, of 1,000: a test set without a photograph.

    An emoji belongs to an ImageNet class if its name is one of the class's names, word for word. A drawing's label is
    its place in the list of classes.
    """
    info = ImageNetInfo()
    number = {}
    for index in range(1000):
        for name in info.index_to_description(index).split(","):
            number.setdefault(name.strip().lower(), index)
    task = load_task(artist)
    found: dict[int, int] = {}  # class -> row: the first emoji that draws it
    for row, concept in enumerate(task.table["concept"]):
        if concept in number:
            found.setdefault(number[concept], row)
    rows = list(found.values())
    concepts = task.table["concept"]
    samples = task.all_samples(size).take(rows, name=f"{artist}, drawn ImageNet classes")
    names = tuple(concepts[row] for row in rows)
    return dataclasses.replace(samples, labels=torch.arange(len(rows)), classes=names), list(found)


@functools.cache
def source_test(artists: tuple[str, ...] = ARTISTS) -> tuple[Samples, list[int]]:
    """Drawings of things that ImageNet has a class for, and these classes."""
    parts = [drawn_imagenet(artist, SOURCE_SIZE) for artist in artists]
    return together([samples for samples, _ in parts], "drawn ImageNet classes"), parts[0][1]


@functools.cache
def source_head() -> nn.Module:
    """ImageNet's own last layer, (N, 1280) to (N, 1000)."""
    return load_imagenet_classifier().get_classifier()


def retention(*artists: str) -> Retention:
    """Measures the accuracy of ImageNet's head on drawings (of both artists), among the classes that are drawn."""
    samples, classes = source_test(artists or ARTISTS)
    return Retention(samples, source_head(), classes=classes)


@functools.lru_cache(maxsize=4)
def rehearsal_pool(seed: int) -> Samples:
    """Drawings of other things, by both artists, in the size of the target's images."""
    known = set(source_test()[0].rows.tolist())
    parts = []
    for artist in ARTISTS:
        drawings = load_task(artist).all_samples(SIZE)
        parts.append(drawings.take([place for place, row in enumerate(drawings.rows) if int(row) not in known]))
    drawings = together(parts, "other drawings")
    return drawings.take(np.random.default_rng(seed).permutation(len(drawings))[:REHEARSED])


@functools.lru_cache(maxsize=8)
def digits(part: str, seed: int) -> Samples:
    """The target: MNIST with few labels to train on, in pictures of the size that the network gets."""
    task = load_task("mnist5k", seed=seed)
    return (task.few_labels(LABELS, seed) if part == "train" else task).samples(part, SIZE)


def start_model(seed: int) -> Classifier:
    """EfficientNet-Lite0 with ImageNet's weights and a new head for ten digits."""
    return Classifier(load_backbone("efficientnet_lite0"), 10, seed=seed)


def recipe_of(way: Start) -> Recipe:
    """The base recipe at the way's depth and rate, with its mitigation as far as a recipe can say it."""
    return dataclasses.replace(
        BASE,
        lr=way.rate,
        freeze_depth=way.depth,
        batch_norm="train" if way.mitigation == "none" else "frozen",
    )


def fine_tuned(
    way: Start, seed: int, *, watch: Watcher | None = None, fresh: bool | None = None
) -> tuple[Classifier, Run]:
    """Learn digits in some way, and watch along it: by default what is left of ImageNet, on Twemoji's drawings.

    Raises
    ------
    ValueError
        For an unknown mitigation.
    """
    if way.mitigation not in MITIGATIONS:
        raise ValueError(f"mitigation={way.mitigation!r}: use {', '.join(MITIGATIONS)}.")
    model, train = start_model(seed), digits("train", seed)
    if way.head == "trained first":
        fit(model, train, None, dataclasses.replace(BASE, lr=1e-2, freeze_depth=9), seed=seed)
    method = None
    if way.mitigation == "L2-SP":
        method = L2SP(PULL)
    if way.mitigation == "distillation":
        method = KeepAnswers(source_head(), DISTILLATION)
    if way.mitigation == "rehearsal":
        method = KeepAnswers(source_head(), REHEARSAL, rehearsal=rehearsal_pool(seed))
    watch = retention("twemoji") if watch is None else watch
    run = fit(
        model, train, None, recipe_of(way), method=method, watch=watch, seed=seed, name=way.mitigation, fresh=fresh
    )
    return model, run


@functools.cache
def source_before() -> float:
    """The source's accuracy before anything was fine-tuned, in %."""
    return retention().accuracy(start_model(0))


def scores(model: Classifier, seed: int) -> dict[str, float]:
    """``accuracy``, ``validation_accuracy`` (digits), ``source_accuracy`` and ``kept`` (share of the source's), in %."""
    left = retention().accuracy(model)
    found = {
        "validation_accuracy": evaluate(model, digits("validation", seed))["accuracy"],
        "accuracy": evaluate(model, digits("test", seed))["accuracy"],
        "source_accuracy": left,
        "kept": 100 * left / source_before(),
    }
    return {name: round(value, 3) for name, value in found.items()}


def grid_cell(depth: int, rate: float, mitigation: str, seed: int) -> dict[str, float]:
    """One cell of freeze depth x rate x mitigation; see `scores`."""
    model, run = fine_tuned(Start(depth, rate, mitigation), seed, watch=Watcher(), fresh=True)
    return {**scores(model, seed), "train_seconds": round(run.seconds, 2)}


def way_cell(way: str, seed: int) -> dict[str, float]:
    """One of `WAYS`: `scores`, and for `CURVES` Twemoji's accuracy after so many steps (``source_accuracy_8``)."""
    model, run = fine_tuned(WAYS[way], seed, watch=None if way in CURVES else Watcher(), fresh=True)
    curve = {f"source_accuracy_{point['step']}": round(point["accuracy"], 3) for point in run.measured}
    return {**scores(model, seed), **curve, "train_seconds": round(run.seconds, 2)}


def average_cell(way: str, share: float, seed: int) -> dict[str, float]:
    """Weights between before (share 0) and after (1), with the fine-tuned head: `scores`."""
    before = {name: tensor.clone() for name, tensor in start_model(seed).state_dict().items()}
    model, _ = fine_tuned(WAYS[way], seed, watch=None if way in CURVES else Watcher())  # the stored run of `way_cell`
    after = {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}
    head = {name: tensor for name, tensor in after.items() if name.startswith("head.")}
    model.load_state_dict({**between(before, after, share), **head})
    return scores(model, seed)


def statistics_cell(weights: str, statistics: str, seed: int) -> dict[str, float]:
    """Plain fine-tuning: weights of before or after, with batch norm's statistics of before or after: `scores`."""
    before = {name: tensor.clone() for name, tensor in start_model(seed).state_dict().items()}
    model, _ = fine_tuned(WAYS["plain"], seed)  # the stored run of `way_cell`
    after = {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(with_statistics_of({"before": before, "after": after}, weights, statistics))
    return scores(model, seed)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of its weights and statistics as they are now."""
    return {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}


def head_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The new head's part of a state."""
    return {name: tensor for name, tensor in state.items() if name.startswith("head.")}


def with_statistics_of(states: dict[str, dict[str, torch.Tensor]], weights: str, statistics: str) -> dict:
    """Weights of one state, batch norm's running statistics of another, and the head of ``after``."""
    after = states["after"]
    return {
        name: (after if name.startswith("head.") else states[statistics if ".running_" in name else weights])[name]
        for name in after
    }


# ---- what a way is worth ---------------------------------------------------------------------------------------------


def kept_on_demand(points: pd.DataFrame, demands: Sequence[float] = DEMANDS) -> float:
    """Share of the source kept, in %, averaged over demands on the target: the area under a way's trade-off.

    For each demand the lowest rate is taken that reaches it on the target's *validation* samples, and what is kept there
    (at most 100) counts; nothing if no rate reaches it.

    Parameters
    ----------
    points : pandas.DataFrame
        One way, one seed: ``rate``, ``validation_accuracy``, ``kept``, a row for each rate.
    demands : sequence of float
        Accuracies, in %.
    """
    points = points.sort_values("rate")
    found = []
    for demand in demands:
        reached = points[points["validation_accuracy"] >= demand]
        found.append(min(100.0, reached["kept"].iloc[0]) if len(reached) else 0.0)
    return float(np.mean(found))


# ---- layer norm instead of batch norm --------------------------------------------------------------------------------

NORMS = ("batch norm", "batch norm, statistics frozen", "layer norm")
LETTERS_HELD_OUT = 5  # prints of each letter
LETTERS_RECIPE = Recipe(epochs=12, lr=3e-3, batch_size=32)


@functools.cache
def letters(part: Literal["train", "test"]) -> Samples:
    """Another source: Latin letters printed dark on light, 28 x 28. The last `LETTERS_HELD_OUT` prints of each test."""
    glyphs = load_meta_task("glyphs").splits["train"]
    latin = np.flatnonzero(glyphs.extra["script"] == "Latin")
    number = glyphs.labels[latin].numpy()
    place = np.arange(len(latin)) - np.searchsorted(number, number)  # among the prints of its letter
    held_out = place >= np.bincount(number)[number] - LETTERS_HELD_OUT
    samples = glyphs.take(latin[held_out == (part == "test")], f"letters/{part}")
    names = sorted(set(samples.labels.tolist()))
    return dataclasses.replace(
        samples,
        inputs=255 - samples.inputs,
        labels=torch.tensor([names.index(label) for label in samples.labels.tolist()]),
        classes=tuple(samples.classes[label] for label in names),
    )


def small_backbone(norm: str, seed: int) -> Backbone:
    """The small network for digits; its batch norms replaced by layer norms (Ba et al. 2016), if asked for.

    A layer norm here takes mean and variance of all channels and places of one image: ``nn.GroupNorm(1, channels)``.
    """
    backbone = load_backbone("digit_cnn", pretrained=False, seed=seed)
    if norm == "layer norm":
        for stage in backbone.stages.values():
            for name, layer in stage.named_children():
                if isinstance(layer, nn.BatchNorm2d):
                    setattr(stage, name, nn.GroupNorm(1, layer.num_features))
    return backbone


def twin(norm: str, rate: float, seed: int) -> dict[str, float]:
    """A small network learns letters, then digits: `scores` of the digits, ``source_before``, and what is kept."""
    backbone = small_backbone(norm, seed)
    source = Classifier(backbone, len(letters("train").classes), seed=seed)
    fit(source, letters("train"), None, LETTERS_RECIPE, seed=seed, name=f"letters, {norm.split(',')[0]}")
    old = Retention(letters("test"), source.head)
    before = old.accuracy(source)
    model = Classifier(backbone, 10, seed=seed)
    task = load_task("mnist5k", seed=seed)
    how = "frozen" if norm.endswith("frozen") else "train"
    recipe = dataclasses.replace(BASE, lr=rate, batch_norm=how)
    fit(model, task.few_labels(LABELS, seed).samples("train", 28), None, recipe, seed=seed, name=norm)
    left = old.accuracy(model)
    found = {
        "validation_accuracy": evaluate(model, task.samples("validation", 28))["accuracy"],
        "accuracy": evaluate(model, task.samples("test", 28))["accuracy"],
        "source_before": before,
        "source_accuracy": left,
        "kept": 100 * left / before,
    }
    return {name: round(value, 3) for name, value in found.items()}


SEEDS = seeds(3)
STUDIES = (
    Study(
        "forgetting_ways",
        "ImageNet's network learns digits in nine ways: what it learns, and what is left of ImageNet step by step",
        {"way": tuple(WAYS), "seed": SEEDS},
        way_cell,
        cited={},
    ),
    Study(
        "forgetting_average",
        "Weights between before and after fine-tuning: digits learned, ImageNet kept",
        {"way": ("frozen statistics",), "share": (0.0, 0.3, 0.6, 0.7, 0.8, 0.9, 1.0), "seed": SEEDS},
        average_cell,
        cited={},
    ),
    Study(
        "forgetting_statistics",
        "Plain fine-tuning: is it the weights that forget, or batch norm's statistics?",
        {"weights": ("after", "before"), "statistics": ("before", "after"), "seed": SEEDS},
        statistics_cell,
        cited={},
    ),
    Study(
        "forgetting_grid",
        "The stability-plasticity map: freeze depth x rate x mitigation",
        {"depth": DEPTHS, "rate": RATES, "mitigation": MITIGATIONS, "seed": SEEDS[:1]},
        grid_cell,
        cited={},
    ),
)
