"""The trained weights of a model, and their gradients, as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tl_helpers.models import Classifier


def trained(model: Classifier) -> list[nn.Parameter]:
    """The parameters above the freeze line, from input to head."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """One vector, shape (P,), without gradient."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def gradients(model: Classifier) -> Tensor:
    """The gradients that are there, as one vector, shape (P,); 0 where a parameter has none."""
    return flat([torch.zeros_like(p) if p.grad is None else p.grad for p in trained(model)])


def add_to_gradients(model: Classifier, vector: Tensor) -> None:
    """Add a vector, shape (P,), to the gradients that are there."""
    start = 0
    for parameter in trained(model):
        part = vector[start : start + parameter.numel()].view_as(parameter)
        parameter.grad = part.clone() if parameter.grad is None else parameter.grad.add_(part)
        start += parameter.numel()
