"""Checks of chapter 4: discriminative learning rates, and the penalty of L2-SP."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from tl_helpers import runtime
from tl_helpers.book.exercises.checking import Hint, exercise


def _parts() -> list[nn.Module]:
    with runtime.RandomNumbers(0):
        parts = [nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2)]
    parts[0].requires_grad_(False)
    return parts


@exercise("discriminative-rates")
def discriminative_rates(rate_groups: Callable) -> None:
    """Each trainable parameter is in one group, at lr * decay ** (steps below the head)."""
    parts = _parts()
    groups = list(rate_groups(parts, 0.1, 0.5))
    rate_of: dict[int, float] = {}
    for group in groups:
        for parameter in group["params"]:
            if id(parameter) in rate_of:
                raise Hint("One parameter is in two groups: the optimiser would refuse that. Give each part one group.")
            rate_of[id(parameter)] = group["lr"]
    if any(id(p) in rate_of for p in parts[0].parameters()):
        raise Hint("Parameters that ask for no gradient are among the groups. Leave the frozen part out.")
    absent = [n for n, part in enumerate(parts[1:], start=1) if any(id(p) not in rate_of for p in part.parameters())]
    if absent:
        raise Hint(f"Part {absent[0]} is trainable, but not all of its parameters are in a group (weights and biases).")
    rates = [rate_of[id(next(part.parameters()))] for part in parts[1:]]
    wanted = [0.1 * 0.5**steps for steps in (2, 1, 0)]
    if _close(rates, wanted):
        if not _close([group["lr"] for group in groups], wanted):
            raise Hint("The rates are right, but the groups should come in order from input to head.")
        return
    if _close(rates, [0.1] * 3):
        raise Hint("All parts train at one rate: decay has no effect. Multiply by decay once for each step down.")
    if rates[0] > rates[-1]:
        raise Hint(
            "The rates are the wrong way round: the head is new and trains fastest, the early stages are general "
            "and train slowest."
        )
    if not _close(rates[-1:], [0.1]):
        raise Hint("The head trains at lr itself; the first multiplication with decay belongs to the part below it.")
    raise Hint(f"From the second part to the head the rates should be {wanted}; yours are {rates}.")


@exercise("l2-sp")
def l2_sp(l2_sp_penalty: Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], float], torch.Tensor]) -> None:
    """alpha / 2 * sum of squared distances, differentiable in the weights only."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(3, 2, generator=generator), torch.randn(4, generator=generator)]
    parameters = [(s + torch.randn(s.shape, generator=generator)).requires_grad_() for s in start]
    penalty = l2_sp_penalty(parameters, start, 0.3)
    if not isinstance(penalty, torch.Tensor) or penalty.numel() != 1:
        raise Hint(f"Return one number as a tensor (so that it has a gradient); you returned {type(penalty).__name__}.")
    distance = sum(float(((p.detach() - s) ** 2).sum()) for p, s in zip(parameters, start, strict=True))
    value, wanted = float(penalty.detach()), 0.15 * distance
    if abs(value - 0.15 * sum(float((p.detach() ** 2).sum()) for p in parameters)) < 1e-6:
        raise Hint("This pulls the weights towards 0: that is weight decay. L2-SP pulls towards where they started.")
    if abs(value - 2 * wanted) < 1e-6:
        raise Hint(
            "Your penalty is twice what was asked for: half of alpha, so that its gradient is alpha * (w - start)."
        )
    if abs(value - wanted) > 1e-5:
        raise Hint(f"For the check's weights the penalty is {wanted:.4f}, yours {value:.4f}: a sum over all weights?")
    if not penalty.requires_grad:
        raise Hint("The value is right, but no gradient flows into the weights: do not detach them.")
    gradients = torch.autograd.grad(penalty, parameters)
    if any(
        not torch.allclose(g, 0.3 * (p - s), atol=1e-6) for g, p, s in zip(gradients, parameters, start, strict=True)
    ):
        raise Hint("The value is right, but its gradient is not alpha * (w - start).")


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(abs(a - b) < 1e-9 for a, b in zip(one, other, strict=True))
