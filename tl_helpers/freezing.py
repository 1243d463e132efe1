"""The freeze contract: what is below the freeze line does not change, neither parameters nor batch-norm statistics.

`freeze` draws the line, `snapshot` and `assert_frozen` prove it, `parameter_groups` sets rates layer by layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tl_helpers.models import Classifier


class FreezeViolation(AssertionError):
    """Something below the freeze line changed, or something above it did not."""


@dataclass(frozen=True)
class Snapshot:
    """Every parameter and every buffer of a model at one moment, and where its freeze line was."""

    state: dict[str, torch.Tensor]
    depth: int


def freeze(model: Classifier, depth: int, *, batch_norm: str = "train") -> Classifier:
    """Freeze the first `depth` stages of the backbone, unfreeze the rest; returns the model.

    Frozen means: parameters ask for no gradient, and the stages stay in eval mode even after ``model.train()``, so
    batch norm uses its stored statistics and does not move them. ``depth=0`` trains everything,
    ``depth=model.backbone.depth`` only the head, which is never frozen. A ValueError for a depth out of range lists the
    stages.

    Above the line, batch norm in ``train`` normalises with the statistics of the batch and updates the running ones;
    ``frozen`` goes on using the source's running statistics and leaves them as they are (weights and biases still
    learn).
    """
    model.backbone.check_depth(depth)
    if batch_norm not in ("train", "frozen"):
        raise ValueError(f"batch_norm={batch_norm!r}: use 'train' or 'frozen'.")
    for number, stage in enumerate(model.backbone.stages.values()):
        stage.requires_grad_(number >= depth)
    model.head.requires_grad_(True)
    model.backbone.frozen_depth = depth
    model.backbone.frozen_norm = batch_norm == "frozen"
    model.train(model.training)  # puts the stages into the mode that the new line asks for
    return model


def snapshot(model: Classifier) -> Snapshot:
    """A copy of all parameters and buffers, to compare with later."""
    state = {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}
    return Snapshot(state, model.backbone.frozen_depth)


def assert_frozen(model: Classifier, before: Snapshot) -> None:
    """Check the freeze contract after training: a FreezeViolation names what moved or did not, and the usual cause.

    Below the line every parameter *and buffer* is bit-identical to the snapshot; above it every stage that has
    parameters, and the head, changed.
    """
    stages = model.backbone.stage_names
    frozen = tuple(f"backbone.stages.{name}." for name in stages[: before.depth])
    now = model.state_dict().items()
    changed = {name for name, tensor in now if not torch.equal(tensor.cpu(), before.state[name])}
    moved = [name for name, _ in now if name in changed and name.startswith(frozen)]
    parameters = {name for name, _ in model.named_parameters()}
    if moved and not parameters.intersection(moved):
        raise FreezeViolation(
            f"Batch-norm statistics below the freeze line drifted ({len(moved)} buffers, first: {moved[0]}). Setting "
            "requires_grad to False does not stop that: keep frozen stages in eval mode while training (use freeze())."
        )
    if moved:
        raise FreezeViolation(
            f"{len(moved)} frozen tensors changed (first: {moved[0]}). Were they handed to the optimiser, or unfrozen "
            "after the snapshot?"
        )
    parts = {f"backbone.stages.{name}.": f"stage {name}" for name in stages[before.depth :]} | {"head.": "the head"}
    for prefix, what in parts.items():
        names = {name for name in parameters if name.startswith(prefix)}
        if names and not names & changed:
            raise FreezeViolation(
                f"Nothing in {what} changed although it is above the freeze line. Was it frozen by mistake, left out of "
                "the optimiser, or was the learning rate 0?"
            )


def parameter_groups(model: Classifier, lr: float, *, decay: float = 1.0, weight_decay: float = 0.0) -> list[dict]:
    """Optimiser groups, one for each unfrozen stage and the head, with layer-wise learning rates.

    The head trains at `lr`, above 0; each stage below it at `decay`, in (0, 1], times the rate of the one above
    (discriminative rates, Howard and Ruder 2018, who divide by 2.6: ``decay=1 / 2.6``). Weight decay is for weights of
    two and more dimensions; biases and batch norm get none. A group has ``name``, ``params``, ``lr`` and
    ``weight_decay``; they come from input to head.
    """
    if not lr > 0:
        raise ValueError(f"lr={lr}: the learning rate must be above 0.")
    if not 0 < decay <= 1:
        raise ValueError(f"decay={decay}: use a factor above 0, up to 1 (one common rate).")
    parts: list[tuple[str, nn.Module]] = [*model.backbone.stages.items(), ("head", model.head)]
    groups = []
    for number, (name, part) in enumerate(parts):
        rate = lr * decay ** (len(parts) - 1 - number)
        trainable = [parameter for parameter in part.parameters() if parameter.requires_grad]
        for matrices in (True, False):
            params = [parameter for parameter in trainable if (parameter.ndim > 1) == matrices]
            if params:
                shrink = weight_decay if matrices else 0.0
                groups.append({"name": name, "params": params, "lr": rate, "weight_decay": shrink})
    return groups


def count_trainable(model: nn.Module) -> int:
    """Number of parameters that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
