"""Checks of chapter 4: discriminative learning rates, and the penalty of L2-SP."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from tl_helpers import runtime
from tl_helpers.book.exercises.checking import Hint, exercise

_FROZEN = (0, 2)
_TRAINED = (1, 3, 4)


def _parts() -> list[nn.Module]:
    with runtime.RandomNumbers(0):
        parts = [nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)]
    for n in _FROZEN:
        parts[n].requires_grad_(False)
    return parts


@exercise("discriminative-rates")
def discriminative_rates(rate_groups: Callable) -> None:
    """Each trainable parameter is in one group, at lr * decay ** (steps below the head); any number of groups a part."""
    parts = _parts()
    groups = _groups(rate_groups(list(parts), 0.1, 0.5))
    rate_of: dict[int, float] = {}
    for parameters, rate in groups:
        for parameter in parameters:
            if id(parameter) in rate_of:
                raise Hint("One parameter is in two groups: the optimiser would refuse that. Give each part one group.")
            rate_of[id(parameter)] = rate
    if any(id(p) in rate_of for n in _FROZEN for p in parts[n].parameters()):
        raise Hint("Parameters that ask for no gradient are among the groups. Leave the frozen parts out.")
    absent = [n for n in _TRAINED if any(id(p) not in rate_of for p in parts[n].parameters())]
    if absent:
        raise Hint(f"Part {absent[0]} is trainable, but not all of its parameters are in a group (weights and biases).")
    rates = [rate_of[id(next(parts[n].parameters()))] for n in _TRAINED]
    if any(
        not _close([rate_of[id(p)]], [rate])
        for n, rate in zip(_TRAINED, rates, strict=True)
        for p in parts[n].parameters()
    ):
        raise Hint(
            "Weights and biases of one part train at different rates: step down from part to part, not per tensor."
        )
    wanted = [0.1 * 0.5**steps for steps in (3, 1, 0)]
    if _close(rates, wanted):
        order = [rate for _, rate in groups]
        if any(low > high + 1e-9 for low, high in itertools.pairwise(order)):
            raise Hint("The rates are right, but the groups should come in order from input to head.")
        _other_rates(rate_groups)
        return
    if _close(rates, [0.1] * 3):
        raise Hint("All parts train at one rate: decay has no effect. Multiply by decay once for each step down.")
    if _close(rates, [0.1 * 0.5**steps for steps in (2, 1, 0)]):
        raise Hint(
            "The frozen part in the middle was not counted as a step: it gets no group, but the part below it is still two "
            f"steps from the part above. From input to head the rates should be {wanted}; yours are {_short(rates)}."
        )
    if rates[0] > rates[-1]:
        raise Hint(
            "The rates are the wrong way round: the head is new and trains fastest, the early stages are general "
            "and train slowest."
        )
    if not _close(rates[-1:], [0.1]):
        raise Hint("The head trains at lr itself; the first multiplication with decay belongs to the part below it.")
    raise Hint(f"The rates of the trainable parts, input to head, should be {wanted}; yours are {_short(rates)}.")


def _groups(found: object) -> list[tuple[list[torch.Tensor], float]]:
    """(parameters, rate) of each group that holds any, as a torch optimiser reads them."""
    groups = []
    for group in found if isinstance(found, Iterable) and not isinstance(found, Mapping) else [None]:
        if not isinstance(group, Mapping) or not {"params", "lr"} <= set(group):
            raise Hint('Return a list of groups, each a dictionary {"params": [...], "lr": rate}.')
        held = [group["params"]] if isinstance(group["params"], torch.Tensor) else list(group["params"])
        held = [p[1] if isinstance(p, tuple) else p for p in held]  # torch takes (name, parameter), too
        if not all(isinstance(p, torch.Tensor) for p in held):
            raise Hint("A group's params are parameters, the tensors in part.parameters(), not modules or names.")
        if held:
            groups.append((held, float(group["lr"])))
    return groups


def _other_rates(rate_groups: Callable) -> None:
    """With another lr, decay and number of parts, all of them trainable."""
    with runtime.RandomNumbers(0):
        parts = [nn.Linear(2, 2) for _ in range(3)]
    rate_of = {id(p): rate for parameters, rate in _groups(rate_groups(list(parts), 0.02, 0.8)) for p in parameters}
    found = [rate_of.get(id(part.weight), float("nan")) for part in parts]
    wanted = [0.02 * 0.8**steps for steps in (2, 1, 0)]
    if not _close(found, wanted):
        raise Hint(
            f"Right for lr = 0.1, decay = 0.5 and five parts only. For 0.02, 0.8 and three parts the rates should be "
            f"{_short(wanted)}; yours are {_short(found)}."
        )


@exercise("l2-sp")
def l2_sp(l2_sp_penalty: Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], float], torch.Tensor]) -> None:
    """alpha / 2 * sum of squared distances, differentiable in the weights only."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(3, 2, generator=generator), torch.randn(4, generator=generator)]
    parameters = [(s + torch.randn(s.shape, generator=generator)).requires_grad_() for s in start]
    kept, moved = [s.clone() for s in start], [p.detach().clone() for p in parameters]
    for s in start:
        s.requires_grad_()  # as the parameters of a second model would
    penalty = l2_sp_penalty(list(parameters), list(start), 0.3)
    if not isinstance(penalty, torch.Tensor) or penalty.numel() != 1:
        got = f"{tuple(penalty.shape)}" if isinstance(penalty, torch.Tensor) else f"{type(penalty).__name__}"
        raise Hint(f"Return one number as a tensor (so that it has a gradient); you returned {got}.")
    pairs = list(zip(moved, kept, strict=True))
    value, wanted = float(penalty.detach()), 0.15 * _total((p - s) ** 2 for p, s in pairs)
    if _near(value, 0.15 * _total(p**2 for p in moved)):
        raise Hint("This pulls the weights towards 0: that is weight decay. L2-SP pulls towards where they started.")
    if _near(value, 2 * wanted):
        raise Hint(
            "Your penalty is twice what was asked for: half of alpha, so that its gradient is alpha * (w - start)."
        )
    distance = wanted / 0.15
    lengths = (_total((p - s).abs() for p, s in pairs), sum(float((p - s).norm()) for p, s in pairs), distance**0.5)
    if any(_near(value, share * length) for share in (0.15, 0.3) for length in lengths):
        raise Hint("That is a distance, not a squared one: square each difference, so that the pull grows with it.")
    if not _near(value, wanted):
        raise Hint(f"For the check's weights the penalty is {wanted:.4f}, yours {value:.4f}: a sum over all weights?")
    if any(not torch.equal(p.detach(), m) for p, m in zip([*parameters, *start], [*moved, *kept], strict=True)):
        raise Hint(
            "Your function changes the weights or the start in place: compute the difference, do not store it there."
        )
    if penalty.requires_grad:
        penalty.sum().backward()
    if any(p.grad is None for p in parameters):
        raise Hint("The value is right, but no gradient flows into the weights: do not detach them.")
    if any(s.grad is not None and s.grad.any() for s in start):
        raise Hint("Gradients flow into the start as well, so that training would move it: detach the start.")
    if any(not torch.allclose(p.grad, 0.3 * (m - s), atol=1e-5) for p, (m, s) in zip(parameters, pairs, strict=True)):
        raise Hint("The value is right, but its gradient is not alpha * (w - start).")
    _where_training_begins(l2_sp_penalty, kept)


def _where_training_begins(l2_sp_penalty: Callable, start: list[torch.Tensor]) -> None:
    weights = [s.clone().requires_grad_() for s in start]
    l2_sp_penalty(list(weights), [s.clone() for s in start], 0.3).sum().backward()
    if not all(p.grad is not None and p.grad.isfinite().all() for p in weights):
        raise Hint(
            "At the start itself, where fine-tuning begins, your gradient is NaN: a square root has no slope at 0. "
            "The squared distance needs none."
        )


def _short(rates: Sequence[float]) -> list[float]:
    return [round(rate, 6) for rate in rates]


def _total(tensors: Iterable[torch.Tensor]) -> float:
    return sum(float(t.sum()) for t in tensors)


def _near(value: float, other: float) -> bool:
    return abs(value - other) < 1e-4 * max(1.0, abs(other))


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(abs(a - b) < 1e-6 for a, b in zip(one, other, strict=True))
