"""Checks of chapter 12: how much of a source is kept, above chance, and weights between two states."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tl_helpers.book.exercises.checking import Hint, exercise


@exercise("kept-above-chance")
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


@exercise("averaged-weights")
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
