"""The one default baseline of chapters 01 to 05: frozen features and a logistic regression. Chapter 01 writes it out.

Its stage was chosen there, on validation cells. Whatever trains the network itself has to beat this, on the same labels.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tl_helpers import features
from tl_helpers.data import Task
from tl_helpers.models import load_backbone
from tl_helpers.training import score

BACKBONE = "efficientnet_lite0"
STAGE = "stage6"
SIZE = 64
C = 0.01


def head() -> Pipeline:
    """A new head: features standardised by what it is fitted to, then logistic regression, trained to its end."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))


def embeddings(task: Task, *, size: int = SIZE, stage: str = STAGE) -> np.ndarray:
    """Frozen features of every sample of a task's table, whatever its split: float32 (N, channels of the stage)."""
    return features.extract_stages(load_backbone(BACKBONE), task.all_samples(size), stages=[stage])[stage]


def scores(task: Task, part: str = "test", *, size: int = SIZE, stage: str = STAGE) -> dict[str, float]:
    """Scores on one split of a head fitted to the training split, as `tl_helpers.training.evaluate` gives them.

    With few labels: give the task that has them (`Task.few_labels`).

    Parameters
    ----------
    task : Task
    part : {"validation", "test"}
        What to answer.
    size : int
        Pixels that the network sees.
    stage : str
        Where features are taken.

    Raises
    ------
    KeyError
        For an unknown split.
    ValueError
        For an unknown stage.
    """
    x, learn, asked = embeddings(task, size=size, stage=stage), task.rows("train"), task.rows(part)
    fitted = head().fit(x[learn], task.labels("train"))
    return score(task.labels(part), fitted.predict_proba(x[asked]))


def describe() -> pd.Series:
    """What the baseline is, by part."""
    return pd.Series(
        {
            "backbone": f"{BACKBONE}, ImageNet weights, frozen",
            "features": f"after {STAGE}, averaged over the picture",
            "pictures": f"{SIZE} x {SIZE} pixels",
            "head": f"standardise, logistic regression (C = {C})",
            "scores": "accuracy and balanced accuracy on the test split",
        },
        name="the baseline of part 1",
    )
