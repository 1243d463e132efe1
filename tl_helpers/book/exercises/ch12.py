"""Checks of chapter 12: how much of a source is kept, above chance, and weights between two states."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from tl_helpers.book.exercises.checking import Hint, exercise


@exercise("kept-above-chance")
def kept_above_chance(kept: Callable) -> None:
    """Of what the source had above chance, the share that is left, in %."""

    def ask(before: float, after: float, classes: int) -> float:
        number = np.asarray(kept(before, after, classes), dtype=float)
        if number.size != 1:
            raise Hint(f"One number for the two accuracies was asked for; yours are {number.size}.")
        return float(number.item())

    half = ask(60.0, 42.5, 4)
    if _near(half, 200):
        raise Hint("The fraction is turned over: what is left goes above the line, what was there before below it.")
    same = ask(60.0, 60.0, 4)
    if _near(half, 0.5) and _near(same, 1):
        raise Hint("Where nothing changed, 100 is kept: give the share in %, not as a fraction.")
    if _near(ask(60.0, 25.0, 4), 100) and _near(same, 0):
        raise Hint("That is the share that is lost: what is kept is the rest of 100.")
    if _near(same, 0) and _near(half, 17.5):
        raise Hint("Those are the points lost. Of what was above chance before, which share is still above it?")
    if _near(same, 35):
        raise Hint("Those are points above chance: divide by how far above chance the source was before.")
    if not _near(same, 100):
        raise Hint(f"Accuracy as before means nothing was lost, so 100 is kept; yours is {same:g}.")
    guessing = ask(60.0, 25.0, 4)
    if _near(guessing, 100 * 25 / 60):
        raise Hint("A model that knows nothing is right in 25 of 100 cases by guessing among 4: nothing is kept then.")
    if _near(guessing, 100 * (25 - 0.25) / (60 - 0.25)):
        raise Hint("Accuracies are in %, so write chance among the classes in the same unit: 100 / classes.")
    if not _near(guessing, 0):
        raise Hint(
            f"At chance, which is 25 % among 4 classes, nothing is kept; yours is {guessing:g}. What is your chance?"
        )
    if not _near(half, 50):
        raise Hint(f"From 60 to 42.5 among 4 classes half of what was above chance is left; yours is {half:g}.")
    gained = ask(60.0, 67.0, 4)
    if not _near(gained, 120):
        raise Hint("A source can also gain: more than 100 is a finding, do not cut it off.")
    below = ask(60.0, 20.0, 4)
    if below > 1e-3:
        raise Hint(
            f"An accuracy below chance is nothing above it: from 60 to 20 % among 4 classes, yours is {below:g}."
        )
    for before, after, classes in ((55.0, 32.0, 10), (90.0, 60.0, 2), (47.0, 40.0, 3), (81.0, 41.0, 100)):
        chance = 100 / classes
        wanted = 100 * (after - chance) / (before - chance)
        found = ask(before, after, classes)
        fixed = 100 * (after - 25) / (before - 25)
        if _near(found, fixed) and not _near(found, wanted):
            raise Hint(
                f"Among {classes} classes chance is {chance:.3g} %, not 25 %: it follows from `classes`. Kept is "
                f"{wanted:.1f} then; yours is {found:.1f}."
            )
        if not _near(found, wanted):
            raise Hint(
                f"Right among 4 classes, not among {classes}: from {before:g} to {after:g}, {wanted:.2f} is kept; yours is "
                f"{found:.2f}. Is something rounded on the way?"
            )


def _near(found: float, wanted: float) -> bool:
    return abs(found - wanted) < 1e-3 * max(1, abs(wanted))


@exercise("averaged-weights")
def averaged_weights(averaged: Callable) -> None:
    """The straight line between two state dicts."""
    random = torch.Generator().manual_seed(4)
    before, after = ({
        "conv.weight": torch.randn(3, 2, generator=random),
        "norm.running_mean": torch.randn(3, generator=random),
        "norm.running_var": torch.rand(3, generator=random) + 0.5,
        "norm.num_batches_tracked": torch.tensor(steps),
        "places": torch.tensor([steps, 0]),
    } for steps in (7, 60))  # fmt: skip
    copies = [{name: tensor.clone() for name, tensor in state.items()} for state in (before, after)]
    given = dict(before), dict(after)
    found = {}
    for share in (0.25, 0.0, 1.0):
        state = averaged(*given, share)
        for mine, kept, copied in zip(given, (before, after), copies, strict=True):
            if set(mine) != set(copied) or any(
                mine[name] is not kept[name] or not torch.equal(mine[name], copied[name]) for name in copied
            ):
                raise Hint("Your function changed the states that it got: make new tensors, both are still needed.")
        found[share] = _state(state, before)
    for share, state in found.items():
        _on_the_line(share, state, before, after)


def _state(found: object, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if not isinstance(found, Mapping):
        raise Hint(f"Return a dictionary from name to tensor, as a state dict is; yours is a {type(found).__name__}.")
    if set(found) != set(like):
        raise Hint(f"The result has the same names as the states; yours has {', '.join(sorted(map(str, found)))}.")
    for name, tensor in like.items():
        if not isinstance(found[name], torch.Tensor) or found[name].shape != tensor.shape:
            raise Hint(f"{name!r} should be a tensor of shape {tuple(tensor.shape)}, as in the states.")
    return dict(found)


def _on_the_line(share: float, state: dict, before: dict, after: dict) -> None:
    counter = state["norm.num_batches_tracked"]
    if counter.is_floating_point() or int(counter) != 60:
        raise Hint("num_batches_tracked is a whole number, a counter: take the one of after, do not average it.")
    if state["places"].is_floating_point() or not torch.equal(state["places"], after["places"]):
        raise Hint("`places` holds whole numbers, too, under a name of its own: decide by the type, not by the name.")

    def line(name: str, share: float) -> torch.Tensor:
        return (1 - share) * before[name] + share * after[name]

    name = "conv.weight"
    if not torch.allclose(state[name], line(name, share), atol=1e-5):
        if torch.allclose(state[name], line(name, 1 - share), atol=1e-5):
            raise Hint("The share is turned round: with share 0 it is the model of before, with 1 that of after.")
        if any(torch.allclose(state[name], line(name, fixed), atol=1e-5) for fixed in (0.0, 0.5, 1.0)):
            raise Hint(
                f"Your result for share {share:g} is another point of the line: it does not go by the `share` given."
            )
        raise Hint("With share 0 it is the model of before, with share 1 that of after, between them a straight line.")
    for name in ("norm.running_mean", "norm.running_var"):
        if not torch.allclose(state[name], line(name, share), atol=1e-5):
            raise Hint("Batch norm's statistics are no parameters, but they belong to the weights: average them, too.")
