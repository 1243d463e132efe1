"""How far a training run has come, on the disk: a killed process loses at most some seconds of work and not one bit."""

from __future__ import annotations

import io
import time
from typing import Any

import torch
from torch import nn

from tl_helpers import cache
from tl_helpers.runtime import RandomNumbers

EVERY = 10.0
"""Seconds between checkpoints (at the end of an epoch): at most about this much work is lost to a killed process."""

KIND = "checkpoints"


def due(last: float) -> bool:
    """Whether it is time for the next one; `last` is the ``time.perf_counter`` value of the one before."""
    return time.perf_counter() - last >= EVERY


def save(
    key: str, model: nn.Module, optimizer: torch.optim.Optimizer, numbers: RandomNumbers, progress: dict[str, Any]
) -> None:
    """Keep weights, the optimiser's state, `progress` and the random numbers' state; nothing without a key."""
    if not key:
        return
    content = progress | {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": numbers.state(),
    }
    file = io.BytesIO()
    torch.save(content, file)
    raw = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    cache.shared(KIND).put(key, {"checkpoint": raw})


def resume(
    key: str, model: nn.Module, optimizer: torch.optim.Optimizer, numbers: RandomNumbers
) -> dict[str, Any] | None:
    """Put everything back and return the progress, or None if there is no checkpoint."""
    entry = cache.shared(KIND).get(key) if key else None
    if entry is None:
        return None
    content = torch.load(
        io.BytesIO(entry.tensors["checkpoint"].numpy().tobytes()), map_location="cpu", weights_only=True
    )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    numbers.restore(content["random"])
    return content


def drop(key: str) -> None:
    """Forget it: the run is done, or begins anew."""
    if key:
        cache.shared(KIND).drop(key)
