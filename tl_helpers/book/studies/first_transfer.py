"""The first transfer: what a label is worth to five ways to use one network, each tuned as often (chapter 1)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from tl_helpers import features
from tl_helpers.book import baseline
from tl_helpers.book.replication import TUNING, seeds
from tl_helpers.book.results import Study
from tl_helpers.data import CORRUPTIONS, Samples, Task, corrupt, load_task
from tl_helpers.ledger import Run
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, evaluate, fit, score

SIZE, SEVERITY, ALL = baseline.SIZE, 3, "all"

FROZEN, RANDOM, TUNED = "frozen features", "random features", "fine-tuning"
EQUAL, UNTIL = "from scratch, equal steps", "from scratch, until it stops"
METHODS = (FROZEN, TUNED, UNTIL, EQUAL, RANDOM)
"""Ways to use the network: two that know photographs, and three that do not."""

EPOCHS = {20: 15, 100: 8, 300: 4, ALL: 2}
"""By the number of labels: of fine-tuning, and of the network from scratch that takes as many steps."""

MOST_EPOCHS = {20: 80, 100: 80, 300: 50, ALL: 30}
"""The longest training from scratch. It stops once a third of these epochs brought nothing on the validation cells."""

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
TRIALS = {method: STRENGTHS if method in (FROZEN, RANDOM) else RATES for method in METHODS}
"""What was tried on the validation cells of one split, equally often for each: peak rates, or C of the head."""

CHOSEN = {FROZEN: 1e-2, RANDOM: 1e-2, TUNED: 1e-3, UNTIL: 3e-3, EQUAL: 1e-3}
"""What `choose` found in the recorded trials. One setting serves all numbers of labels."""


def choose(trials: pd.DataFrame) -> dict[str, float]:
    """The setting with the best validation accuracy, the mean of 100 and of all labels, by method; the smaller of equals."""
    means = trials.groupby(["method", "setting"])["validation_accuracy"].mean()
    return {str(method): float(means[method].idxmax()) for method in means.index.unique("method")}


def recipe_for(method: str, labels: int | str, rate: float) -> Recipe:
    """How a network is trained: few cells are seen more often, in smaller batches. A KeyError for unknown `labels`."""
    few = labels != ALL and int(labels) < 300
    recipe = Recipe(epochs=EPOCHS[labels], lr=rate, augment="flips", batch_size=16 if few else 32)
    if method != UNTIL:
        return recipe
    most = MOST_EPOCHS[labels]
    return dataclasses.replace(recipe, epochs=most, patience=most // 3, keep="best")


def labelled(task: Task, labels: int | str, seed: int) -> Task:
    """The task with so many labelled training cells (nested subsets), or all."""
    return task if labels == ALL else task.few_labels(int(labels), seed)


class Head:
    """A backbone as it is, pre-trained or random, and the head of `tl_helpers.book.baseline`, fitted to some labels.

    Parameters
    ----------
    method : str
        `FROZEN` or `RANDOM`.
    task : Task
    labels : int or "all"
        Labelled training cells.
    seed : int
        Of the labelled cells, and of random weights.
    strength : float
        C of the logistic regression.
    """

    def __init__(self, method: str, task: Task, labels: int | str, seed: int, strength: float = baseline.C) -> None:
        self.backbone = load_backbone(baseline.BACKBONE, pretrained=method == FROZEN, seed=seed)
        everything, rows = task.all_samples(SIZE), labelled(task, labels, seed).rows("train")
        self.head = baseline.head().set_params(logisticregression__C=strength)
        self.head.fit(self.embed(everything)[rows], everything.labels.numpy()[rows])

    def embed(self, samples: Samples) -> np.ndarray:
        """Features at the baseline's stage: float32, (N, 192)."""
        return features.extract_stages(self.backbone, samples, stages=[baseline.STAGE])[baseline.STAGE]

    def scores(self, samples: Samples) -> dict[str, float]:
        """As `tl_helpers.training.score`."""
        return score(samples.labels.numpy(), self.head.predict_proba(self.embed(samples)))


def train_network(
    method: str, labels: int | str, seed: int, rate: float | None = None, *, fresh: bool | None = None
) -> tuple[Classifier, Run]:
    """Fine-tune all of the network, or train it from scratch; the model in eval mode, and the run.

    Validation cells are scored after each epoch. `rate` is the chosen one by default.
    """
    task = load_task("elpv", seed=seed)
    backbone = load_backbone(baseline.BACKBONE, pretrained=method == TUNED, seed=seed)
    model = Classifier(backbone, len(task.classes), seed=seed)
    train, validation = labelled(task, labels, seed).samples("train", SIZE), task.samples("validation", SIZE)
    recipe = recipe_for(method, labels, rate or CHOSEN[method])
    return model, fit(model, train, validation, recipe, seed=seed, name=method, fresh=fresh)


def trial_cell(method: str, labels: int | str, trial: int, seed: int) -> dict[str, float]:
    """One trial of one method: what was tried, and its validation accuracy in %. The test split is not read.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    labels : int or "all"
    trial : int
        Its place in `TRIALS`.
    seed : int
        Of the split, the labelled cells, the weights and the order of cells.
    """
    setting = TRIALS[method][trial]
    if method in (FROZEN, RANDOM):
        task = load_task("elpv", seed=seed)
        found = Head(method, task, labels, seed, setting).scores(task.samples("validation", SIZE))
    else:
        found = train_network(method, labels, seed, setting)[1].metrics
    return {"setting": setting, "validation_accuracy": round(found["accuracy"], 3)}


def transfer_cell(method: str, labels: int | str, seed: int) -> dict[str, float]:
    """One method with its chosen setting, scored on validation and test.

    Parameters are those of `trial_cell`.

    Returns
    -------
    dict of str to float
        ``validation_accuracy``, ``accuracy`` and ``balanced_accuracy``, in %. For networks that are trained also
        ``after_one_epoch`` (validation accuracy), ``epochs``, ``best_epoch`` and ``train_seconds``. With all labels also
        the balanced accuracy on corrupted test cells, by the name of the corruption.
    """
    task = load_task("elpv", seed=seed)
    validation, test = (task.samples(part, SIZE) for part in ("validation", "test"))
    if method in (FROZEN, RANDOM):
        scores, extra = Head(method, task, labels, seed, CHOSEN[method]).scores, {}
    else:
        model, run = train_network(method, labels, seed)
        extra = _course(run)

        def scores(samples: Samples) -> dict[str, float]:
            return evaluate(model, samples)

    found = {"validation_accuracy": scores(validation)["accuracy"]}
    found |= {name: value for name, value in scores(test).items() if name in ("accuracy", "balanced_accuracy")}
    if labels == ALL:
        for kind in CORRUPTIONS:
            found[kind] = scores(corrupt(test, kind, SEVERITY, seed=seed))["balanced_accuracy"]
    return {name: round(value, 3) for name, value in (found | extra).items()}


def _course(run: Run) -> dict[str, float]:
    """How a training went: its first epoch, how many there were, and the best one."""
    reached = [epoch["validation_accuracy"] for epoch in run.history]
    return {
        "after_one_epoch": reached[0],
        "epochs": len(reached),
        "best_epoch": 1 + int(np.argmax(reached)),
        "train_seconds": run.seconds,
    }


def numbered(frame: pd.DataFrame, everything: int) -> pd.DataFrame:
    """Recorded cells with the number of labels as int, "all" being `everything`, in the order of labels, method, seed."""
    counts = frame["labels"].replace(ALL, everything).astype(int)
    methods = pd.Categorical(frame["method"], METHODS)
    table = frame.assign(labels=counts, method=methods).sort_values(["labels", "method", "seed"], ignore_index=True)
    return table.astype({"method": str})


STUDIES = (
    Study(
        "first_transfer_trials",
        "Solar cells, 64 px: rates, or C, tried on validation cells for five ways to use a network",
        {"labels": (100, ALL), "method": METHODS, "trial": (0, 1, 2, 3), "seed": (TUNING,)},
        trial_cell,
    ),
    Study(
        "first_transfer",
        "Solar cells, 64 px: what transfer is worth with 100 labels and with all, five ways to use a network",
        {"labels": (100, ALL), "method": METHODS, "seed": seeds(5)},
        transfer_cell,
        cited={},
    ),
    Study(
        "label_curve",
        "Solar cells, 64 px: the same ways with other numbers of labels",
        {"labels": (20, 300), "method": METHODS, "seed": seeds(5)},
        transfer_cell,
    ),
)
