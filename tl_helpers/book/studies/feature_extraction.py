"""What chapter 3 measures beside its heads: a short training from scratch, and how far batch-norm statistics drift."""

from __future__ import annotations

import numpy as np
import torch

from tl_helpers.data import Task
from tl_helpers.freezing import Snapshot
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, evaluate, fit


def from_scratch(task: Task, seed: int, size: int = 64, epochs: int = 2) -> float:
    """Test accuracy (%) of EfficientNet-Lite0 with random weights after a short training on all labelled samples.

    Parameters
    ----------
    task : Task
    seed : int
        Of the weights and the order of samples.
    size : int
        Pixels that the network sees.
    epochs : int
        Few: a network that starts from nothing would gain from more.
    """
    start = load_backbone("efficientnet_lite0", pretrained=False, seed=seed)
    model = Classifier(start, classes=len(task.classes), seed=seed)
    recipe = Recipe(epochs=epochs, lr=3e-3, augment="flips")
    learn, check = (task.samples(part, size) for part in ("train", "validation"))
    fit(model, learn, check, recipe, seed=seed, name="from scratch")
    return evaluate(model, task.samples("test", size))["accuracy"]


def variance_drift(before: Snapshot, model: Classifier) -> dict[str, float]:
    """How far the running variances of batch normalisation moved, stage by stage.

    Parameters
    ----------
    before : Snapshot
        Of the same model, from `tl_helpers.freezing.snapshot`.
    model : Classifier

    Returns
    -------
    dict of str to float
        Doublings or halvings (the absolute base-2 logarithm of new over old), a mean over the channels of a stage; NaN for
        a stage without batch normalisation.
    """
    moved = {}
    for stage, module in model.backbone.stages.items():
        changes = []
        for name, layer in module.named_modules(prefix=f"backbone.stages.{stage}"):
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                old = before.state[f"{name}.running_var"].cpu() + layer.eps
                changes.append(((layer.running_var.cpu() + layer.eps) / old).log2().abs())
        moved[stage] = float(torch.cat(changes).mean()) if changes else float("nan")
    return moved


def crystals(rows: dict[str, np.ndarray], kind: np.ndarray, wanted: str) -> dict[str, np.ndarray]:
    """Of the row numbers of each split those whose ``kind`` (N,) is the wanted one, such as "mono"."""
    return {part: each[kind[each] == wanted] for part, each in rows.items()}
