"""`Strategy`: one continual learner, and `run_stream`, which teaches it a stream and fills in the accuracy matrix.

A strategy is a `tl_helpers.training.Method` with a few more places where it may act: around the stream and around each
experience. A new one is one short file in ``continual/strategies``; those that are there are its examples.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from tl_helpers import freezing, keys
from tl_helpers.activations import Line
from tl_helpers.continual import metrics
from tl_helpers.continual.streams import Stream
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import Method, Recipe, Step, cross_entropy, fit
from tl_helpers.training.scoring import logits_of

MakeModel = Callable[[int], Classifier]
"""A fresh model from a seed, with one output for each class of the stream."""


def total(*losses: Tensor | None) -> Tensor | None:
    """Their sum, a scalar; None where there is none. So that strategies go together."""
    there = [loss for loss in losses if loss is not None]
    return sum(there) if there else None


def masked_cross_entropy(logits: Tensor, labels: Tensor, allowed: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy as if answers that are not allowed had no output, a scalar.

    Logits and what is allowed (bool) have the shape (N, classes), labels (int64) and each sample's weight (float32)
    (N,).
    """
    return cross_entropy(logits.masked_fill(~allowed.to(logits.device), -torch.inf), labels, weights)


class Strategy(Method):
    """Learning one experience after the other, without anything against forgetting; the others change what they must.

    `stream` is what is learned, `now` the number of the experience that is being learned.
    """

    name = "strategy"

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        """Once, before the first experience; a ValueError for a stream that the strategy cannot learn."""
        self.stream, self.make_model, self.seed, self.now = stream, make_model, seed, -1

    def before_experience(self, model: Classifier) -> Classifier:
        """Before experience ``self.now`` is learned; may hand out another model."""
        return model

    def samples(self) -> Samples:
        """What is trained on now: the experience's own training samples."""
        return self.stream[self.now].train

    def recipe(self, recipe: Recipe) -> Recipe:
        """How it is trained now."""
        return recipe

    def check(self, model: Classifier, train: Samples, smoothing: float) -> None:
        super().check(model, train, smoothing)
        if not hasattr(self, "stream"):
            raise ValueError(f"{type(self).__name__} learns a stream of experiences: use run_stream instead of fit.")
        if smoothing:
            raise ValueError("label_smoothing spreads over all answers, and a scenario allows only some: use 0.")

    def before_training(self, model: Classifier, train: Samples) -> None:
        self._allowed = self.stream.allowed(self.now, train.extra["experience"])

    def task_loss(self, step: Step) -> Tensor:
        """Cross-entropy among the answers that the scenario allows by now."""
        return masked_cross_entropy(step.logits, step.targets, self._allowed[step.positions], step.weights)

    def key(self) -> list:
        """Also the scenario and what it allows: the same images are another problem in another scenario."""
        allowed = self.stream.allowed(self.now, self.samples().extra["experience"])
        return [*super().key(), self.stream.scenario, self.now, keys.fingerprint(allowed), self.stream.heads(self.now)]

    def learn(self, model: Classifier, recipe: Recipe, *, fresh: bool | None = None) -> None:
        """Learn experience ``self.now``; trains the model in place by default."""
        fit(model, self.samples(), None, self.recipe(recipe), method=self, seed=self.seed, name=self.name, fresh=fresh)

    def after_experience(self, model: Classifier) -> None:
        """After experience ``self.now`` was learned."""

    def logits(self, model: Classifier, samples: Samples, of: int) -> np.ndarray:
        """Scores of all classes, float32, shape (N, classes). Only the task-incremental scenario may look at `of`."""
        depth = model.backbone.frozen_depth
        line = Line(model.backbone, depth, samples, views=1) if depth else None
        return logits_of(model, samples, line).numpy()

    def memory(self) -> int:
        """Bytes kept from one experience to the next, besides the model: by default what the buffers hold."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.buffers())

    def parameters_used(self, model: Classifier) -> int:
        """Parameters that are needed to answer, after experience ``self.now``."""
        return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class Outcome:
    """What came of a stream: accuracies in %, float64, and at the end bytes kept besides the model, parameters needed to
    answer, and the seconds of learning.

    ``matrix[i, j]`` is the accuracy on experience j after learning experience i, shape (T, T); `baseline`, (T,), that
    before learning anything; `within`, (T,), the last row again, had the learner been told which experience each sample
    is from. In the class-incremental scenario this separates what it knows from whether it knows where to look. For the
    four metrics of the matrix see the functions of these names.
    """

    matrix: np.ndarray
    baseline: np.ndarray
    within: np.ndarray
    seconds: float
    memory: int
    parameters: int

    average_accuracy = property(lambda self: metrics.average_accuracy(self.matrix))
    forgetting = property(lambda self: metrics.forgetting(self.matrix))
    backward_transfer = property(lambda self: metrics.backward_transfer(self.matrix))
    forward_transfer = property(lambda self: metrics.forward_transfer(self.matrix, self.baseline))

    def row(self) -> dict[str, float]:
        """All metrics as one flat record, in %, points, kB and seconds."""
        found = {
            "accuracy": self.average_accuracy,
            "forgetting": self.forgetting,
            "backward_transfer": self.backward_transfer,
            "forward_transfer": self.forward_transfer,
            "within_accuracy": self.within.mean(),
            "memory_kb": self.memory / 1000,
            "parameters": float(self.parameters),
            "train_seconds": self.seconds,
        }
        for i, j in np.ndindex(self.matrix.shape):
            found[f"after_{i + 1}_accuracy_{j + 1}"] = self.matrix[i, j]
        return {name: round(float(value), 3) for name, value in found.items()}


def run_stream(
    stream: Stream,
    strategy: Strategy,
    make_model: MakeModel,
    recipe: Recipe,
    *,
    seed: int = 0,
    split: str = "test",
    metric: str = "accuracy",
    fresh: bool | None = None,
    on_experience: Callable[[int, np.ndarray], None] | None = None,
) -> Outcome:
    """Teach a strategy a stream, and score it on every experience after each.

    A ValueError for a stream that the strategy cannot learn, a model with another number of outputs, an unknown metric,
    or a recipe whose freeze line moves.

    Parameters
    ----------
    strategy : Strategy
        A new one: it is changed by what it learns.
    recipe : Recipe
        For each experience.
    seed : int
        Of the weights and the order of samples.
    split : {"test", "validation"}
        Which samples it is scored on; settings are chosen on ``validation``.
    metric : {"accuracy", "balanced_accuracy"}
    fresh : bool, optional
        As in `tl_helpers.training.fit`.
    on_experience : callable, optional
        Gets the number of the experience just learned, and its row of the matrix.
    """
    if metric not in ("accuracy", "balanced_accuracy"):
        raise ValueError(f"metric={metric!r}: use accuracy or balanced_accuracy.")
    if recipe.unfreeze != "at_once":
        raise ValueError(
            f"unfreeze={recipe.unfreeze!r}: strategies hold on to the weights above one freeze line, so it may not move."
        )
    strategy.before_stream(stream, make_model, seed)
    model = make_model(seed)
    outputs = model.head[-1].out_features
    if outputs != len(stream.classes):
        raise ValueError(f"The model has {outputs} outputs, the stream {stream.name} {len(stream.classes)} classes.")

    asked = [experience.split(split) for experience in stream.experiences]

    def answers(learner: Strategy) -> list[np.ndarray]:
        return [learner.logits(model, samples, number) for number, samples in enumerate(asked)]

    def scores(logits: list[np.ndarray], allowed: list[np.ndarray]) -> np.ndarray:
        """On every experience, among the classes that may be answered there."""
        found = []
        for samples, each, may in zip(asked, logits, allowed, strict=True):
            said, labels = np.where(may, each, -np.inf).argmax(axis=1), samples.labels.numpy()
            right = balanced_accuracy_score(labels, said) if metric == "balanced_accuracy" else (said == labels).mean()
            found.append(100 * float(right))
        return np.array(found)

    def by(now: int) -> list[np.ndarray]:
        """What may be answered on each experience by now, or will be."""
        return [stream.allowed(max(now, number), [number]).numpy() for number in range(len(stream))]

    freezing.freeze(model, recipe.freeze_depth, batch_norm=recipe.batch_norm)
    baseline = scores(answers(Strategy()), by(-1))
    rows, seconds = [], 0.0
    for now in range(len(stream)):
        strategy.now = now
        began = time.perf_counter()
        model = strategy.before_experience(model)
        strategy.learn(model, recipe, fresh=fresh)
        strategy.after_experience(model)
        seconds += time.perf_counter() - began
        said = answers(strategy)
        rows.append(scores(said, by(now)))
        if on_experience is not None:
            on_experience(now, rows[-1])
    own = [np.isin(np.arange(len(stream.classes)), experience.classes) for experience in stream.experiences]
    return Outcome(
        matrix=np.array(rows),
        baseline=baseline,
        within=scores(said, own),
        seconds=seconds,
        memory=strategy.memory(),
        parameters=strategy.parameters_used(model),
    )
