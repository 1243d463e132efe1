"""How far a training run has come, on the disk: a killed process loses at most some seconds of work and not one bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tl_helpers import store
from tl_helpers.runtime import RandomNumbers

EVERY = 10.0
"""Seconds between checkpoints (at the end of an epoch): at most about this much work is lost to a killed process."""

KIND = "checkpoints"

LAYOUT = 4
"""Of an entry; one that earlier code has left in another layout is passed over."""


def save(
    key: str,
    trained: nn.Module,
    optimizer: torch.optim.Optimizer,
    numbers: list[dict[str, Tensor]],
    progress: dict[str, Any],
    best: dict[str, Tensor] | None,
) -> None:
    """Keep where everything is; nothing without a key.

    With model, method and optimiser go the states of each process's random numbers, anything that JSON can hold, and the
    state of model and method after the best epoch so far.
    """
    if not key:
        return
    moved = optimizer.state_dict()
    parts = {"now": trained.state_dict(), "best": best or {}}
    parts |= {f"random.{rank}": state for rank, state in enumerate(numbers)}
    parts |= {f"optimizer.{number}": state for number, state in moved["state"].items()}
    tensors = {f"{part}/{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
    store.shared(KIND).put(key, tensors, {"layout": LAYOUT, "progress": progress, "groups": moved["param_groups"]})


def resume(
    key: str, trained: nn.Module, optimizer: torch.optim.Optimizer, numbers: RandomNumbers, rank: int
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Put everything back; returns the progress and the best epoch's state, or None if there is no checkpoint."""
    entry = store.shared(KIND).get(key) if key else None
    if entry is None or entry.record.get("layout") != LAYOUT:
        return None
    parts: dict[str, dict[str, Tensor]] = {}
    for place, tensor in entry.tensors.items():
        part, _, name = place.partition("/")
        parts.setdefault(part, {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {name: _laid_out_as(parameter, tensor) for name, tensor in parts[f"optimizer.{number}"].items()}
        for number, parameter in enumerate(parameters)
        if f"optimizer.{number}" in parts
    }
    put_back(trained, parts["now"])
    optimizer.load_state_dict({"state": state, "param_groups": entry.record["groups"]})
    numbers.restore(parts[f"random.{rank}"])
    return entry.record["progress"], parts.get("best", {})


def put_back(trained: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Some or all of a state of model and method; a method's buffers may have grown, or come into being, meanwhile."""
    here = next(trained.model.parameters()).device
    for place, tensor in tensors.items():
        owner, _, name = place.rpartition(".")
        part = trained.get_submodule(owner)
        if place.startswith("method.") and name not in part._parameters:
            part.register_buffer(name, tensor.to(here))
    trained.load_state_dict(tensors, strict=False)


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A moment in its parameter's memory layout (channels last, perhaps): the fused optimiser goes by memory."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
