"""When transfer hurts: every task as a source for every other, and alignment under other class proportions (chapter 8)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import datasets
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tl_helpers import freezing
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies import with_adapter
from tl_helpers.book.studies.adaptation import METHODS, train_method, with_statistics
from tl_helpers.data import DomainPair, Samples, Task, load_task
from tl_helpers.models import Backbone, Classifier, load_backbone
from tl_helpers.training import Recipe, embed, evaluate, fit, predict

NOTHING = "nothing"
"""The source of a network that starts from random weights."""

IMAGES = ("mono", "poly", "mnist5k", "optdigits", "fonts", "textile", "twemoji", "openmoji")
TEXTS = ("tweets", "film", "product", "editorial")
SIZE = 32
"""Pixels of all images, in grey, so that one small network fits every task."""

LABELS = (30, 100, 500)
SEEDS = seeds(4)
SOURCE_STEPS, SOURCE_BATCH = 300, 64
"""Of the training on the source, whatever its size."""

TARGET = {30: Recipe(epochs=40, batch_size=16), 100: Recipe(epochs=20, batch_size=16), 500: Recipe(epochs=6)}
"""By number of labels: from 80 to 140 steps. The same recipe with and without a source."""

SENTENCES = 1000
"""Sentences of a split, at most."""

FROZEN_TEXT = 8
"""Stages of the sentence encoder below the adapter: embeddings, six layers, pooling."""


@functools.lru_cache(maxsize=32)
def task_of(name: str, seed: int) -> Task:
    """Any of `IMAGES` and `TEXTS`; ``mono`` and ``poly`` are the two kinds of solar cells."""
    if name in ("mono", "poly"):
        return load_task("elpv", seed=seed).only(domain=name)
    return load_task(name, seed=seed)


@functools.lru_cache(maxsize=64)
def samples_of(name: str, part: str, seed: int, labels: int | None = None) -> Samples:
    """A split as the study sees it: images small and grey, at most `SENTENCES` sentences, with all labels or a few."""
    task = task_of(name, seed)
    task = task if labels is None else task.few_labels(labels, seed)
    if task.modality == "text":
        samples = task.samples(part)
        return samples.take(np.random.default_rng(seed).permutation(len(samples))[:SENTENCES])
    samples = task.samples(part, SIZE)
    grey = samples.inputs.float().mean(dim=1, keepdim=True).round().byte()
    return dataclasses.replace(samples, inputs=grey, table=f"{samples.table}-grey")


def start_of(name: str, modality: str, seed: int) -> Backbone:
    """The backbone that the target starts from: random weights (an adapter's, for text), trained on the source if any."""
    if modality == "image":
        backbone = load_backbone("digit_lenet", pretrained=False, seed=seed)
    else:
        backbone = with_adapter(load_backbone("minilm"), seed=seed)
    if name == NOTHING:
        return backbone
    train = samples_of(name, "train", seed)
    model = Classifier(backbone, len(train.classes), seed=seed)
    epochs = max(1, round(SOURCE_STEPS * SOURCE_BATCH / len(train)))
    frozen = FROZEN_TEXT if modality == "text" else 0
    fit(model, train, None, Recipe(epochs=epochs, batch_size=SOURCE_BATCH, freeze_depth=frozen), seed=seed, name=name)
    return model.backbone


def transfer_cell(source: str, target: str, labels: int, seed: int) -> dict[str, float]:
    """One cell: from a source to a target with few labels, fine-tuned and as frozen features.

    Parameters
    ----------
    source : str
        One of `IMAGES` or `TEXTS`, of the target's modality, or `NOTHING`.
    target : str
    labels : int
        Labelled training samples of the target.
    seed : int
        Of the splits, the subset, the weights and the order of samples.

    Returns
    -------
    dict of str to float
        ``fine_tuned_accuracy`` and ``frozen_accuracy``: balanced, on the target's test split, in %. Frozen means a logistic
        regression on the source network's features, with random ones for `NOTHING`.
    """
    modality = task_of(target, seed).modality
    few, test = samples_of(target, "train", seed, labels), samples_of(target, "test", seed)
    model = Classifier(start_of(source, modality, seed), len(few.classes), seed=seed)
    recipe = dataclasses.replace(TARGET[labels], freeze_depth=FROZEN_TEXT if modality == "text" else 0)
    freezing.freeze(model, recipe.freeze_depth)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    head.fit(embed(model, few), few.labels.numpy())
    frozen = balanced_accuracy_score(test.labels.numpy(), head.predict(embed(model, test)))
    fit(model, few, None, recipe, seed=seed, fresh=True)
    return {
        "fine_tuned_accuracy": round(evaluate(model, test)["balanced_accuracy"], 3),
        "frozen_accuracy": round(100 * float(frozen), 3),
    }


SHARES = (0.5, 0.7, 0.9)
SKEWED_PAIR = "film", "tweets"
SKEWED_METHODS = ("source only", "AdaBN", *METHODS)


def with_proportions(task: Task, shares: Sequence[float], *, seed: int = 0) -> Task:
    """As many samples of each split as can be had with the classes in these proportions: what label shift does.

    The shares are one for each class, above 0, with sum 1; `seed` is of which samples are left out.
    """
    wanted = np.asarray(shares, dtype=float)
    if wanted.shape != (len(task.classes),) or not (wanted > 0).all() or not np.isclose(wanted.sum(), 1):
        raise ValueError(f"shares={tuple(shares)}: give {len(task.classes)} numbers above 0 with sum 1.")
    splits = {}
    for name, table in task.splits.items():
        labels = np.asarray(table["label"])
        members = [np.flatnonzero(labels == label) for label in range(len(task.classes))]
        total = min(len(rows) / share for rows, share in zip(members, wanted, strict=True))
        random = np.random.default_rng(seed)
        kept = [random.permutation(m)[: round(total * share)] for m, share in zip(members, wanted, strict=True)]
        splits[name] = table.select(np.sort(np.concatenate(kept)))
    words = "-".join(f"{100 * share:.0f}" for share in wanted)
    return dataclasses.replace(task, splits=datasets.DatasetDict(splits), name=f"{task.name}-{words}")


@functools.lru_cache(maxsize=4)
def skewed_pair(share: float, seed: int) -> DomainPair:
    """Film reviews with balanced classes, and tweets of which a share is positive."""
    source, target = SKEWED_PAIR
    home = with_proportions(task_of(source, seed), (0.5, 0.5), seed=seed)
    return DomainPair(home, with_proportions(task_of(target, seed), (1 - share, share), seed=seed))


def proportions_cell(method: str, share: float, seed: int) -> dict[str, float]:
    """Adapt the sentence encoder's adapter from film reviews to tweets of which a share is positive.

    The source's classes are balanced, so a share of one half is no label shift.

    Returns
    -------
    dict of str to float
        ``oracle_accuracy`` and ``oracle_balanced_accuracy`` on target sentences in the same proportions, in %;
        ``called_positive``, a share in %.
    """
    pair = skewed_pair(share, seed)
    model = Classifier(with_adapter(load_backbone("minilm"), seed=seed), 2, seed=seed)
    recipe = Recipe(epochs=6, batch_size=32, freeze_depth=FROZEN_TEXT)
    train, target = pair.source("train"), pair.target("train")
    train = train.take(np.random.default_rng(seed).permutation(len(train))[:SENTENCES])
    train_method(method, 1.0, seed, True)(model, train, target, recipe)
    model = with_statistics(model, method, target)
    test = pair.oracle_target("test")
    found = evaluate(model, test)
    return {
        "oracle_accuracy": round(found["accuracy"], 3),
        "oracle_balanced_accuracy": round(found["balanced_accuracy"], 3),
        "called_positive": round(100 * float((predict(model, test).argmax(1) == 1).mean()), 3),
    }


STUDIES = (
    Study(
        "transfer_images",
        "Every image task as a source for every other, from 30 to 500 labels, against from scratch",
        {"source": (NOTHING, *IMAGES), "target": IMAGES, "labels": LABELS, "seed": SEEDS},
        transfer_cell,
        cited={"labels": (LABELS[0], LABELS[-1])},
    ),
    Study(
        "transfer_texts",
        "Every text domain as a source for every other, from 30 to 500 labels, against the target's labels alone",
        {"source": (NOTHING, *TEXTS), "target": TEXTS, "labels": LABELS, "seed": SEEDS[:3]},
        transfer_cell,
        cited={"labels": (LABELS[0], LABELS[-1])},
    ),
    Study(
        "proportions",
        "Sentiment, film reviews to tweets: alignment when the target's classes are in other proportions than the source's",
        {"method": SKEWED_METHODS, "share": SHARES, "seed": seeds(5)},
        proportions_cell,
        cited={"share": (SHARES[0], SHARES[-1])},
    ),
)
