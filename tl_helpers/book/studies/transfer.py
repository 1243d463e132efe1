"""When transfer hurts: every task as a source for every other, and alignment under other class proportions (chapter 8)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tl_helpers import features
from tl_helpers.adaptation import a_distance, estimate_proportions
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies import with_adapter
from tl_helpers.book.studies.adaptation import METHODS, WITHOUT, train_method, with_statistics
from tl_helpers.data import DomainPair, Samples, Task, load_meta_task, load_task
from tl_helpers.data.splits import nested_subset, split_rows
from tl_helpers.models import Backbone, Classifier, load_backbone
from tl_helpers.training import Recipe, embed, evaluate, fit, predict

NOTHING = "nothing"
"""The source of a network that starts from random weights."""

IMAGES = ("mono", "poly", "mnist5k", "optdigits", "fonts", "textile", "twemoji", "openmoji")
DIGITS = ("mnist5k", "optdigits", "fonts")
FAMILIES = (DIGITS, ("mono", "poly"), ("twemoji", "openmoji"))
"""Tasks that are relatives; all other pairs are strangers."""
SUSPECTS, SUSPECT_LABELS = ("twemoji", "openmoji"), 100
"""Sources whose frozen features seemed to hurt digits on seeds 0 to 3, and the number of labels of their trial."""
SUSPECT_SEEDS = seeds(16)[10:]
"""Six seeds that the suspicion did not see."""
FRESH = ("scripts", "kind", "artist", "parity")
"""Targets that no choice was made on: which script a glyph is of, which kind a solar cell is of, who drew an emoji, and
whether a digit of MNIST is odd."""
SIZE = 32
"""Pixels of all images, in grey, so that one small network fits every task."""

LABELS = (30, 100, 500)
SEEDS = seeds(4)
SOURCE_STEPS, SOURCE_BATCH = 300, 64
"""Of the training on the source, whatever its size."""

TARGET = {30: Recipe(epochs=40, batch_size=16), 100: Recipe(epochs=20, batch_size=16), 500: Recipe(epochs=6)}
"""By number of labels: from 80 to 140 steps. The same recipe with and without a source."""
HEAD_C = 0.1
"""Inverse strength of the penalty on the head of frozen features."""

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Values of C that `suspects_cell` chooses from, alike with a source and without."""

SENTENCES = 1000
"""Sentences of a split, at most."""

FROZEN_TEXT = 8
"""Stages of the sentence encoder below the adapter: embeddings, six layers, pooling."""


@functools.lru_cache(maxsize=32)
def task_of(name: str, seed: int) -> Task:
    """Any of `IMAGES`, or a packaged task of sentences; ``mono`` and ``poly`` are the two kinds of solar cells."""
    if name in ("mono", "poly"):
        return load_task("elpv", seed=seed).only(domain=name)
    return load_task(name, seed=seed)


@functools.lru_cache(maxsize=64)
def samples_of(name: str, part: str, seed: int, labels: int | None = None) -> Samples:
    """A split as the study sees it: images small and grey, at most `SENTENCES` sentences, with all labels or a few."""
    if name in FRESH:
        samples = _fresh(name, part, seed)
        return samples if labels is None else samples.take(np.sort(nested_subset(samples.labels.numpy(), labels, seed)))
    task = task_of(name, seed)
    task = task if labels is None else task.few_labels(labels, seed)
    if task.modality == "text":
        samples = task.samples(part)
        return samples.take(np.random.default_rng(seed).permutation(len(samples))[:SENTENCES])
    samples = task.samples(part, SIZE)
    grey = samples.inputs.float().mean(dim=1, keepdim=True).round().byte()
    return dataclasses.replace(samples, inputs=grey, table=f"{samples.table}-grey")


def _fresh(name: str, part: str, seed: int) -> Samples:
    """A split of one of `FRESH`. Where images are those of another task, so are the splits: no test image is trained on."""
    if name == "parity":
        digits = samples_of("mnist5k", part, seed)
        return dataclasses.replace(digits, name=f"parity/{part}", labels=digits.labels % 2, classes=("even", "odd"))
    if name in ("kind", "artist"):
        classes = ("mono", "poly") if name == "kind" else ("twemoji", "openmoji")
        both = [samples_of(one, part, seed) for one in classes]
        return Samples(
            name=f"{name}/{part}",
            inputs=torch.cat([one.inputs for one in both]),
            labels=torch.arange(2).repeat_interleave(torch.tensor([len(one) for one in both])),
            classes=classes,
            rows=np.arange(sum(map(len, both))),
            table=f"{name}-{part}-{seed}",
        )
    glyphs = load_meta_task("glyphs").splits["test"]
    scripts, script = np.unique(glyphs.extra["script"], return_inverse=True)
    rows = split_rows(script, glyphs.labels.numpy(), seed=seed)[part]
    inputs = F.interpolate(glyphs.inputs[rows].float(), (SIZE, SIZE), mode="bilinear", antialias=True)
    labels = torch.as_tensor(script[rows])
    return Samples(
        f"scripts/{part}", inputs.round().byte(), labels, tuple(scripts), rows, table=f"scripts-{part}-{seed}"
    )


def start_of(source: str, seed: int) -> Backbone:
    """The backbone that the target starts from: random weights, trained on the source if there is one."""
    backbone = load_backbone("digit_lenet", pretrained=False, seed=seed)
    if source == NOTHING:
        return backbone
    train = samples_of(source, "train", seed)
    model = Classifier(backbone, len(train.classes), seed=seed)
    epochs = max(1, round(SOURCE_STEPS * SOURCE_BATCH / len(train)))
    fit(model, train, None, Recipe(epochs=epochs, batch_size=SOURCE_BATCH), seed=seed, name=source)
    return model.backbone


def frozen_head(model: Classifier, few: Samples, c: float) -> Pipeline:
    """What is trained where the network is frozen: a logistic regression on its standardised features."""
    head = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))
    return head.fit(embed(model, few), few.labels.numpy())


def transfer_cell(source: str, target: str, labels: int, seed: int) -> dict[str, float]:
    """One cell: from a source to a target with few labels, by two algorithms: fine-tuned, and as frozen features.

    Parameters
    ----------
    source : str
        One of `IMAGES`, or `NOTHING`: random weights of the same network.
    target : str
        One of `IMAGES` or `FRESH`.
    labels : int
        Labelled training samples of the target.
    seed : int
        Of the splits, the subset, the weights and the order of samples.

    Returns
    -------
    dict of str to float
        ``fine_tuned_accuracy`` and ``frozen_accuracy``: balanced, on the target's test split, in %. Frozen means a logistic
        regression on the features of the source network, or of the random one.
    """
    few, test = samples_of(target, "train", seed, labels), samples_of(target, "test", seed)
    model = Classifier(start_of(source, seed), len(few.classes), seed=seed)
    head = frozen_head(model, few, HEAD_C)
    frozen = balanced_accuracy_score(test.labels.numpy(), head.predict(embed(model, test)))
    fit(model, few, None, TARGET[labels], seed=seed, fresh=True)
    return {
        "fine_tuned_accuracy": round(evaluate(model, test)["balanced_accuracy"], 3),
        "frozen_accuracy": round(100 * float(frozen), 3),
    }


def suspects_cell(source: str, target: str, seed: int) -> dict[str, float]:
    """Frozen features only, with `SUSPECT_LABELS` labels: C is chosen on the validation split, alike for every source.

    Returns
    -------
    dict of str to float
        ``frozen_accuracy``: balanced, on the target's test split, in %; ``c``, the choice.
    """
    parts = {part: samples_of(target, part, seed) for part in ("validation", "test")}
    few = samples_of(target, "train", seed, SUSPECT_LABELS)
    model = Classifier(start_of(source, seed), len(few.classes), seed=seed)
    x = {part: embed(model, samples) for part, samples in parts.items()}

    def score(c: float, part: str) -> float:
        answers = frozen_head(model, few, c).predict(x[part])
        return 100 * float(balanced_accuracy_score(parts[part].labels.numpy(), answers))

    c = max(PENALTIES, key=lambda c: score(c, "validation"))
    return {"frozen_accuracy": round(score(c, "test"), 3), "c": c}


SHARES = (0.5, 0.7, 0.9)
SKEWED_PAIR = "film", "tweets"
SKEWED_METHODS = (*WITHOUT, *METHODS)


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
def sentence_pair(source: str, target: str, share: float, seed: int) -> DomainPair:
    """Two tasks of sentences: half of the source's are positive, and this share of the target's."""
    home = with_proportions(task_of(source, seed), (0.5, 0.5), seed=seed)
    return DomainPair(home, with_proportions(task_of(target, seed), (1 - share, share), seed=seed))


def some_of(samples: Samples, seed: int) -> Samples:
    """At most `SENTENCES` of them, drawn at random."""
    return samples.take(np.random.default_rng(seed).permutation(len(samples))[:SENTENCES])


def adapted_sentences(pair: DomainPair, method: str, seed: int) -> Classifier:
    """An adapter on the frozen sentence encoder, for the target: methods as in `adaptation.adapted`, usual strength."""
    model = Classifier(with_adapter(load_backbone("minilm"), seed=seed), 2, seed=seed)
    recipe = Recipe(epochs=6, batch_size=32, freeze_depth=FROZEN_TEXT)
    target = pair.target("train")
    labelled = pair.oracle_target("train") if method == "target-trained" else pair.source("train")
    train_method(method, 1.0, seed, True)(model, some_of(labelled, seed), target, recipe)
    return with_statistics(model, method, target)


def bound_terms(model: Classifier, at_home: Classifier, pair: DomainPair, seed: int) -> dict[str, float]:
    """The right side of theorem 2 of Ben-David et al. (2010), estimated on test features of an adapted network.

    Parameters
    ----------
    model, at_home : Classifier
        With the target's and with the source's statistics.
    pair : DomainPair
    seed : int
        Of the training sentences that the joint head learns from.

    Returns
    -------
    dict of str to float
        In %: ``source_error`` of the network's answers; ``half_divergence``, half the proxy A-distance: how much
        more often a linear judge says "source" to the source than to the target; ``joint_error``, the sum of both domains'
        errors of one linear head that was trained on the labels of both, each domain weighing the same.
    """
    sides = at_home, model
    train = some_of(pair.source("train"), seed), some_of(pair.oracle_target("train"), seed)
    test = pair.source("test"), pair.oracle_target("test")
    x, z = ([embed(side, part) for side, part in zip(sides, parts, strict=True)] for parts in (train, test))
    weights = np.concatenate([np.full(len(part), SENTENCES / len(part)) for part in x])
    joint = LogisticRegression(max_iter=3000)
    joint.fit(np.concatenate(x), np.concatenate([part.labels.numpy() for part in train]), sample_weight=weights)
    errors = [np.mean(joint.predict(rows) != part.labels.numpy()) for rows, part in zip(z, test, strict=True)]
    return {
        "source_error": 100 - evaluate(at_home, test[0])["accuracy"],
        "half_divergence": 50 * a_distance(*z),
        "joint_error": 100 * float(sum(errors)),
    }


def proportions_cell(method: str, share: float, seed: int) -> dict[str, float]:
    """Adapt the sentence encoder's adapter from film reviews to tweets of which a share is positive.

    The source's classes are balanced, so a share of one half is no label shift.

    Returns
    -------
    dict of str to float
        ``oracle_accuracy`` and ``oracle_balanced_accuracy`` on target sentences in the same proportions, in %;
        ``called_positive``, a share in %.
    """
    pair = sentence_pair(*SKEWED_PAIR, share, seed)
    model = adapted_sentences(pair, method, seed)
    test = pair.oracle_target("test")
    found = evaluate(model, test)
    return {
        "oracle_accuracy": round(found["accuracy"], 3),
        "oracle_balanced_accuracy": round(found["balanced_accuracy"], 3),
        "called_positive": round(100 * float((predict(model, test).argmax(1) == 1).mean()), 3),
    }


def bound_cell(method: str, share: float, seed: int) -> dict[str, float]:
    """The `bound_terms` of a network of `proportions_cell`, and its ``target_error``: plain, on test sentences, in %."""
    pair = sentence_pair(*SKEWED_PAIR, share, seed)
    model = adapted_sentences(pair, method, seed)
    terms = bound_terms(model, with_statistics(model, method, pair.source("train")), pair, seed)
    terms["target_error"] = 100 - evaluate(model, pair.oracle_target("test"))["accuracy"]
    return {name: round(value, 3) for name, value in terms.items()}


def reproportioned(p: np.ndarray, source_shares: Sequence[float], target_shares: Sequence[float]) -> np.ndarray:
    """Answers (N, classes) for a target with other class shares, where classes look as before: rows sum to 1."""
    weighted = p * (np.asarray(target_shares) / np.asarray(source_shares))
    return weighted / weighted.sum(axis=1, keepdims=True)


def moved_threshold(seed: int, share: float = 0.9) -> list[dict[str, float | str]]:
    """Product reviews, trained on equal shares and tested where this share is positive: the answers as they are, and moved.

    Returns
    -------
    list of dict
        Two rows, by ``threshold`` (``as it is``, ``moved`` to the proportions that black box shift estimation gives):
        ``balanced accuracy (%)``, ``accuracy (%)``, ``called positive (%)`` on the test split.
    """
    reviews = task_of("product", seed)
    x = features.extract(load_backbone("minilm"), reviews.all_samples()).astype(float)
    y = reviews.all_samples().labels.numpy()
    train, held_out, test = (
        with_proportions(reviews, (1 - positive, positive), seed=seed).rows(split)
        for split, positive in (("train", 0.5), ("validation", 0.5), ("test", share))
    )
    head = LogisticRegression(C=30, max_iter=2000).fit(x[train], y[train])
    p = head.predict_proba(x[test])
    found = estimate_proportions(y[held_out], head.predict(x[held_out]), p.argmax(axis=1))
    moved = reproportioned(p, (0.5, 0.5), np.clip(found, 0.02, 0.98))
    return [
        {
            "seed": seed,
            "threshold": threshold,
            "balanced accuracy (%)": 100 * float(balanced_accuracy_score(y[test], answers.argmax(axis=1))),
            "accuracy (%)": 100 * float(np.mean(answers.argmax(axis=1) == y[test])),
            "called positive (%)": 100 * float(answers.argmax(axis=1).mean()),
        }
        for threshold, answers in (("as it is", p), ("moved", moved))
    ]


STUDIES = (
    Study(
        "transfer_images",
        "Every image task as a source for every other, against the same algorithm without a source",
        {"source": (NOTHING, *IMAGES), "target": IMAGES, "labels": LABELS, "seed": SEEDS},
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
    Study(
        "adaptation_bound",
        "The same sentences: the terms of Ben-David's bound before and after AdaBN, in equal and in other proportions",
        {"method": ("source only", "AdaBN"), "share": (SHARES[0], SHARES[-1]), "seed": seeds(5)},
        bound_cell,
        cited={},
    ),
    Study(
        "suspects",
        "Frozen features of emoji for digits, against random ones, on seeds of their own",
        {"source": (NOTHING, *SUSPECTS), "target": DIGITS, "seed": SUSPECT_SEEDS},
        suspects_cell,
        cited={},
    ),
)
