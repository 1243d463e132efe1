"""Checks of chapter 10: the inner loop that can be differentiated, and Reptile's step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch.func import grad

from tl_helpers.book.exercises.checking import Hint, exercise, refuses

Weights = dict[str, torch.Tensor]


def _task(seed: int) -> tuple[Weights, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    weights = {
        "weight": torch.randn(3, 1, generator=random, dtype=torch.float64),
        "bias": torch.randn(1, generator=random, dtype=torch.float64),
    }
    x = torch.randn(6, 3, generator=random, dtype=torch.float64)
    return weights, x, torch.randn(6, 1, generator=random, dtype=torch.float64)


def _loss(weights: Weights, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return ((x @ weights["weight"] + weights["bias"] - y) ** 2).mean()


def _curved(weights: Weights, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Another loss of weights of another name."""
    return ((torch.tanh(x @ weights["slope"]) - y) ** 4).mean()


def _after(loss: Callable, weights: Weights, x: torch.Tensor, y: torch.Tensor, rate: float, steps: int) -> Weights:
    for _ in range(steps):
        slope = grad(loss)(weights, x, y)
        weights = {name: w - rate * slope[name] for name, w in weights.items()}
    return weights


def _same(one: Mapping[str, torch.Tensor], other: Weights) -> bool:
    return all(torch.allclose(_plain(one[name]), w.detach(), rtol=1e-5, atol=1e-6) for name, w in other.items())


def _plain(value: object) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64).detach()


def _weights(found: object, like: Weights) -> Mapping[str, torch.Tensor]:
    if not isinstance(found, Mapping) or set(found) != set(like):
        raise Hint("Return a dictionary with the same names as the weights that came in.")
    for name, w in like.items():
        if _plain(found[name]).shape != w.shape:
            raise Hint(
                f"{name!r} comes out with shape {tuple(_plain(found[name]).shape)}; weights keep theirs, {tuple(w.shape)}."
            )
    return found


def _copied(weights: Weights) -> Weights:
    return {name: w.detach().clone() for name, w in weights.items()}


@exercise("inner-loop")
def inner_loop(inner_loop: Callable) -> None:
    """Gradient descent that returns new weights and keeps the way back to the old ones."""
    weights, x, y = _task(0)
    found = _walked(inner_loop, _loss, weights, x, y, 0.1, 3)
    right = _after(_loss, weights, x, y, 0.1, 3)
    if not _same(found, right):
        _where_it_went(found, weights, x, y)
        raise Hint("Not where three steps lead. Is the slope computed anew at the weights of each step?")
    start = {"slope": weights["weight"] / 2}
    if not _same(_walked(inner_loop, _curved, start, x, y, 0.02, 2), _after(_curved, start, x, y, 0.02, 2)):
        raise Hint(
            "Right for one case only. With another `loss`, other names, rate = 0.02 and steps = 2 the weights are not where "
            "gradient descent leads: use what your function is given, and write none of it down."
        )
    _way_back(inner_loop, weights, x, y)


def _walked(inner_loop: Callable, loss: Callable, weights: Weights, *rest: object) -> Mapping[str, torch.Tensor]:
    """The adapted weights from plain ones, or, where the reader uses autograd.grad on them, from such with a gradient."""
    for gradient in (False, True):
        own = {name: w.clone().requires_grad_() * 1 if gradient else w.clone() for name, w in weights.items()}
        given, found = dict(own), []
        if not gradient and refuses(lambda: found.append(inner_loop(loss, given, *rest)), RuntimeError):  # noqa: B023
            continue
        if gradient:
            found.append(inner_loop(loss, given, *rest))
        if set(given) != set(own) or any(given[name] is not w for name, w in own.items()):
            raise Hint(
                "Your function changes the dictionary that it was given: the start must stay as it was. Make a new one."
            )
        if not _same(own, weights):
            raise Hint(
                "Your function changes the tensors of the start in place (-=, sub_ or an optimiser do): the start must stay "
                "as it was. Write w - rate * slope, which makes a new tensor."
            )
        return _weights(found[0], weights)
    raise AssertionError  # the second round returns or raises


def _where_it_went(found: Mapping[str, torch.Tensor], weights: Weights, x: torch.Tensor, y: torch.Tensor) -> None:
    """Raise the hint for weights to which a common mistake leads."""
    if _same(found, weights):
        raise Hint("The weights come out as they went in: keep the new ones at the end of each step.")
    still = [name for name, w in weights.items() if torch.equal(_plain(found[name]), w)]
    if still:
        raise Hint(f"{still[0]!r} comes out as it went in: every name in the dictionary takes its step.")
    if any(_same(found, _after(_loss, weights, x, y, 1.0, steps)) for steps in (1, 3)):
        raise Hint("That is a rate of 1: multiply the slope by `rate`.")
    if _loss({name: _plain(w) for name, w in found.items()}, x, y) > _loss(weights, x, y):
        raise Hint("The loss rises: go downhill, against the slope.")
    for steps, number in ((1, "one"), (2, "two"), (4, "four")):
        if _same(found, _after(_loss, weights, x, y, 0.1, steps)):
            raise Hint(f"Mind the number of steps: after three the weights are those that belong after {number}.")
    if any(
        _same(found, _one_name_after_the_other(names, weights, x, y)) for names in (list(weights), list(weights)[::-1])
    ):
        raise Hint("All weights move at once: compute the slopes of all of them before any of them is changed.")


def _one_name_after_the_other(names: Sequence[str], weights: Weights, x: torch.Tensor, y: torch.Tensor) -> Weights:
    for _ in range(3):
        for name in names:
            weights = {**weights, name: weights[name] - 0.1 * grad(_loss)(weights, x, y)[name]}
    return weights


def _way_back(inner_loop: Callable, weights: Weights, x: torch.Tensor, y: torch.Tensor) -> None:
    """The gradient of a query loss after the inner loop, in the weights before it."""
    query = _task(1)[1:]
    found: list[Weights] = []

    def through(start: Weights) -> torch.Tensor:
        return _loss(inner_loop(_loss, dict(start), x, y, 0.1, 3), *query)

    if refuses(lambda: found.append(grad(through)(_copied(weights))), RuntimeError):
        raise Hint(
            "The adapted weights are right, but torch.func.grad cannot go through your function. Under it, "
            "requires_grad_(), backward(), optimisers and numbers taken out of tensors are not possible: take "
            "the slope with torch.func.grad."
        )
    if not _same(found[0], grad(lambda start: _loss(_after(_loss, start, x, y, 0.1, 3), *query))(weights)):
        raise Hint(
            "The adapted weights are right, but the gradient through them is not: the second order is lost. "
            "Something in the loop is detached, or computed without a graph."
        )


@exercise("reptile-step")
def reptile_step(reptile_step: Callable) -> None:
    """A share of the way to the mean of the adapted weights; in place or not."""
    weights = _task(0)[0]
    adapted = [_task(seed)[0] for seed in (3, 4, 5)]

    def ask(weights: Weights, adapted: list[Weights], share: float) -> Mapping[str, torch.Tensor]:
        return _weights(reptile_step(_copied(weights), [_copied(a) for a in adapted], share), weights)

    def moved(share: float, to: list[Weights], start: float = 1.0) -> Weights:
        return {name: start * w + share * (sum(a[name] for a in to) / len(to) - w) for name, w in weights.items()}

    found = ask(weights, adapted, 0.2)
    if not _same(found, moved(0.2, adapted)):
        _which_way(found, weights, adapted, moved)
        raise Hint("Start + share * (mean of the adapted weights - start), name by name.")
    other = {"slope": torch.tensor([1.0, 3.0], dtype=torch.float64)}
    ends = [{"slope": torch.tensor(end, dtype=torch.float64)} for end in ([2.0, 3.0], [4.0, 5.0])]
    if not _same(ask(other, ends, 0.5), {"slope": torch.tensor([2.0, 3.5], dtype=torch.float64)}):
        raise Hint(
            "Right for three tasks and a share of 0.2 only. With two tasks, a share of 0.5 and weights of another name it "
            "is not: count the tasks, and use the share that is given."
        )


def _which_way(found: Mapping[str, torch.Tensor], weights: Weights, adapted: list[Weights], moved: Callable) -> None:
    """Raise the hint for weights to which a common mistake leads."""
    if _same(found, weights):
        raise Hint("The start comes back unmoved: return the new weights.")
    if _same(found, moved(-0.2, adapted)):
        raise Hint("That leads away from the tasks' weights: the start has to move towards them.")
    summed = {name: 0.8 * w + 0.2 * sum(a[name] for a in adapted) for name, w in weights.items()}
    if _same(found, moved(0.6, adapted)) or _same(found, summed):
        raise Hint("That is as many times too far as there are tasks: take the mean over the tasks.")
    if _same(found, moved(1, adapted)):
        raise Hint("That goes all the way: move only a share of it, or the start forgets all earlier tasks.")
    if _same(found, moved(0.8, adapted)):
        raise Hint("The share is turned round: 0 leaves the start where it is, 1 goes to the mean.")
    if _same(found, moved(0.2, adapted, start=1.2)):
        raise Hint("You add a share of the mean itself: it is a share of the way there, mean - start.")
    if any(_same(found, moved(0.2, adapted, start=start)) for start in (0.0, 0.2)):
        raise Hint("Only the step comes back, without the start: the new start is the old one plus the step.")
    if any(_same(found, moved(0.2, [a])) for a in adapted):
        raise Hint("One task alone decided: every task of the batch has its say.")
    for share in (0.2, 0.2 / 3):
        after = weights
        for task in adapted:
            after = {name: w + share * (task[name] - w) for name, w in after.items()}
        if _same(found, after):
            raise Hint(
                "You move once a task, each time from where the last move ended, so that the last task counts most. Take "
                "the mean of all tasks first, then one step."
            )
