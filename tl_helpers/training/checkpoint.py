"""How far a training run has come, on the disk: a killed process loses at most some seconds of work and not one bit."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from tl_helpers import store
from tl_helpers.runtime import RandomNumbers

EVERY = 10.0
"""Seconds between checkpoints (at the end of an epoch): at most about this much work is lost to a killed process."""

KIND = "checkpoints"

LAYOUT = 2
"""Of an entry; one that earlier code has left in another layout is passed over."""


def due(last: float) -> bool:
    """Whether it is time for the next one; `last` is the ``time.perf_counter`` value of the one before."""
    return time.perf_counter() - last >= EVERY


def save(
    key: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    numbers: RandomNumbers,
    progress: dict[str, Any],
    best: dict[str, Tensor] | None = None,
) -> None:
    """Keep where everything is; nothing without a key.

    Parameters
    ----------
    key : str
        Of the run.
    model : Trained
        Model and method.
    optimizer : torch.optim.Optimizer
    numbers : RandomNumbers
    progress : dict
        Anything JSON can hold.
    best : dict of str to torch.Tensor, optional
        Weights of the best epoch so far.
    """
    if not key:
        return
    moved = optimizer.state_dict()
    parts = {"model": model.state_dict(), "best": best or {}, "random": numbers.state()}
    parts |= {f"optimizer.{number}": state for number, state in moved["state"].items()}
    tensors = {f"{part}/{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
    store.shared(KIND).put(key, tensors, {"layout": LAYOUT, "progress": progress, "groups": moved["param_groups"]})


def resume(
    key: str, model: nn.Module, optimizer: torch.optim.Optimizer, numbers: RandomNumbers
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Put everything back; returns the progress and the best epoch's weights, or None if there is no checkpoint."""
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
    model.load_state_dict(
        {name: tensor for name, tensor in parts["model"].items() if name.startswith("model.")}, strict=False
    )
    own = {
        name.removeprefix("method."): tensor for name, tensor in parts["model"].items() if name.startswith("method.")
    }
    load_method(model.method, own)
    optimizer.load_state_dict({"state": state, "param_groups": entry.record["groups"]})
    numbers.restore(parts["random"])
    return entry.record["progress"], parts.get("best", {})


def load_method(method: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Bring back what a method had learned and noted; its buffers may have grown, or come into being, meanwhile."""
    for place, tensor in tensors.items():
        owner, _, name = place.rpartition(".")
        part = method.get_submodule(owner)
        if name in part._buffers:
            now = part._buffers[name]
            part._buffers[name] = tensor if now is None else tensor.to(now.device)
        else:
            part.get_parameter(name).data.copy_(tensor)


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A moment in its parameter's memory layout (channels last, perhaps): the fused optimiser goes by memory."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor


def drop(key: str) -> None:
    """Forget it: the run is done, or begins anew."""
    if key:
        store.shared(KIND).drop(key)
