"""How alike two networks see the same images: linear CKA, stage by stage. Chapter 5 compares before and after with it."""

from __future__ import annotations

import numpy as np

from tl_helpers import features
from tl_helpers.data import Samples
from tl_helpers.models import Backbone


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    r"""Linear centred kernel alignment (Kornblith et al. 2019), from 0 to 1: 1 for features equal up to rotation and scale.

    .. math:: \frac{\lVert Y^\top X \rVert_F^2}{\lVert X^\top X \rVert_F \, \lVert Y^\top Y \rVert_F}

    with the columns of X and Y centred: float features of the same N samples, in the same order, (N, p) and (N, q).
    With few samples and many features the value is biased upwards: use N well above p and q, or compare only values
    that share N, p and q. A ValueError for shapes that do not fit, NaN, or features that are the same for all samples.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise ValueError(f"CKA needs features (N, p) and (N, q) of the same samples; got {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("NaN or infinity among the features: did the training diverge?")
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    size = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    if size == 0:
        raise ValueError("One of the two holds the same features for all samples, so there is nothing to compare.")
    return float(np.linalg.norm(y.T @ x) ** 2 / size)


def stage_similarity(one: Backbone, other: Backbone, samples: Samples) -> dict[str, float]:
    """Linear CKA of two networks after each stage they share, on spatially averaged features: by stage name, input first.

    A ValueError if the networks have no stage name in common.
    """
    shared = [name for name in one.stage_names if name in other.stage_names]
    if not shared:
        raise ValueError(f"{one.name} and {other.name} have no stage name in common.")
    first, second = (features.extract_stages(backbone, samples, stages=shared) for backbone in (one, other))
    return {name: linear_cka(first[name], second[name]) for name in shared}
