"""Checks of chapter 12: how much of a source is kept, above chance, and weights between two states."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tl_helpers.exercises.checking import Hint, Wrong, exercise


@exercise(
    "kept-above-chance",
    wrong=[
        Wrong(
            "raw accuracies",
            """
def kept_above_chance(before, after, classes):
    return 100 * after / before
""",
            caught_by="by guessing",
        ),
        Wrong(
            "points lost",
            """
def kept_above_chance(before, after, classes):
    return before - after
""",
            caught_by="nothing was lost",
        ),
        Wrong(
            "a fraction",
            """
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    return (after - chance) / (before - chance)
""",
            caught_by="not as a fraction",
        ),
        Wrong(
            "chance of a fraction beside percentages",
            """
def kept_above_chance(before, after, classes):
    chance = 1 / classes
    return 100 * (after - chance) / (before - chance)
""",
            caught_by="same unit",
        ),
        Wrong(
            "cut off at 100",
            """
def kept_above_chance(before, after, classes):
    chance = 100 / classes
    return min(100.0, 100 * (after - chance) / (before - chance))
""",
            caught_by="can also gain",
        ),
    ],
)
def kept_above_chance(kept: Callable) -> None:
    """Of what the source had above chance, the share that is left, in %."""
    same = float(kept(60.0, 60.0, 4))
    if abs(same - 1) < 1e-9:
        raise Hint("Where nothing changed, 100 is kept: give the share in %, not as a fraction.")
    if abs(same - 100) > 1e-9:
        raise Hint(f"Accuracy as before means nothing was lost, so 100 is kept; yours is {same:g}.")
    guessing = float(kept(60.0, 25.0, 4))
    if abs(guessing - 100 * 25 / 60) < 1e-6:
        raise Hint("A model that knows nothing is right in 25 of 100 cases by guessing among 4: nothing is kept then.")
    if abs(guessing) > 1e-6:
        raise Hint("Accuracies are in %, so write chance among the classes in the same unit: 100 / classes.")
    half = float(kept(60.0, 42.5, 4))
    if abs(half - 50) > 1e-6:
        raise Hint(f"From 60 to 42.5 among 4 classes half of what was above chance is left; yours is {half:g}.")
    gained = float(kept(60.0, 67.0, 4))
    if abs(gained - 120) > 1e-6:
        raise Hint("A source can also gain: more than 100 is a finding, do not cut it off.")


@exercise(
    "averaged-weights",
    wrong=[
        Wrong(
            "parameters only",
            """
def averaged(before, after, share):
    return {n: after[n].clone() if "running" in n or not after[n].is_floating_point()
            else (1 - share) * before[n] + share * after[n] for n in after}
""",
            caught_by="statistics",
        ),
        Wrong(
            "counters averaged, too",
            """
def averaged(before, after, share):
    return {n: (1 - share) * before[n] + share * after[n] for n in after}
""",
            caught_by="counter",
        ),
        Wrong(
            "share turned round",
            """
def averaged(before, after, share):
    return {n: share * before[n] + (1 - share) * after[n] if after[n].is_floating_point() else after[n].clone()
            for n in after}
""",
            caught_by="share 0",
        ),
        Wrong(
            "in place",
            """
def averaged(before, after, share):
    for n in after:
        if after[n].is_floating_point():
            after[n].mul_(share).add_((1 - share) * before[n])
    return after
""",
            caught_by="changed",
        ),
    ],
)
def averaged_weights(averaged: Callable) -> None:
    """The straight line between two state dicts."""
    random = torch.Generator().manual_seed(4)
    before, after = ({
        "conv.weight": torch.randn(3, 2, generator=random),
        "norm.running_mean": torch.randn(3, generator=random),
        "norm.num_batches_tracked": torch.tensor(steps),
    } for steps in (7, 60))  # fmt: skip
    copies = [{name: tensor.clone() for name, tensor in state.items()} for state in (before, after)]
    found = {share: averaged(before, after, share) for share in (0.0, 0.25)}
    for state, copied in zip((before, after), copies, strict=True):
        if any(not torch.equal(state[name], copied[name]) for name in copied):
            raise Hint("Your function changed the states that it got: make new tensors, both are still needed.")
    for share, state in found.items():
        if set(state) != set(before):
            raise Hint(f"The result has the same names as the states; yours has {', '.join(sorted(state))}.")
        counter = state["norm.num_batches_tracked"]
        if counter.is_floating_point() or int(counter) != 60:
            raise Hint("num_batches_tracked is a whole number, a counter: take the one of after, do not average it.")
        weight = (1 - share) * before["conv.weight"] + share * after["conv.weight"]
        if not torch.allclose(state["conv.weight"], weight, atol=1e-6):
            raise Hint("With share 0 it is the model of before, with share 1 that of after, between them a line.")
        mean = (1 - share) * before["norm.running_mean"] + share * after["norm.running_mean"]
        if not torch.allclose(state["norm.running_mean"], mean, atol=1e-6):
            raise Hint("Batch norm's statistics are no parameters, but they belong to the weights: average them, too.")
