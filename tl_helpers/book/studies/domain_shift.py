"""What chapter 6 does around its heads: scores on another domain, values out of a table of runs, other proportions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve


def judged(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What decision scores are worth, in %, and how many samples they call defective.

    Parameters
    ----------
    scores : np.ndarray
        (N,), of a head with two classes; above 0 it says 1, "defective".
    labels : np.ndarray
        (N,), 0 or 1, both of them present.

    Returns
    -------
    dict of str to float
        ``balanced accuracy`` at the threshold 0; the same at the ``best threshold``, which labels find; ``AUC``;
        the shares ``called defective`` and ``defective``.
    """
    missed, found, _ = roc_curve(labels, scores)
    return {
        "balanced accuracy": 100 * balanced_accuracy_score(labels, scores > 0),
        "best threshold": 100 * (1 + (found - missed).max()) / 2,
        "AUC": 100 * roc_auc_score(labels, scores),
        "called defective": 100 * np.mean(scores > 0),
        "defective": 100 * np.mean(labels),
    }


def values(frame: pd.DataFrame, column: str = "balanced accuracy", **wanted: object) -> np.ndarray:
    """One value a seed, (seeds,), in the order of the seeds, from the rows whose columns are as `wanted` says.

    An underscore in a name stands for a space: ``trained_on="mono"``.
    """
    for name, value in wanted.items():
        frame = frame[frame[name.replace("_", " ")] == value]
    return frame.sort_values("seed")[column].to_numpy()


def with_share(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Positions of as many samples as have this share, above 0 and below 1, of label 1; drawn at random.

    `labels`: (N,), 0 or 1. One of the two classes is kept whole.
    """
    generator = np.random.default_rng(seed)
    ones, zeros = (generator.permutation(np.flatnonzero(labels == k)) for k in (1, 0))
    total = min(len(ones) / share, len(zeros) / (1 - share))
    return np.concatenate([ones[: round(total * share)], zeros[: round(total * (1 - share))]])


def log_odds(share: float) -> float:
    """The logarithm of share over one minus share; shares beyond 0.01 and 0.99 count as these."""
    share = np.clip(share, 0.01, 0.99)
    return float(np.log(share / (1 - share)))
