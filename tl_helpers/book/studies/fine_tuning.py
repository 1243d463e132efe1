"""Fine-tuning: how deep to freeze, which recipe, and solar cells against published numbers (chapters 4 and 5)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from tl_helpers import stats
from tl_helpers.book import baseline, replication, results
from tl_helpers.book.replication import TUNING, seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies.remedies import REMEDIES, peak_cell, remedy_cell, shift_cell, text_cell, text_peak_cell
from tl_helpers.data import Samples, Task, load_task
from tl_helpers.ledger import Run
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import L2SP, Recipe, evaluate, fit, predict, score

SIZE = 96
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
EPOCHS = {50: 8, 300: 3}
ALL = "all"

BASE = Recipe(epochs=2, lr=1e-3, augment="flips")
"""What every cell at 96 px starts from: AdamW, a short warm-up, half a cosine, the eight exact views."""


def classifier(task: Task, seed: int, dropout: float = 0.0) -> Classifier:
    """EfficientNet-Lite0 with its ImageNet weights, and a new head for the task."""
    return Classifier(load_backbone("efficientnet_lite0"), len(task.classes), dropout=dropout, seed=seed)


def labelled(task: Task, labels: int | str, seed: int) -> Task:
    """The task with so many labelled training samples (nested subsets), or all."""
    return task if labels == ALL else task.few_labels(int(labels), seed)


def recipe_for(labels: int | str, depth: int, lr: float) -> Recipe:
    """The recipe of a grid cell: few samples are seen more often, in smaller batches."""
    few = labels == ALL or int(labels) >= 300
    epochs = BASE.epochs if labels == ALL else EPOCHS.get(int(labels), 3)
    return dataclasses.replace(BASE, epochs=epochs, batch_size=32 if few else 16, freeze_depth=depth, lr=lr)


def grid_cell(
    depth: int, lr: float, labels: int | str, seed: int, *, task: str = "elpv", size: int = SIZE, augment: str = "flips"
) -> dict:
    """One cell of the depth x rate x labels grid: train above the freeze line, score validation and test.

    Parameters
    ----------
    depth : int
        Frozen stages.
    lr : float
        One common peak rate for the head and all stages above the line.
    labels : int or "all"
        Labelled training samples.
    seed : int
        Of the split, the subset, the head and the order of samples.

    Returns
    -------
    dict of str to float
        ``validation_accuracy``, ``accuracy`` and ``balanced_accuracy`` on the test split, all in %; ``train_seconds``.
    """
    whole = load_task(task, seed=seed)
    few = labelled(whole, labels, seed)
    model = classifier(whole, seed)
    recipe = dataclasses.replace(recipe_for(labels, depth, lr), augment=augment)
    run = fit(model, few.samples("train", size), None, recipe, seed=seed, name=f"grid {task}", fresh=True)
    return _scores(model, whole, size) | {"train_seconds": round(run.seconds, 2)}


def textile_cell(depth: int, lr: float, labels: int, seed: int) -> dict:
    """`grid_cell` on textile defects. The weave has a direction, so the images are not turned."""
    return grid_cell(depth, lr, labels, seed, task="textile", augment="none")


DEEP = {"depth": (7, 8, 9), "lr": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)}
"""The cheap end of the map: deep lines, and more seeds. The best rate of each line lies within these rates."""

SMALL_SETS, DRAWS = (13, 25, 75), 20
"""Sizes of the small validation sets, and how many of each are drawn from a validation split."""


def deep_cell(depth: int, lr: float, labels: int, seed: int, *, task: str = "elpv", augment: str = "flips") -> dict:
    """`grid_cell` for a deep line; its model also answers small validation sets, the same ones in all cells of a seed.

    Returns
    -------
    dict of str to float
        As `grid_cell`, and ``right_13_00`` and so on: right answers in the first draw of 13 validation samples.
    """
    whole = load_task(task, seed=seed)
    model = classifier(whole, seed)
    recipe = dataclasses.replace(recipe_for(labels, depth, lr), augment=augment)
    few = labelled(whole, labels, seed).samples("train", SIZE)
    run = fit(model, few, None, recipe, seed=seed, name=f"deep {task}", fresh=True)
    validation = whole.samples("validation", SIZE)
    right = predict(model, validation).argmax(1) == validation.labels.numpy()
    drawn = np.random.default_rng(seed)
    small = {
        f"right_{size}_{draw:02d}": int(right[drawn.choice(len(right), size, replace=False)].sum())
        for size in SMALL_SETS
        for draw in range(DRAWS)
    }
    return _scores(model, whole, SIZE) | small | {"train_seconds": round(run.seconds, 2)}


STRATEGIES: dict[str, dict] = {
    "one common rate": {},
    "discriminative rates": {"layer_decay": 0.7},
    "gradual unfreezing": {"unfreeze": "gradual", "unfreeze_step": 3},
    "head first": {"unfreeze": "head_first"},
    "one-cycle": {"schedule": "one_cycle", "warmup": 0.3},
    "step": {"schedule": "step"},
    "constant rate": {"schedule": "constant"},
    "frozen statistics": {"batch_norm": "frozen"},
    "L2-SP": {"l2_sp": 0.01},
    "label smoothing": {"label_smoothing": 0.1},
    "soft labels": {"labels": "soft"},
    "confidence weights": {"weights": "confidence"},
    "class weights": {"weights": "class"},
    "no augmentation": {"augment": "none"},
    "source's crops": {"augment": "crops"},
    "dropout": {"dropout": 0.5},
    "from scratch": {"pretrained": False},
    "one common rate, three times higher": {"lr": 3e-3},
    "discriminative rates, three times higher": {"lr": 3e-3, "layer_decay": 0.7},
}
"""Changes of one recipe, each alone. `dropout` and `pretrained` are the model's, `l2_sp` is a method's strength."""

STRATEGY_EPOCHS = {50: 10, 300: 4}


def strategy_cell(strategy: str, labels: int, seed: int) -> dict:
    """One way to fine-tune all of Lite0 with few labels at 64 px, changed in one respect; metrics as in `grid_cell`."""
    task = load_task("elpv", seed=seed)
    run, model = train_strategy(strategy, labels, seed)
    return _scores(model, task, 64) | {"train_seconds": round(run.seconds, 2)}


def train_strategy(strategy: str, labels: int, seed: int, *, fresh: bool | None = True) -> tuple[Run, Classifier]:
    """The training of one cell of the strategies study; returns the run and the trained model.

    Raises
    ------
    KeyError
        For an unknown strategy.
    """
    change = dict(STRATEGIES[strategy])
    task = load_task("elpv", seed=seed)
    backbone = load_backbone("efficientnet_lite0", pretrained=change.pop("pretrained", True), seed=seed)
    model = Classifier(backbone, len(task.classes), dropout=change.pop("dropout", 0.0), seed=seed)
    recipe = Recipe(epochs=STRATEGY_EPOCHS[labels], lr=1e-3, batch_size=16, augment="flips")
    method = L2SP(change.pop("l2_sp")) if "l2_sp" in change else None
    recipe = dataclasses.replace(recipe, **change)
    few = labelled(task, labels, seed).samples("train", 64)
    return fit(model, few, None, recipe, method=method, seed=seed, name=strategy, fresh=fresh), model


TUNED = tuple(REMEDIES)
"""Each remedy gets a peak rate of its own: most of them change how much the network learns at one peak."""

PEAKS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""The grid from which each remedy gets its peak rate."""

ARMS = (
    "plain, 0.001",
    "discriminative rates, 0.003",
    "discriminative rates, 0.001",
    "gradual unfreezing, 0.001",
    "head first, 0.001",
    "frozen statistics, 0.0003",
    "frozen statistics, 0.001",
    "L2-SP, 0.003",
    "soft labels, 0.001",
    "from scratch, 0.001",
)
"""Remedies at the peak rates that chapter 4 compares: those that validation chose, and for two of them plain's, too."""


def validated_peaks() -> pd.DataFrame:
    """Validation accuracy (%) of each remedy at each peak rate of the grid, from the record; column ``peak``: the best."""
    frame = results.load("remedy_peaks")
    table = frame.pivot_table(index="remedy", columns="lr", values="validation_accuracy").loc[list(TUNED)]
    return table.assign(peak=table.idxmax(axis=1))


def verdicts(peaks: Mapping[str, float], overlap: float) -> pd.DataFrame:
    """Each remedy minus plain fine-tuning, at 50 and at 300 labels, from the record; all judged together.

    With fresh seeds only the arms that claims cite are recorded; the others are left out.

    Parameters
    ----------
    peaks : mapping of str to float
        The peak rate of each remedy, and of ``plain``.
    overlap : float
        Of the re-splits, see `tl_helpers.stats.interval`.

    Returns
    -------
    pandas.DataFrame
        By labels and remedy: ``peak``, ``accuracy`` (%), the mean ``difference`` with ``low`` and ``high`` of its 95 %
        interval (points), ``p`` corrected over all rows (Holm 1979), and the ``verdict`` at 5 %.
    """
    rows, known = [], set(results.load("remedies")["arm"])
    for labels in STRATEGY_EPOCHS:
        plain = accuracies("plain", labels, peaks["plain"])
        for remedy, peak in peaks.items():
            if remedy != "plain" and (f"{remedy}, {peak:g}" in known or not replication.base()):
                own = accuracies(remedy, labels, peak)
                differences = np.subtract(own, plain)
                mean, low, high = stats.interval(differences, overlap=overlap)
                rows.append([labels, remedy, peak, np.mean(own), mean, low, high, stats.p_value(differences, overlap)])
    names = ["labels", "remedy", "peak", "accuracy", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=names).set_index(["labels", "remedy"])
    table["p"] = stats.holm(table["p"])
    sure = table["p"] < 0.05
    table["verdict"] = np.select([sure & (table["difference"] > 0), sure], ["better", "worse"], "cannot tell")
    return table


def accuracies(remedy: str, labels: int, peak: float) -> list[float]:
    """Test accuracies (%) of a remedy at a peak rate, one a seed, from the record. A KeyError for what was not recorded."""
    frame = results.load("remedies").set_index(["arm", "labels"]).sort_index()
    return frame.loc[[(f"{remedy}, {peak:g}", labels)]].sort_values("seed")["accuracy"].tolist()


SHIFT_ARMS = ("frozen, stage6", "frozen, head_conv", "plain, 0.001", "head first, 0.001")
"""What is trained on one kind of cells and tested on both."""

TEXT_PEAKS, TEXT_CS = (3e-5, 1e-4, 3e-4, 1e-3), (3e-4, 1e-3, 3e-3, 1e-2)
"""Peak rates of fine-tuning, and the ``C`` of the regression on frozen features: as many of each."""

TEXT_ARMS = ("frozen, 0.003", "fine-tuned, 0.0001")

PUBLISHED = Recipe(
    epochs=6, lr=2e-3, batch_size=32, freeze_depth=4, layer_decay=0.8, labels="soft", augment="flips", warmup=0.1
)
"""The recipe of the runs held against published tables."""


def published_cell(seed: int, part: str) -> dict:
    """ELPV at 224 px against Deitsch et al. 2019, the mean of eight views at test time.

    Parameters
    ----------
    seed : int
        Of the split.
    part : {"train", "train + validation", "frozen features"}
        ``train`` fine-tunes on the training cells and is scored on validation: there the recipe was looked at.
        ``train + validation`` (75 % of the cells, as in the paper) trains the same recipe once more and is the one that
        reads the test split. ``frozen features`` is the baseline of part 1 on the same splits, fitted to both.
        ``accuracy_one_view`` compares the two without the eight views.
    """
    task = load_task("elpv", seed=seed)
    if part == "frozen features":
        return _frozen_features(task)
    model = classifier(task, seed, dropout=0.2)
    if part == "train":
        run = fit(model, task.samples("train", 224), None, PUBLISHED, seed=seed, name="published", fresh=True)
        found = {"validation_accuracy": evaluate(model, task.samples("validation", 224), views=8)["accuracy"]}
        return found | {"train_seconds": round(run.seconds, 1)}
    run = fit(model, _all_but_test(task, 224), None, PUBLISHED, seed=seed, name="published", fresh=True)
    test = task.samples("test", 224)
    return _test_scores(evaluate(model, test, views=8)) | {
        "accuracy_one_view": evaluate(model, test)["accuracy"],
        "train_seconds": round(run.seconds, 1),
    }


def _frozen_features(task: Task) -> dict:
    """The baseline of part 1 at full resolution, one view of each image in training and at test time."""
    start = time.perf_counter()
    x, y = baseline.embeddings(task, size=224), task.all_samples(224).labels.numpy()
    train, validation, test = (task.rows(split) for split in ("train", "validation", "test"))

    def answers(learn: np.ndarray, ask: np.ndarray) -> dict:
        return score(y[ask], baseline.head().fit(x[learn], y[learn]).predict_proba(x[ask]))

    found = answers(np.concatenate([train, validation]), test)
    return _test_scores(found) | {
        "validation_accuracy": answers(train, validation)["accuracy"],
        "accuracy_one_view": found["accuracy"],
        "train_seconds": round(time.perf_counter() - start, 1),
    }


def _test_scores(scores: dict[str, float]) -> dict[str, float]:
    return {name: scores[name] for name in ("accuracy", "balanced_accuracy", "auc")}


def _all_but_test(task: Task, size: int) -> Samples:
    """Training and validation samples together: what the final run of a chosen recipe may learn from."""
    parts = [task.samples(split, size) for split in ("train", "validation")]
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    return dataclasses.replace(
        parts[0],
        name=f"{task.name}/train+validation",
        inputs=torch.cat([part.inputs for part in parts])[order],
        labels=torch.cat([part.labels for part in parts])[order],
        rows=rows[order],
        extra={name: np.concatenate([part.extra[name] for part in parts])[order] for name in parts[0].extra},
    )


def _scores(model: Classifier, task: Task, size: int) -> dict[str, float]:
    validation, test = (evaluate(model, task.samples(split, size)) for split in ("validation", "test"))
    return {
        "validation_accuracy": round(validation["accuracy"], 3),
        "accuracy": round(test["accuracy"], 3),
        "balanced_accuracy": round(test["balanced_accuracy"], 3),
    }


STUDIES = (
    Study(
        "freeze_grid",
        "Solar cells, 96 px: freeze depth x learning rate x number of labels, Lite0",
        {"labels": (50, 300, ALL), "depth": tuple(range(10)), "lr": RATES, "seed": seeds(3)},
        grid_cell,
        cited={},
    ),
    Study(
        "strategies",
        "Solar cells, 64 px, few labels: ways to fine-tune, each changed in one respect",
        {"labels": tuple(STRATEGY_EPOCHS), "strategy": tuple(STRATEGIES), "seed": seeds(3)},
        strategy_cell,
    ),
    Study(
        "remedy_peaks",
        "Solar cells, 64 px, few labels: the peak rate of each way to fine-tune, on validation",
        {"labels": (300,), "remedy": TUNED, "lr": PEAKS, "seed": (TUNING,)},
        peak_cell,
    ),
    Study(
        "remedies",
        "Solar cells, 64 px, few labels: ways to fine-tune, each at a peak rate of its own",
        {"labels": tuple(STRATEGY_EPOCHS), "arm": ARMS, "seed": seeds(6)},
        remedy_cell,
        cited={"arm": ("plain, 0.001", "frozen statistics, 0.0003", "frozen statistics, 0.001", "from scratch, 0.001")},
    ),
    Study(
        "remedies_shift",
        "Solar cells, 64 px: trained on 300 monocrystalline cells, scored on both kinds",
        {"arm": SHIFT_ARMS, "seed": seeds(8)},
        shift_cell,
        cited={},
    ),
    Study(
        "text_peaks",
        "Film reviews, 300 sentences: the peak rate of fine-tuning a sentence encoder, on validation",
        {"way": ("fine-tuned",), "strength": TEXT_PEAKS, "seed": (TUNING,)},
        text_peak_cell,
    ),
    Study(
        "text_strengths",
        "Film reviews, 300 sentences: the C of a logistic regression on frozen features, on validation",
        {"way": ("frozen",), "strength": TEXT_CS, "seed": (TUNING,)},
        text_peak_cell,
    ),
    Study(
        "text_fine_tuning",
        "Film reviews, 300 sentences: a sentence encoder fine-tuned, against frozen features",
        {"arm": TEXT_ARMS, "seed": seeds(5)},
        text_cell,
        cited={},
    ),
    Study(
        "published",
        "Solar cells, 224 px, held against published numbers",
        {"part": ("frozen features", "train", "train + validation"), "seed": seeds(3)},
        published_cell,
        cited={"part": ("frozen features", "train + validation")},
    ),
    Study(
        "textile_grid",
        "Textile defects, 96 px: the second data set, on which the rule for the freeze depth is tested",
        {"labels": (50,), "depth": (0, 3, 6, 7, 8, 9), "lr": (3e-4, 1e-3, 3e-3), "seed": seeds(5)},
        textile_cell,
        cited={},
    ),
    Study(
        "deep_lines",
        "Solar cells, 96 px: deep freeze lines x learning rate, more seeds, and how small validation sets see them",
        {"labels": tuple(EPOCHS), **DEEP, "seed": seeds(10)},
        deep_cell,
        cited={},
    ),
)
