"""Checks of chapter 10: the inner loop that can be differentiated, and Reptile's step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.func import grad

from tl_helpers.book.exercises.checking import Hint, exercise


def _task(seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    weights = {
        "weight": torch.randn(3, 1, generator=random, dtype=torch.float64),
        "bias": torch.randn(1, generator=random, dtype=torch.float64),
    }
    x = torch.randn(6, 3, generator=random, dtype=torch.float64)
    return weights, x, torch.randn(6, 1, generator=random, dtype=torch.float64)


def _loss(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return ((x @ weights["weight"] + weights["bias"] - y) ** 2).mean()


def _after(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor, rate: float, steps: int) -> dict:
    for _ in range(steps):
        slope = grad(_loss)(weights, x, y)
        weights = {name: w - rate * slope[name] for name, w in weights.items()}
    return weights


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(torch.as_tensor(one[name]), w, rtol=1e-7, atol=1e-10) for name, w in other.items())


@exercise("inner-loop")
def inner_loop(inner_loop: Callable) -> None:
    """Gradient descent that returns new weights and keeps the way back to the old ones."""
    weights, x, y = _task(0)
    given = dict(weights)
    found = inner_loop(_loss, given, x, y, 0.1, 3)
    if not isinstance(found, dict) or set(found) != set(weights):
        raise Hint("Return a dictionary with the same names as the weights that came in.")
    if any(given[name] is not w for name, w in weights.items()):
        raise Hint(
            "Your function changes the dictionary that it was given: the start must stay as it was. Make a new one."
        )
    right = _after(weights, x, y, 0.1, 3)
    if not _same(found, right):
        if _loss(found, x, y) > _loss(weights, x, y):
            raise Hint("The loss rises: go downhill, against the slope.")
        if _same(found, _after(weights, x, y, 0.1, 1)):
            raise Hint("Mind the number of steps: after three the weights are still those after one.")
        raise Hint("Not where three steps lead. Is the slope computed anew at the weights of each step?")
    wx, wy = _task(1)[1:]

    def query(start: dict, loop: Callable) -> torch.Tensor:
        return _loss(loop(start), wx, wy)

    found = grad(query)(weights, lambda start: inner_loop(_loss, dict(start), x, y, 0.1, 3))
    wanted = grad(query)(weights, lambda start: _after(start, x, y, 0.1, 3))
    if not _same(found, wanted):
        raise Hint(
            "The adapted weights are right, but the gradient through them is not: the second order is lost. "
            "Something in the loop is detached, or computed without a graph."
        )


@exercise("reptile-step")
def reptile_step(reptile_step: Callable) -> None:
    """A share of the way to the mean of the adapted weights."""
    weights = _task(0)[0]
    adapted = [_task(seed)[0] for seed in (3, 4, 5)]
    found = reptile_step({**weights}, [{**a} for a in adapted], 0.25)
    if not isinstance(found, dict) or set(found) != set(weights):
        raise Hint("Return a dictionary with the same names as the weights that came in.")

    def moved(share: float, to: list) -> dict:
        return {name: w + share * (sum(a[name] for a in to) / len(to) - w) for name, w in weights.items()}

    if _same(found, moved(0.25, adapted)):
        return
    if _same(found, moved(-0.25, adapted)):
        raise Hint("That leads away from the tasks' weights: the start has to move towards them.")
    if _same(found, moved(0.75, adapted)):
        raise Hint("That is as many times too far as there are tasks: take the mean over the tasks.")
    if _same(found, moved(1, adapted)):
        raise Hint("That goes all the way: move only a share of it, or the start forgets all earlier tasks.")
    if any(_same(found, moved(0.25, [a])) for a in adapted):
        raise Hint("One task alone decided: every task of the batch has its say.")
    raise Hint("Start + share * (mean of the adapted weights - start), name by name.")
