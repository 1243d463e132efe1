"""Checks of chapter 4: discriminative learning rates, and the slanted triangle."""

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


@exercise("slanted-triangle")
def slanted_triangle(slanted_triangle: Callable[[int, int, float, float, float], float]) -> None:
    """peak * (1 + p * (ratio - 1)) / ratio, with p from 0 up to 1 at share * steps and back to 0 at steps."""
    for peak, share, ratio, steps in ((0.01, 0.1, 32.0, 200), (0.004, 0.25, 10.0, 80)):
        top = round(share * steps)
        wanted = {
            step: _slanted(step, steps, peak, share, ratio)
            for step in (0, top // 2, top, (top + steps) // 2, steps - 1)
        }
        found = {}
        for step in wanted:
            value = slanted_triangle(step, steps, peak, share, ratio)
            if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
                raise Hint(f"Return one number, the rate of this step; you returned {type(value).__name__}.")
            found[step] = float(value)
        where = f"peak {peak:g}, share {share:g}, ratio {ratio:g}, {steps} steps"
        if _at(found[0], 0.0):
            raise Hint(f"The first rate is 0: it starts at peak / ratio, here {peak / ratio:g} ({where}).")
        if _at(found[0], peak):
            raise Hint("It begins at the peak, where the head is still random. First p rises from 0 to 1.")
        if all(_at(found[step], wanted[step] / peak) for step in wanted):
            raise Hint("The shape is right, but it is not multiplied by the peak rate.")
        if not _at(found[top], peak):
            raise Hint(
                f"The peak {peak:g} is due at step share * steps = {top}; your rate there is {found[top]:g} ({where})."
            )
        wrong = [step for step in wanted if not _at(found[step], wanted[step])]
        if wrong and wrong[0] > top:
            raise Hint(
                f"The way up is right. On the way down p is 1 at step {top} and 0 at step {steps}: at step {wrong[0]} "
                f"the rate should be {wanted[wrong[0]]:g}, yours is {found[wrong[0]]:g} ({where})."
            )
        if wrong:
            step = wrong[0]
            raise Hint(f"At step {step} the rate should be {wanted[step]:g}, yours is {found[step]:g} ({where}).")


def _slanted(step: int, steps: int, peak: float, share: float, ratio: float) -> float:
    top = share * steps
    p = step / top if step <= top else (steps - step) / (steps - top)
    return peak * (1 + p * (ratio - 1)) / ratio


def _at(value: float, other: float) -> bool:
    return abs(value - other) < 1e-6


def _short(rates: Sequence[float]) -> list[float]:
    return [round(rate, 6) for rate in rates]


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(abs(a - b) < 1e-6 for a, b in zip(one, other, strict=True))
