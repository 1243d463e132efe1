"""Fine-tuning's remedies, each at a peak rate of its own: one cell trains all of Lite0 on few solar cells (chapter 4).

What is compared, and at which rates, is in `tl_helpers.book.studies.fine_tuning`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tl_helpers import features
from tl_helpers.book import baseline
from tl_helpers.data import Samples, load_task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import L2SP, Recipe, evaluate, fit, score

SIZE = 64
EPOCHS = {50: 10, 300: 4}

BASE = Recipe(lr=1e-3, batch_size=16, augment="flips")
"""Plain fine-tuning: AdamW, one common rate, a short warm-up, half a cosine, the eight exact views."""

HEAD = Recipe(epochs=20, lr=1e-2, batch_size=16)
"""How a head is trained to its end before the network is set free; what it sees is computed once."""

REMEDIES: dict[str, dict] = {
    "plain": {},
    "discriminative rates": {"layer_decay": 0.7},
    "gradual unfreezing": {"unfreeze": "gradual", "unfreeze_step": 3},
    "head first": {},
    "frozen statistics": {"batch_norm": "frozen"},
    "L2-SP": {},
    "soft labels": {"labels": "soft"},
    "from scratch": {},
}
"""What each changes of the recipe. For L2-SP (strength 0.01), *head first* and *from scratch* see `train`."""


def train(remedy: str, few: Samples, lr: float, epochs: int, seed: int) -> Classifier:
    """Lite0 and a new head, all trained on few labels with one remedy at a peak rate.

    Raises
    ------
    KeyError
        For an unknown remedy.
    """
    recipe = dataclasses.replace(BASE, lr=lr, epochs=epochs, **REMEDIES[remedy])
    backbone = load_backbone("efficientnet_lite0", pretrained=remedy != "from scratch", seed=seed)
    model = Classifier(backbone, len(few.classes), seed=seed)
    if remedy == "head first":
        only_head = dataclasses.replace(HEAD, freeze_depth=backbone.depth)
        fit(model, few, None, only_head, seed=seed, name="only the head", fresh=True)
    method = L2SP(0.01) if remedy == "L2-SP" else None
    fit(model, few, None, recipe, method=method, seed=seed, name=remedy, fresh=True)
    return model


def few_cells(labels: int, seed: int) -> Samples:
    """So many labelled cells of a split, at 64 px."""
    return load_task("elpv", seed=seed).few_labels(labels, seed).samples("train", SIZE)


def peak_cell(remedy: str, labels: int, lr: float, seed: int) -> dict[str, float]:
    """A remedy at one peak rate, scored on validation cells only (%): by this the peak of each is chosen."""
    model = train(remedy, few_cells(labels, seed), lr, EPOCHS[labels], seed)
    found = evaluate(model, load_task("elpv", seed=seed).samples("validation", SIZE))
    return {f"validation_{name}": round(found[name], 3) for name in ("accuracy", "balanced_accuracy")}


def remedy_cell(arm: str, labels: int, seed: int) -> dict[str, float]:
    """A remedy at a peak rate, such as "plain, 0.001", scored on the test cells (%)."""
    remedy, lr = arm.rsplit(", ", 1)
    model = train(remedy, few_cells(labels, seed), float(lr), EPOCHS[labels], seed)
    found = evaluate(model, load_task("elpv", seed=seed).samples("test", SIZE))
    return {name: round(found[name], 3) for name in ("accuracy", "balanced_accuracy")}


def shift_cell(arm: str, seed: int) -> dict[str, float]:
    """Trained on 300 monocrystalline cells, scored on mono- and on polycrystalline ones (balanced accuracy, %).

    `arm` is "frozen, STAGE" for the baseline on features of that stage, or a remedy at a peak rate as in `remedy_cell`.
    """
    whole = load_task("elpv", seed=seed)
    few = whole.only(domain="mono").few_labels(300, seed)
    tests = {domain: whole.only(domain=domain) for domain in ("mono", "poly")}
    what, choice = arm.rsplit(", ", 1)
    if what == "frozen":
        x = baseline.embeddings(whole, stage=choice)
        head = baseline.head().fit(x[few.rows("train")], few.labels("train"))
        found = {d: score(t.labels("test"), head.predict_proba(x[t.rows("test")])) for d, t in tests.items()}
    else:
        model = train(what, few.samples("train", SIZE), float(choice), EPOCHS[300], seed)
        found = {domain: evaluate(model, task.samples("test", SIZE)) for domain, task in tests.items()}
    return {domain: round(scores["balanced_accuracy"], 3) for domain, scores in found.items()}


SENTENCES, ASKED = 300, 800
TEXT = Recipe(epochs=4, batch_size=16)
"""How a sentence encoder is fine-tuned: all of it, at one common rate."""


def text_peak_cell(way: str, strength: float, seed: int) -> dict[str, float]:
    """One way to judge film reviews at one strength, scored on validation sentences: see `text_cell`."""
    return {"validation_accuracy": _text(way, strength, seed, "validation")}


def text_cell(arm: str, seed: int) -> dict[str, float]:
    """A sentence encoder and 300 labelled sentences from film reviews; accuracy on test sentences, in %.

    `arm` is "frozen, C" for a logistic regression with this C on frozen features, or "fine-tuned, RATE".
    """
    way, strength = arm.rsplit(", ", 1)
    return {"accuracy": _text(way, float(strength), seed, "test")}


def _text(way: str, strength: float, seed: int, part: str) -> float:
    task = load_task("film", seed=seed)
    few, asked = task.few_labels(SENTENCES, seed).samples("train"), task.samples(part)
    asked = asked.take(np.random.default_rng(seed).permutation(len(asked))[:ASKED])
    backbone = load_backbone("minilm")
    if way == "frozen":
        head = baseline.head().set_params(logisticregression__C=strength)
        head.fit(features.extract(backbone, few), few.labels.numpy())
        return round(score(asked.labels.numpy(), head.predict_proba(features.extract(backbone, asked)))["accuracy"], 3)
    model = Classifier(backbone, len(few.classes), seed=seed)
    fit(model, few, None, dataclasses.replace(TEXT, lr=strength), seed=seed, name="sentences", fresh=True)
    return round(evaluate(model, asked)["accuracy"], 3)
