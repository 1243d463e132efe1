"""Learning-rate range test (Smith 2017): let the rate grow from step to step on a copy, and watch the loss."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np

from tl_helpers import freezing, runtime
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training.inputs import Batches
from tl_helpers.training.loop import Trained, optimizer_of, train
from tl_helpers.training.method import Method
from tl_helpers.training.recipe import Recipe
from tl_helpers.training.watcher import Watcher

DIVERGED_AT = 4.0
"""The test stops where the smoothed loss is this many times the best so far (as fastai does)."""

SMOOTHING = 0.85


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw.

    Attributes
    ----------
    rates, losses, smoothed : tuple of float
        One value a step; `smoothed` is the bias-corrected exponential average of `losses`.
    suggestion : float or None
        A tenth of the rate at which the smoothed loss was lowest; None where the curve holds no advice.
    note : str
        What the suggestion rests on, or why there is none.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    note: str


def range_test(
    model: Classifier,
    samples: Samples,
    recipe: Recipe,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 60,
    seed: int = 0,
) -> RangeTest:
    """Train a copy of the model for a few steps while the rate grows from `low` to `high`; the model itself is untouched.

    A ValueError for a range that is none, or fewer than ten steps.

    Parameters
    ----------
    model : Classifier
    samples : Samples
    recipe : Recipe
        Batch size, freeze depth, layer decay, augmentation and loss are taken from it; epochs, rate and schedule are not.
    low, high : float
        First and last rate (of the head); the rate grows by the same factor each step.
    steps : int
        At least 10.
    """
    if not 0 < low < high < math.inf:
        raise ValueError(f"low={low}, high={high}: use two rates with 0 < low < high.")
    if steps < 10:
        raise ValueError(f"steps={steps}: a range test needs 10 or more to show a curve.")
    model = copy.deepcopy(model).to(runtime.current().device)
    epochs = math.ceil(steps / len(Batches(model, samples, recipe)))
    recipe = replace(recipe, epochs=epochs, lr=1.0, unfreeze="at_once")
    freezing.freeze(model, recipe.freeze_depth, batch_norm=recipe.batch_norm)
    batches = Batches(model, samples, recipe, seed=seed)
    runtime.deterministic()
    rates, losses = np.geomspace(low, high, steps), []

    def look(record: dict[str, float]) -> bool:
        losses.append(record["loss"])
        diverged = not math.isfinite(losses[-1]) or _smooth(losses)[-1] > DIVERGED_AT * min(_smooth(losses))
        return not diverged and len(losses) < steps

    trained, numbers, watch = Trained(model, Method()), runtime.RandomNumbers(seed), Watcher(each_step=look)
    parts = trained, batches, optimizer_of(trained, recipe), recipe, numbers, []
    for _ in train(*parts, watchers=[watch], rate=lambda step, *_: rates[step]):
        pass
    return _read(rates[: len(losses)], losses)


def _read(rates: np.ndarray, losses: list[float]) -> RangeTest:
    """What the curve advises, or why it does not."""
    smoothed = _smooth(losses)
    facts = (tuple(map(float, rates)), tuple(losses), tuple(smoothed))
    finite = np.isfinite(smoothed)
    if finite.sum() < 10:
        note = f"The loss blew up within {len(losses)} steps: even the lowest rate was too high. Start lower."
        return RangeTest(*facts, None, note)
    values = np.asarray(smoothed)[finite]
    best = int(values[3:].argmin()) + 3
    # Neighbouring losses differ by their noise alone; the average of about ten of them is quieter by a known factor.
    noise = float(np.std(np.diff(np.asarray(losses)[: best + 1]))) / math.sqrt(2)
    noise *= math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))
    fall = float(values[:5].mean() - values[best])
    if fall < max(2 * noise, 0.02 * values[:5].mean()):
        note = (
            "The loss never fell clearly: the curve is flat or noisy. Use more steps, larger batches, or a wider range."
        )
        return RangeTest(*facts, None, note)
    note = "A tenth of the rate at the lowest smoothed loss."
    if best == len(values) - 1:
        note += " The loss was still falling at the end: the range stops too early, so take this as a lower bound."
    return RangeTest(*facts, float(rates[best]) / 10, note)


def _smooth(losses: list[float]) -> list[float]:
    """Exponential average with bias correction."""
    average, out = 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        out.append(average / (1 - SMOOTHING**step))
    return out
