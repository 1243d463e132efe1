"""Multi-task learning on solar cells: defect, type and severity from one network, against one network each (chapter 14)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from tl_helpers.activations import Line
from tl_helpers.book import results
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies import with_adapter
from tl_helpers.book.studies.adaptation import AFTER, CELLS, FROZEN
from tl_helpers.data import Samples, load_task
from tl_helpers.ledger import Run
from tl_helpers.models import load_backbone
from tl_helpers.multitask import (
    MISSING,
    CrossStitch,
    GradNorm,
    HardSharing,
    MultiTaskClassifier,
    Observed,
    PCGrad,
    Target,
    Uncertainty,
    affinity_matrix,
    by_task,
    score_tasks,
    with_labels,
)
from tl_helpers.training import Recipe, fit
from tl_helpers.training.scoring import logits_of

TARGETS: dict[str, Target] = {
    "defect": Target("defect", ("sound", "defective")),
    "type": Target("type", ("mono", "poly")),
    "severity": Target("severity"),
    "random": Target("random", ("no", "yes")),
    "odd": Target("odd", ("no", "yes")),
}
"""``random`` is the control: the defect labels, shuffled over the cells of each split. ``odd`` asks whether a cell is
defective mono or sound poly: what says *yes* of one type says *no* of the other."""

REAL = ("defect", "type", "severity")
ALL = 1574
"""Training cells of a split."""
LABELS = (100, ALL)
WIDTH = 128

METRIC = {"severity": "explained"}
"""The score of a task; of all others the area under the ROC curve. Both in %."""


@functools.lru_cache(maxsize=12)
def cells(part: str, seed: int, labels: int = ALL) -> Samples:
    """The cells of a split with the labels of all five tasks; of the training cells only so many: see `Task.few_labels`."""
    task = load_task("elpv", seed=seed)
    task = task.few_labels(labels, seed) if part == "train" and labels < ALL else task
    samples = task.samples(part, CELLS)
    defect, poly = samples.labels.numpy(), (samples.extra["domain"] == "poly").astype(np.int64)
    drawn = np.random.default_rng([seed, len(part)]).permutation(defect)
    return with_labels(
        samples,
        defect=defect,
        type=poly,
        severity=samples.extra["probability"].astype(np.float32),
        random=drawn,
        odd=defect ^ poly,
    )


def targets_of(tasks: str | Sequence[str]) -> tuple[Target, ...]:
    """From names, or names joined by ``+``, to targets."""
    return tuple(TARGETS[name] for name in (tasks.split("+") if isinstance(tasks, str) else tasks))


def recipe_of(lr: float, steps: int, samples: int) -> Recipe:
    """So many steps (about: whole epochs) on so many samples; trunk and heads are trained."""
    whole, rest = divmod(samples, 32)
    return Recipe(
        epochs=max(1, round(steps / (whole + (rest > 1)))), lr=lr, freeze_depth=FROZEN[CELLS], schedule="cosine"
    )


SCHEMES: dict[str, Callable[[Sequence[Target]], HardSharing]] = {
    "equal weights": HardSharing,
    "uncertainty": Uncertainty,
    "GradNorm": GradNorm,
    "PCGrad": PCGrad,
}
STITCHED, WIDE = "cross-stitch", "equal weights, three times as wide"
JOINT = (*SCHEMES, STITCHED, WIDE)
"""Arms that learn the three real tasks in one network."""

SETTINGS: dict[str, tuple[int, int]] = {
    "few labels": (100, WIDTH),
    "all labels": (ALL, WIDTH),
    "narrow trunk": (ALL, 2),
}
"""Labelled cells, and outputs of the trunk."""

RATES, STEPS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2), (50, 150, 450)
LONG, SHORT = STEPS[1:], STEPS[:2]
"""What a network may choose from: the joint one and each network alone, and one that gets a third of the steps."""

RATE = 1e-2
"""Where arms are compared at one rate and one number of steps, the longest."""


def network(
    tasks: str | Sequence[str], seed: int, width: int = WIDTH, *, stitched: bool = False
) -> MultiTaskClassifier:
    """ImageNet's network, frozen, with a trunk that all tasks share, or a stitched one for each; and a head for each."""
    lite0, targets = load_backbone("efficientnet_lite0"), targets_of(tasks)
    if not stitched:
        return MultiTaskClassifier(with_adapter(lite0, width, after=AFTER[CELLS], seed=seed), targets, seed=seed)
    columns = [
        with_adapter(lite0, width, after=AFTER[CELLS], seed=seed + 10_000 * k).stages["adapter"]
        for k in range(len(targets))
    ]
    whole = with_adapter(lite0, width, after=AFTER[CELLS], seed=seed)
    whole.stages["adapter"], whole.dim = CrossStitch(columns), width * len(columns)
    return MultiTaskClassifier(whole, targets, columns=True, seed=seed)


def learned(
    tasks: str,
    seed: int,
    *,
    scheme: str = "equal weights",
    weights: Mapping[str, float] | None = None,
    observed: bool = False,
    labels: int = ALL,
    lr: float = RATE,
    steps: int = STEPS[-1],
    width: int = WIDTH,
    train: Samples | None = None,
    fresh: bool | None = None,
) -> tuple[MultiTaskClassifier, Run]:
    """One network for these tasks (joined by ``+``): the trained model and its run."""
    train = cells("train", seed, labels) if train is None else train
    width = len(REAL) * width if scheme == WIDE else width
    model, targets = network(tasks, seed, width, stitched=scheme == STITCHED), targets_of(tasks)
    if observed or weights:
        method = (Observed if observed else HardSharing)(targets, weights)
    else:
        method = SCHEMES.get(scheme, HardSharing)(targets)
    run = fit(model, train, None, recipe_of(lr, steps, len(train)), method=method, seed=seed, name=tasks, fresh=fresh)
    return model, run


def scores(model: MultiTaskClassifier, part: str, seed: int) -> dict[str, float]:
    """One score a task, in %: see `METRIC`."""
    found = score_tasks(model, cells(part, seed))
    return {name: round(each[METRIC.get(name, "auc")], 3) for name, each in found.items()}


def by_severity(model: MultiTaskClassifier, part: str, seed: int) -> float:
    """How well the predicted severity alone sorts sound from defective cells: the area under the ROC curve, in %."""
    samples, depth = cells(part, seed), model.backbone.frozen_depth
    outputs = logits_of(model, samples, Line(model.backbone, depth, samples, views=1))
    said = by_task(outputs, model.targets)["severity"][:, 0].numpy()
    return round(100 * float(roc_auc_score(samples.labels.numpy(), said)), 3)


# ---- cells -----------------------------------------------------------------------------------------------------------


def tuning_cell(arm: str, setting: str, lr: float, steps: int, seed: int) -> dict[str, float]:
    """One trial of an arm of `JOINT`, or of one task alone: validation scores, and their mean over its tasks."""
    labels, width = SETTINGS[setting]
    tasks = "+".join(REAL) if arm in JOINT else arm
    scheme = arm if arm in JOINT else "equal weights"
    model, _ = learned(tasks, seed, scheme=scheme, labels=labels, lr=lr, steps=steps, width=width, fresh=True)
    found = scores(model, "validation", seed)
    return {**found, "validation": round(float(np.mean(list(found.values()))), 3)}


def chosen(arm: str, setting: str, steps: Sequence[int] = LONG) -> dict[str, float]:
    """The rate and the steps of an arm with the best mean validation score; of equals the middle rate, then fewer steps."""
    trials = results.load("multitask_tuning").query("arm == @arm & setting == @setting & steps in @steps")
    if trials.empty:
        raise ValueError(f"No trials of {arm!r} in the setting {setting!r}.")
    middle = math.log(RATES[len(RATES) // 2])
    rank = trials.assign(away=(np.log(trials["lr"]) - middle).abs())
    best = rank.sort_values(["validation", "away", "steps"], ascending=[False, True, True]).iloc[0]
    return {"lr": float(best["lr"]), "steps": int(best["steps"])}


def arm_cell(arm: str, setting: str, seed: int) -> dict[str, float]:
    """One arm with what was chosen for it: test scores of the three tasks, defects by severity, seconds of training."""
    labels, width = SETTINGS[setting]
    found, seconds = {}, 0.0
    if arm in JOINT:
        model, run = learned(
            "+".join(REAL), seed, scheme=arm, labels=labels, width=width, fresh=True, **chosen(arm, setting)
        )
        found, seconds = scores(model, "test", seed), run.seconds
        found["defect_by_severity"] = by_severity(model, "test", seed)
    else:
        for task in REAL:
            how = chosen(task, setting, SHORT if arm == THIRD else LONG)
            model, run = learned(task, seed, labels=labels, width=width, fresh=True, **how)
            found |= scores(model, "test", seed)
            seconds += run.seconds
        found["defect_by_severity"] = by_severity(model, "test", seed)
    return {**found, "train_seconds": round(seconds, 2)}


ALONE, THIRD = "alone", "alone, a third of the steps"
ARMS = (ALONE, THIRD, *JOINT)


def width_cell(tasks: str, width: int, seed: int) -> dict[str, float]:
    """Tasks together in a trunk of some width, all at one rate and number of steps: test scores."""
    model, _ = learned(tasks, seed, width=width, fresh=True)
    return scores(model, "test", seed)


def pair_cell(tasks: str, width: int, seed: int) -> dict[str, float]:
    """One task, or two and the mean cosine of their gradients along the training; test scores."""
    model, run = learned(tasks, seed, width=width, observed=True, fresh=True)
    cosines = [v for record in run.history for name, v in record.items() if name.startswith("cosine")]
    return scores(model, "test", seed) | ({"cosine": round(float(np.mean(cosines)), 4)} if cosines else {})


def front_cell(partner: str, width: int, weight: float, seed: int) -> dict[str, float]:
    """Defect with this weight and a partner with the rest: test scores of both."""
    model, _ = learned(
        f"defect+{partner}", seed, width=width, weights={"defect": weight, partner: 1 - weight}, fresh=True
    )
    found = scores(model, "test", seed)
    return {"defect": found["defect"], "partner": found[partner]}


# ---- what a chapter reads --------------------------------------------------------------------------------------------


def values(frame: pd.DataFrame, metric: str, **where: object) -> np.ndarray:
    """One value a seed, in the order of the seeds, of the rows where columns hold these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame.sort_values("seed")[metric].to_numpy()


def pairs_of(tasks: Sequence[str]) -> list[str]:
    """All pairs, such as ``defect+type``, in the order of the tasks."""
    return [f"{one}+{other}" for number, one in enumerate(tasks) for other in tasks[number + 1 :]]


def affinities(frame: pd.DataFrame, width: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What each task (column) gains by each other (row) over being alone, in points; and the cosines of their gradients."""
    own = frame[frame["width"] == width]
    alone = {task: values(own, task, tasks=task).mean() for task in TARGETS}
    together, cosines = {}, pd.DataFrame(np.nan, index=list(TARGETS), columns=list(TARGETS))
    for pair in pairs_of(list(TARGETS)):
        one, other = pair.split("+")
        together[one, other] = values(own, one, tasks=pair).mean()
        together[other, one] = values(own, other, tasks=pair).mean()
        cosines.loc[one, other] = cosines.loc[other, one] = values(own, "cosine", tasks=pair).mean()
    gains = affinity_matrix(alone, together)
    return pd.DataFrame(gains, index=list(TARGETS), columns=list(TARGETS)), cosines


def partly_labelled(seed: int, few: int, helper: str) -> Samples:
    """All training cells with the labels of a helping task, and of `few` of them the defect."""
    samples = cells("train", seed)
    kept = np.isin(samples.rows, cells("train", seed, few).rows)
    return with_labels(
        samples,
        defect=np.where(kept, samples.extra["defect"], MISSING),
        **{helper: samples.extra[helper]},
    )


SEEDS, CHOICE_SEED = seeds(10), 100
HELPERS = ("random", "type", "severity", "odd")
PAIRED = (*TARGETS, *pairs_of(list(TARGETS)))
STUDIES = (
    Study(
        "multitask_tuning",
        "Several tasks from one network: rates and steps of all arms, on validation cells, with a seed that is not reported",
        {
            "arm": (*REAL, *JOINT),
            "setting": tuple(SETTINGS),
            "lr": RATES,
            "steps": STEPS,
            "seed": (CHOICE_SEED,),
        },
        tuning_cell,
    ),
    Study(
        "multitask_arms",
        "Defect, type and severity of solar cells: three networks, one, and five ways to train one",
        {"arm": ARMS, "setting": tuple(SETTINGS), "seed": SEEDS},
        arm_cell,
        cited={},
    ),
    Study(
        "multitask_width",
        "A task beside the defects, in trunks of several widths",
        {
            "tasks": ("defect", *(f"defect+{helper}" for helper in HELPERS)),
            "width": (1, 2, 4, 16, WIDTH),
            "seed": SEEDS,
        },
        width_cell,
        cited={"width": (2, WIDTH)},
    ),
    Study(
        "multitask_pairs",
        "All pairs of five tasks, and the cosines of their gradients",
        {"tasks": PAIRED, "width": (2, WIDTH), "seed": SEEDS[:5]},
        pair_cell,
        cited={},
    ),
    Study(
        "multitask_front",
        "The weight of the defects against a second task",
        {
            "partner": ("type", "odd", "severity"),
            "width": (2, WIDTH),
            "weight": (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98),
            "seed": SEEDS[:3],
        },
        front_cell,
    ),
)
