"""Few samples: episodes of glyphs, cloth with 1 to 20 images a class, sentences with 8. Chapter 9 reads these results."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from tl_helpers import features, fewshot
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.data import MetaTask, Samples, load_meta_task, load_task
from tl_helpers.fewshot import EpisodeSampler
from tl_helpers.heads import HEADS
from tl_helpers.models import Backbone, Classifier, load_backbone
from tl_helpers.training import Recipe, evaluate, fit

QUERIES = 10
EPISODES = 600
"""Episodes of one cell."""

TRAINING_EPISODES = 600
"""Episodes that a network is trained with, 20-way 1-shot with 5 queries."""

BACKBONES = ("pixels", "ImageNet", "classifier", "matching", "prototypical")
"""Where features of glyphs come from; the last three are one small network, trained in three ways on the same scripts."""

SHOTS = (1, 5, 10)
CLOTH_SHOTS = (1, 2, 5, 10, 20)
CLOTH = 128
"""Pixels of the cloth."""

FINE_TUNED = "fine-tuning"


@functools.lru_cache(maxsize=1)
def glyphs() -> MetaTask:
    """The glyphs, with the classes of meta-training also turned by quarters: four times as many."""
    task = load_meta_task("glyphs")
    splits = {**task.splits, "train": fewshot.with_turned_classes(task.splits["train"])}
    return dataclasses.replace(task, splits=splits)


def trained(kind: str, seed: int) -> Backbone:
    """The small network, trained on the scripts of meta-training: by episodes, or as a plain classifier of all classes.

    Parameters
    ----------
    kind : {"classifier", "prototypical", "matching"}
    seed : int
        Of its weights and of the order of episodes or batches.
    """
    task = glyphs()
    backbone = load_backbone("conv4", pretrained=False, seed=seed)
    if kind == "classifier":
        train = task.splits["train"]
        recipe = Recipe(epochs=2, lr=3e-3, batch_size=64)
        fit(Classifier(backbone, len(train.classes), seed=seed), train, None, recipe, seed=seed, name=kind)
        return backbone.eval()
    fewshot.train_episodic(
        backbone, task.splits["train"], task.splits["validation"],
        kind=kind, ways=20, shots=1, queries=5, episodes=TRAINING_EPISODES, seed=seed,
    )  # fmt: skip
    return backbone.eval()


@functools.lru_cache(maxsize=4)
def glyph_features(kind: str, seed: int, split: str) -> np.ndarray:
    """Features of all glyphs of a split: float32, shape (N, D)."""
    samples = glyphs().splits[split]
    if kind == "pixels":
        return samples.inputs.flatten(1).numpy().astype(np.float32) / 255
    if kind == "ImageNet":
        return features.extract(load_backbone("efficientnet_lite0"), _enlarged(samples))
    return features.extract(trained(kind, seed), samples)


def glyph_cell(backbone: str, head: str, ways: int, shots: int, seed: int) -> dict[str, float]:
    """Episodes of the test scripts, with one head on frozen features.

    Parameters
    ----------
    backbone : str
        One of `BACKBONES`.
    head : str
        A name in `tl_helpers.heads.HEADS`.
    ways, shots, seed : int
        The seed is that of the network and of the episodes.

    Returns
    -------
    dict of str to float
        ``accuracy`` (%, mean over 600 episodes) and ``half_width`` of its 95 % interval, in points.
    """
    samples = glyphs().splits["test"]
    sampler = EpisodeSampler(samples.labels, ways=ways, shots=shots, queries=QUERIES, seed=seed)
    found = fewshot.score_episodes(HEADS[head], glyph_features(backbone, seed, "test"), sampler, count=EPISODES)
    return {"accuracy": round(found.accuracy, 3), "half_width": round(found.half_width, 3)}


def glyph_fine_tuning_cell(shots: int, seed: int) -> dict[str, float]:
    """5-way episodes of the test scripts, with the plain classifier's network fine-tuned anew in each.

    200 episodes a cell, which makes 600 over the three seeds.
    """
    samples, backbone = glyphs().splits["test"], trained("classifier", seed)
    sampler = EpisodeSampler(samples.labels, ways=5, shots=shots, queries=QUERIES, seed=seed)
    found = fewshot.score_with(
        lambda episode: fewshot.fine_tuned(backbone, samples, episode), sampler, count=EPISODES // 3
    )
    return {"accuracy": round(found.accuracy, 3), "half_width": round(found.half_width, 3)}


@functools.lru_cache(maxsize=2)
def cloth(seed: int) -> dict[str, Samples]:
    """The train and the test split of the cloth."""
    task = load_task("textile", seed=seed)
    return {split: task.samples(split, CLOTH) for split in ("train", "test")}


def cloth_cell(method: str, shots: int, seed: int) -> dict[str, float]:
    """Cloth with k images of each of the three classes: a head on frozen ImageNet features, or fine-tuning.

    Parameters
    ----------
    method : str
        A name in `tl_helpers.heads.HEADS`, or ``fine-tuning``: the last three stages of EfficientNet-Lite0 and a
        linear head.
    shots, seed : int
        The seed is that of the split, and of which images are drawn.

    Returns
    -------
    dict of str to float
        ``accuracy``: balanced accuracy on the test split, in %.
    """
    splits, backbone = cloth(seed), load_backbone("efficientnet_lite0")
    support = splits["train"].take(drawn(splits["train"].labels.numpy(), shots, seed))
    if method == FINE_TUNED:
        model = Classifier(backbone, len(support.classes), seed=seed)
        recipe = Recipe(
            epochs=15, lr=1e-3, batch_size=min(15, len(support)), freeze_depth=7, batch_norm="frozen", layer_decay=0.7
        )
        fit(model, support, None, recipe, seed=seed, name=f"{shots} shots")
        return {"accuracy": round(evaluate(model, splits["test"])["balanced_accuracy"], 3)}
    known, asked = (torch.from_numpy(features.extract(backbone, part)).double() for part in (support, splits["test"]))
    answers = HEADS[method](known, support.labels, asked).argmax(dim=1)
    return {"accuracy": round(100 * float(balanced_accuracy_score(splits["test"].labels, answers)), 3)}


PAIRS = 10
"""SetFit's pairs of each kind for each sentence; Tunstall et al. take 20, which takes twice as long."""

DOMAINS = ("tweets", "film", "product", "editorial")
ASKED = 400
"""Sentences of the test split that a cell is asked."""


@functools.lru_cache(maxsize=4)
def sentences(domain: str, split: str, seed: int) -> Samples:
    """A split of one of the four sentiment domains."""
    return load_task(domain, seed=seed).samples(split)


def sentence_cell(domain: str, method: str, shots: int, seed: int) -> dict[str, float]:
    """Sentiment with k sentences of each class: a linear probe on the encoder as it is, or after SetFit.

    Parameters
    ----------
    domain : str
        One of `DOMAINS`.
    method : {"linear probe", "SetFit"}
    shots, seed : int
        The seed is that of the split, of which sentences are drawn, and of the pairs.

    Returns
    -------
    dict of str to float
        ``accuracy``: balanced accuracy on sentences of the test split, in %.
    """
    train, test = (sentences(domain, split, seed) for split in ("train", "test"))
    chosen = drawn(train.labels.numpy(), shots, seed)
    asked = np.random.default_rng(seed).permutation(len(test))[:ASKED]
    encoder, texts, labels = fewshot.sentence_encoder(), train.texts, train.labels.numpy()[chosen]
    known, questions = [texts[row] for row in chosen], [test.texts[row] for row in asked]
    if method == "SetFit":
        fewshot.setfit(encoder, known, labels, iterations=PAIRS, seed=seed)
    x, z = (encoder.encode(part, show_progress_bar=False) for part in (known, questions))
    answers = LogisticRegression(max_iter=500).fit(x, labels).predict(z)
    return {"accuracy": round(100 * float(balanced_accuracy_score(test.labels.numpy()[asked], answers)), 3)}


def drawn(labels: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Positions of k samples of each class, nested over k: int64, shape (n * k,).

    Raises
    ------
    ValueError
        For a class with fewer samples.
    """
    parts = []
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        if len(rows) < shots:
            raise ValueError(f"{shots} shots, but class {name} has {len(rows)} samples. Take fewer shots.")
        parts.append(np.random.default_rng([seed, int(name)]).permutation(rows)[:shots])
    return np.concatenate(parts)


def _enlarged(samples: Samples) -> Samples:
    """28 pixels repeated to 84: small prints for a network that saw photographs."""
    pixels = samples.inputs.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    return Samples(f"{samples.name} x 3", pixels, samples.labels, samples.classes, samples.rows, table=samples.table)


CLOTH_METHODS: tuple[str, ...] = (
    "nearest centroid", "cosine centroid", "ridge", "logistic regression", "cosine classifier", FINE_TUNED,
)  # fmt: skip
GLYPH_HEADS: tuple[str, ...] = (
    "nearest centroid", "soft nearest neighbour", "ridge", "refined centroid",
)  # fmt: skip

STUDIES = (
    Study(
        "glyph_episodes",
        "Characters of unseen scripts: backbones x heads x ways x shots, 600 episodes each",
        {"backbone": BACKBONES, "head": GLYPH_HEADS, "ways": (5, 20), "shots": SHOTS, "seed": seeds(3)},
        glyph_cell,
        cited={
            "backbone": ("pixels", "ImageNet", "classifier", "prototypical"),
            "head": ("nearest centroid", "ridge", "refined centroid"),
        },
    ),
    Study(
        "glyph_fine_tuning",
        "Characters of unseen scripts, 5-way: a plain classifier's network, fine-tuned in each of 3 x 200 episodes",
        {"shots": SHOTS, "seed": seeds(3)},
        glyph_fine_tuning_cell,
        cited={},
    ),
    Study(
        "cloth_few_shot",
        "Cloth with 1 to 20 images a class: heads on frozen ImageNet features against fine-tuning",
        {"method": CLOTH_METHODS, "shots": CLOTH_SHOTS, "seed": seeds(6)},
        cloth_cell,
        cited={"method": ("logistic regression", FINE_TUNED), "shots": (1, 5, 20)},
    ),
    Study(
        "sentence_few_shot",
        "Sentiment with 8 sentences a class in four domains: a linear probe against SetFit",
        {"domain": DOMAINS, "method": ("linear probe", "SetFit"), "shots": (8,), "seed": seeds(10)},
        sentence_cell,
        cited={},
    ),
)
