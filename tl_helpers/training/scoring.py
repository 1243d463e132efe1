"""Scores: predictions of a trained model, kept on disk, and the metrics that every chapter reports."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn import metrics as sk
from torch import nn

from tl_helpers import keys, runtime, store
from tl_helpers.activations import Line
from tl_helpers.data import Samples, Unlabelled
from tl_helpers.data.views import VIEWS, view
from tl_helpers.frozen import engines
from tl_helpers.models import Classifier

BATCH = 64


class TrainingDiverged(RuntimeError):
    """The loss or the model's outputs became NaN or infinite."""


def evaluate(model: Classifier, samples: Samples, *, views: int = 1) -> dict[str, float]:
    """Score a model, by `score` and ``loss`` (mean cross-entropy); the only reader of test splits.

    Predictions are kept on disk by weights and pixels. With ``views=8`` the probabilities are averaged over the eight
    exact views of each image (test-time augmentation); otherwise 1.
    """
    return scored(torch.from_numpy(predict(model, samples, views=views)), samples)


def scored(logits: torch.Tensor, samples: Samples) -> dict[str, float]:
    """What `evaluate` says of logits, float32 (N, classes)."""
    found = score(samples.labels.numpy(), softmax(logits.numpy()))
    return found | {"loss": float(nn.functional.cross_entropy(logits, samples.labels))}


def predict(model: Classifier, samples: Samples, *, views: int = 1) -> np.ndarray:
    """Logits, float32, shape (N, classes), in eval mode; kept on disk by weights and pixels.

    With ``views=8``: the logarithm of the mean probability over the eight exact views.
    """
    if views not in (1, VIEWS):
        raise ValueError(f"views={views}: use 1 (the image as it is) or {VIEWS} (all exact views).")
    here = runtime.current()
    dtype = here.precision
    frozen = model.backbone.frozen_depth
    key = store.sure_name(
        "These predictions are",
        lambda: keys.fingerprint(
            "logits", runtime.versions(), model, model.backbone.preprocessing, keys.fingerprint(samples.inputs), dtype,
            here.device.type, keys.code_name(logits_of, Line), views, frozen, engines(model.backbone, frozen),
        ),
    )  # fmt: skip

    def compute() -> dict[str, torch.Tensor]:
        line = Line(model.backbone, frozen, samples, views=views) if frozen else None
        parts = [logits_of(model, samples, line, number) for number in range(views)]
        if views == 1:
            return {"logits": parts[0]}
        return {"logits": torch.stack([part.softmax(1) for part in parts]).mean(0).clamp_min(1e-12).log()}

    return store.shared("predictions").compute(key, compute)["logits"].numpy()


def logits_of(
    model: Classifier,
    samples: Samples | Unlabelled,
    line: Line | None,
    number: int = 0,
    *,
    head: nn.Module | None = None,
) -> torch.Tensor:
    """Logits (N, classes) of one exact view, float32 on the CPU, in eval mode; from the freeze line where there is one.

    By another `head` than the model's, if given.
    """
    here = runtime.current()
    was_training = model.training
    model.eval().to(here.device)
    depth, head = 0 if line is None else line.depth, model.head if head is None else head
    parts = []
    with torch.inference_mode(), here.autocast():
        for positions in torch.arange(len(samples)).split(BATCH):
            if line is None:
                x = model.backbone.prepare(view(samples.inputs[positions], number).to(here.device))
            else:
                x = line(positions, torch.full_like(positions, number)).to(here.device)
            parts.append(head(model.embed_above(x, depth)).float().cpu())
    model.train(was_training)
    return torch.cat(parts)


def embed(model: Classifier, samples: Samples | Unlabelled) -> np.ndarray:
    """What the head sees: float32, shape (N, dim), in eval mode. What is below the freeze line is taken from its cache."""
    depth = model.backbone.frozen_depth
    line = Line(model.backbone, depth, samples, views=1) if depth else None
    return logits_of(model, samples, line, head=nn.Identity()).numpy()


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Metrics of predicted probabilities: labels int (N,), probabilities float (N, classes), whose rows add up to 1.

    ``accuracy``, ``balanced_accuracy``, ``f1`` (of class 1 with two classes, else macro), ``auc`` (one against rest; NaN
    unless all classes are among the labels), all in %, and ``calibration_error`` (see `calibration_error`), in percentage
    points. A ValueError for empty input, shapes that do not fit, labels out of range, or NaN.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if len(labels) == 0 or probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(
            f"{len(labels)} labels against probabilities of shape {probabilities.shape}; need (N, classes)."
        )
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "NaN or infinity among the probabilities: did the training diverge? Try a lower learning rate."
        )
    classes = probabilities.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"Labels from {labels.min()} to {labels.max()}, but probabilities for {classes} classes.")
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    auc = math.nan
    if len(present) == classes:
        said = probabilities[:, 1] if classes == 2 else probabilities
        auc = sk.roc_auc_score(labels, said, multi_class="ovr", labels=np.arange(classes))
    recalls = sk.recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    f1 = sk.f1_score(labels, predicted, average="binary" if classes == 2 else "macro", zero_division=0)
    return {
        "accuracy": 100 * float(sk.accuracy_score(labels, predicted)),
        "balanced_accuracy": 100 * float(recalls),
        "f1": 100 * float(f1),
        "auc": 100 * float(auc),
        "calibration_error": 100 * calibration_error(labels, probabilities),
    }


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    r"""Expected calibration error, in [0, 1] (Guo et al. 2017, equation 3): how far confidence is from being right.

    .. math:: \sum_{b} \frac{|B_b|}{N} \left| \mathrm{accuracy}(B_b) - \mathrm{confidence}(B_b) \right|

    Labels int (N,), probabilities float (N, classes); the bins have equal width over the confidence, (0, 1].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [
        abs(right[place == b].mean() - confidence[place == b].mean()) * (place == b).mean() for b in np.unique(place)
    ]
    return float(sum(gaps))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, classes) from logits (N, classes)."""
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()
