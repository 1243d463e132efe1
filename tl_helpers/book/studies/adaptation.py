"""Domain adaptation: pairs of domains x methods x strengths, with what can be known without labels of the target.

Chapters 7 and 8 read these results. Every cell reports the label-free scores that a choice may use, and beside them, under
names that begin with ``oracle_``, what labels of the target would have said.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from tl_helpers import features
from tl_helpers.adaptation import (
    CDAN,
    DAN,
    DANN,
    Alignment,
    DeepCORAL,
    SelfTraining,
    adapt_batch_norm,
    importance_weighted,
    importance_weights,
    mutual_information,
    negative_entropy,
    reverse_validation,
)
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies import with_adapter
from tl_helpers.data import DomainPair, Samples, Unlabelled, load_task
from tl_helpers.data.splits import nested_subset
from tl_helpers.ledger import Run
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, embed, evaluate, fit, predict
from tl_helpers.training.scoring import softmax

DIGITS, CELLS, EMOJI = 28, 128, 96
"""Pixels of the images of each kind."""

AFTER = {CELLS: "stage5", EMOJI: None}
"""The stage whose frozen features an adapter learns on.

Stage 5 is a tenth as long as the last one; on solar cells chapter 3 could not tell the two apart.
"""

FROZEN = {DIGITS: 0, CELLS: 7, EMOJI: 10}
"""Stages below the freeze line: all but the adapter."""

EPOCHS = {"mnist5k": 6, "optdigits": 12, "fonts": 7, "mono": 12, "poly": 10, "twemoji": 10, "openmoji": 10}
"""By source: smaller sources are gone through more often."""

BACK = 3
"""Epochs of the way back in reverse validation."""

METHODS: dict[str, Callable[[Unlabelled, float, int, int], Alignment]] = {
    "CORAL": lambda target, strength, dim, seed: DeepCORAL(target, 100 * strength),
    "MMD": lambda target, strength, dim, seed: DAN(target, strength),
    "DANN": lambda target, strength, dim, seed: DANN(target, strength, dim=dim, seed=seed),
    "CDAN": lambda target, strength, dim, seed: CDAN(target, strength, dim=dim, seed=seed),
    "self-training": lambda target, strength, dim, seed: SelfTraining(target, strength),
}
"""The methods that train. Strength 1 is the usual one of each; CORAL's loss is small by its definition, so 100 there."""

WITHOUT = ("source only", "AdaBN", "target-trained")
"""What stands beside them: no adaptation, statistics only, and a model that was given the target's labels."""


@functools.lru_cache(maxsize=4)
def pair_of(source: str, target: str, seed: int) -> DomainPair:
    """Two domains by name.

    ``mnist5k``, ``optdigits`` and ``fonts`` (digits, framed alike), ``mono`` and ``poly`` (solar cells), ``twemoji`` and
    ``openmoji``.
    """
    if {source, target} <= {"mono", "poly"}:
        cells = load_task("elpv", seed=seed)
        return DomainPair(cells.only(domain=source), cells.only(domain=target), CELLS)
    if {source, target} <= {"twemoji", "openmoji"}:
        return DomainPair(load_task(source, seed=seed), load_task(target, seed=seed), EMOJI)

    def digits(name: str):
        task = load_task(name, seed=seed)
        return task if name == "optdigits" else task.cropped(4)

    return DomainPair(digits(source), digits(target), DIGITS)


def new_model(pair: DomainPair, seed: int) -> Classifier:
    """`digit_lenet` from scratch for digits; elsewhere EfficientNet-Lite0 with its ImageNet weights and an adapter."""
    if pair.size == DIGITS:
        backbone = load_backbone("digit_lenet", pretrained=False, seed=seed)
    else:
        backbone = with_adapter(load_backbone("efficientnet_lite0"), after=AFTER[pair.size], seed=seed)
    return Classifier(backbone, len(pair.classes), seed=seed)


def recipe_of(pair: DomainPair, source: str) -> Recipe:
    """Digits: all layers, batches of 64. Elsewhere: the adapter and the head on frozen features, batches of 32."""
    batch_size = 64 if pair.size == DIGITS else 32
    return Recipe(epochs=EPOCHS[source], lr=1e-3, batch_size=batch_size, freeze_depth=FROZEN[pair.size])


def adapted(
    source: str, target: str, method: str, strength: float, seed: int, *, fresh: bool | None = None
) -> tuple[Classifier, Run]:
    """Train one method on a pair of domains; the model for the target, and the run with its history.

    While a method trains, batch norm sees each domain by its own statistics; so the model that is handed out has the
    target's (AdaBN on top). Only ``source only`` keeps the source's.

    Parameters
    ----------
    source, target : str
        See `pair_of`.
    method : str
        One of `METHODS` or `WITHOUT`. ``target-trained`` is the oracle: it gets the target's labels.
    strength : float
        Relative to the method's usual one; those in `WITHOUT` have none and ignore it.
    seed : int
        Of the splits, the weights and the order of samples.
    fresh : bool, optional
        As in `tl_helpers.training.fit`.

    Raises
    ------
    ValueError
        For an unknown method.
    """
    if method not in METHODS and method not in WITHOUT:
        raise ValueError(f"Unknown method {method!r}: use {', '.join([*METHODS, *WITHOUT])}.")
    pair = pair_of(source, target, seed)
    model = new_model(pair, seed)
    if method == "target-trained":
        run = fit(
            model, pair.oracle_target("train"), None, recipe_of(pair, target), seed=seed, name=method, fresh=fresh
        )
    else:
        recipe = recipe_of(pair, source)
        run = train_method(method, strength, seed, fresh)(model, pair.source("train"), pair.target("train"), recipe)
    return with_statistics(model, method, pair.target("train")), run


def with_statistics(model: Classifier, method: str, samples: Samples | Unlabelled) -> Classifier:
    """The model with the batch-norm statistics of a domain, for the methods that keep the domains apart."""
    return model if method in ("source only", "target-trained") else adapt_batch_norm(model, samples)


def adaptation_cell(source_target: str, method: str, strength: float, seed: int) -> dict[str, float]:
    """One cell: train, then every score that needs no label of the target, and the oracle's beside them.

    Parameters
    ----------
    source_target : str
        Such as ``mnist5k -> optdigits``.
    method, strength, seed
        See `adapted`.

    Returns
    -------
    dict of str to float
        ``source_validation`` (accuracy), ``negative_entropy`` and ``mutual_information`` (nats, of the answers on the
        target's training images), ``importance_weighted`` and ``reverse_validation`` (accuracies); ``source_accuracy``
        (source test split: retention); ``oracle_accuracy`` and ``oracle_balanced_accuracy`` (target test split); what the
        alignment saw in the last epoch; ``train_seconds``. Percent where nothing else is said.
    """
    source, target = source_target.split(" -> ")
    pair = pair_of(source, target, seed)
    model, run = adapted(source, target, method, strength, seed, fresh=True)
    test = evaluate(model, pair.oracle_target("test"))
    at_home = with_statistics(model, method, pair.source("train"))
    found = {
        **label_free_scores(model, at_home, pair),
        "reverse_validation": reverse_validation(model, pair, _way_back(method, strength, seed, pair, target)),
        "source_accuracy": evaluate(at_home, pair.source("test"))["accuracy"],
        "oracle_accuracy": test["accuracy"],
        "oracle_balanced_accuracy": test["balanced_accuracy"],
        **{fact: run.history[-1][fact] for fact in ("domain_accuracy", "believed") if fact in run.history[-1]},
        "train_seconds": run.seconds,
    }
    return {name: round(value, 4) for name, value in found.items()}


def label_free_scores(model: Classifier, at_home: Classifier, pair: DomainPair) -> dict[str, float]:
    """All scores of `tl_helpers.adaptation` that need no further training; higher is better in each.

    Parameters
    ----------
    model, at_home : Classifier
        With the target's and with the source's statistics.
    pair : DomainPair
    """
    held_out, target = pair.source("validation"), pair.target("train")
    answers = softmax(predict(model, target))
    right = predict(at_home, held_out).argmax(1) == held_out.labels.numpy()
    weights = importance_weights(embed(at_home, held_out), embed(model, target))
    return {
        "source_validation": 100 * float(right.mean()),
        "negative_entropy": negative_entropy(answers),
        "mutual_information": mutual_information(answers),
        "importance_weighted": importance_weighted(right, weights),
    }


def train_method(method: str, strength: float, seed: int, fresh: bool | None) -> Callable[..., Run]:
    """How a method trains: a function of a model, labelled samples, unlabelled ones, and a recipe."""

    def train(model: Classifier, labelled: Samples, unlabelled: Unlabelled, recipe: Recipe) -> Run:
        make = METHODS.get(method)
        alignment = make(unlabelled, strength, model.backbone.dim, seed) if make else None
        return fit(model, labelled, None, recipe, method=alignment, seed=seed, name=method, fresh=fresh)

    return train


def _way_back(
    method: str, strength: float, seed: int, pair: DomainPair, target: str
) -> Callable[[Classifier, Samples, Unlabelled], None]:
    """The method with the roles of the domains exchanged, for a few epochs."""
    recipe = dataclasses.replace(recipe_of(pair, target), epochs=BACK)

    def train(model: Classifier, labelled: Samples, unlabelled: Unlabelled) -> None:
        train_method(method, strength, seed, True)(model, labelled, unlabelled, recipe)
        model.load_state_dict(with_statistics(model, method, unlabelled).state_dict())

    return train


def few_target_labels(source: str, target: str, labels: int, seed: int, *, alone: bool = False) -> dict[str, float]:
    """Solar cells: a linear head on the labelled source and a few labelled target cells, each domain standardised.

    Both domains weigh the same in training; without labels of the target the source is alone. The target's statistics are
    those of its whole training split, which needs no label.

    Parameters
    ----------
    source, target : {"mono", "poly"}
    labels : int
        Labelled training cells of the target, stratified and nested over the number; 0 for none.
    seed : int
        Of the split and the labelled cells.
    alone : bool
        Leave the source out and learn from the target's labels only, which then weigh as much as both domains did.

    Returns
    -------
    dict of str to float
        ``balanced_accuracy`` on the target's test split, in %.

    Raises
    ------
    ValueError
        For no labels alone.
    """
    if alone and not labels:
        raise ValueError("labels=0 alone: there is nothing to learn from.")
    home, abroad = (_standardised_cells(domain, seed) for domain in (source, target))
    inputs, answers = home["train"]
    weights = np.ones(len(answers))
    if labels:
        few = np.sort(nested_subset(abroad["train"][1], labels, seed))
        inputs = np.concatenate([inputs, abroad["train"][0][few]])
        weights = np.concatenate([weights, np.full(labels, len(answers) / labels)])
        answers = np.concatenate([answers, abroad["train"][1][few]])
    if alone:
        inputs, answers = inputs[-labels:], answers[-labels:]
        weights = 2 * weights[-labels:]
    head = LogisticRegression(C=0.01, max_iter=2000).fit(inputs, answers, sample_weight=weights)
    asked, truth = abroad["test"]
    return {"balanced_accuracy": 100 * float(balanced_accuracy_score(truth, head.predict(asked)))}


@functools.lru_cache(maxsize=32)
def _standardised_cells(domain: str, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features and labels of one kind of solar cells by split, standardised by its training split."""
    cells = load_task("elpv", seed=seed)
    stages = [AFTER[CELLS], "head_conv"]
    x = features.extract_stages(load_backbone("efficientnet_lite0"), cells.all_samples(CELLS), stages=stages)[stages[0]]
    task = cells.only(domain=domain)
    rows = {split: task.rows(split) for split in ("train", "test")}
    mean, deviation = x[rows["train"]].mean(0), x[rows["train"]].std(0) + 1e-6
    return {split: ((x[some].astype(float) - mean) / deviation, task.labels(split)) for split, some in rows.items()}


DIGIT_PAIRS = ("mnist5k -> optdigits", "optdigits -> mnist5k")
CELL_PAIRS = ("mono -> poly", "poly -> mono")
FURTHER = ("fonts -> mnist5k", "twemoji -> openmoji", "openmoji -> twemoji")
STRENGTHS = (0.3, 1.0, 3.0)
SEEDS, MANY_SEEDS = seeds(5), seeds(10)

STUDIES = (
    Study(
        "digits_baselines",
        "Digits, both ways: without adaptation, statistics only, and with the target's labels",
        {"source_target": DIGIT_PAIRS, "method": WITHOUT, "strength": (0.0,), "seed": SEEDS},
        adaptation_cell,
        cited={"method": ("source only", "AdaBN")},
    ),
    Study(
        "digits_adaptation",
        "Digits, both ways: adaptation methods x strengths, with label-free scores and the oracle",
        {"source_target": DIGIT_PAIRS, "method": tuple(METHODS), "strength": STRENGTHS, "seed": SEEDS},
        adaptation_cell,
        cited={},
    ),
    Study(
        "cells_baselines",
        "Solar cells, mono- and polycrystalline, both ways: the same baselines",
        {"source_target": CELL_PAIRS, "method": WITHOUT, "strength": (0.0,), "seed": MANY_SEEDS},
        adaptation_cell,
        cited={},
    ),
    Study(
        "cells_adaptation",
        "Solar cells, both ways: adaptation methods x strengths",
        {"source_target": CELL_PAIRS, "method": tuple(METHODS), "strength": STRENGTHS, "seed": MANY_SEEDS},
        adaptation_cell,
        cited={},
    ),
    Study(
        "further_adaptation",
        "Printed to written digits, and two artists' emoji both ways: the same methods at their usual strength",
        {"source_target": FURTHER, "method": (*WITHOUT, *METHODS), "strength": (1.0,), "seed": SEEDS[:2]},
        adaptation_cell,
    ),
)
