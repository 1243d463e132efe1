"""Hard sharing with fixed weights: the plain way to learn several tasks at once, and what the other weightings build on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tl_helpers.activations import Line
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.multitask.model import MultiTaskClassifier, by_task
from tl_helpers.multitask.targets import Target, checked
from tl_helpers.training import Method, Step
from tl_helpers.training.scoring import logits_of, score, softmax


class HardSharing(Method):
    r"""One network for several tasks, with a fixed weight for each (Caruana 1997).

    .. math:: L = \sum_t w_t L_t

    where :math:`L_t` is the mean over those samples of the batch that have a label of task t; a task of which none has
    one takes no part in the step. The weights, 0 or more and by the task's name, are 1 by default.
    """

    def __init__(
        self, targets: Sequence[Target], weights: Mapping[str, float] | None = None, **settings: float
    ) -> None:
        asked = checked(targets)
        given = {target.name: 1.0 for target in asked} | dict(weights or {})
        if strangers := sorted(set(given) - {target.name for target in asked}):
            raise ValueError(f"A weight for {', '.join(strangers)}, which is no task here.")
        if not all(0 <= weight < np.inf for weight in given.values()) or not any(given.values()):
            raise ValueError(f"weights={given}: 0 or more each, and one above 0.")
        super().__init__(**{f"weight of {name}": float(weight) for name, weight in given.items()}, **settings)
        self.targets, self.weights = asked, given
        self.labels: dict[str, Tensor] = {}

    def check(self, model: Classifier, train: Samples, smoothing: float) -> None:
        if not isinstance(model, MultiTaskClassifier):
            raise ValueError("One head for several tasks: make the model with MultiTaskClassifier(backbone, targets).")
        heads, tasks = model.targets, self.targets
        for theirs, others, what in ((heads, tasks, "a head without a task"), (tasks, heads, "a task without a head")):
            lone = [target.name for target in theirs if target not in others]
            if lone:
                raise ValueError(f"{', '.join(lone)}: {what} of this name and with these classes.")
        if heads != tasks:
            raise ValueError(f"The heads' order is {[t.name for t in heads]}: give the method the tasks in this order.")
        if smoothing:
            raise ValueError("label_smoothing: not with several tasks, of which some ask for a number. Use 0.")
        self.labels = {target.name: target.labels(train) for target in tasks}  # also a part of the run's name
        known = torch.stack([target.known(self.labels[target.name]) for target in tasks])
        if lone := [target.name for target, each in zip(tasks, known, strict=True) if not each.any()]:
            raise ValueError(f"{train.name}: not one sample has a label of {', '.join(lone)}.")
        if bare := int((~known.any(dim=0)).sum()):
            raise ValueError(f"{train.name}: {bare} samples have no label of any task; leave them out.")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Each task's own loss, without weight, by name: scalars. A ValueError for a batch without labels."""
        outputs = by_task(step.logits, self.targets)
        found = {}
        for target in self.targets:
            labels = self.labels[target.name][step.positions].to(step.logits.device)
            loss = target.loss(outputs[target.name], labels)
            if loss is not None:
                found[target.name] = loss
        if not found:
            raise ValueError("A batch without labels: no sample of it has one, of any task.")
        return found

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses as they are added up, by name."""
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def forward(self, step: Step) -> dict[str, Tensor]:
        step.embedded = step.model.embed_above(step.x, step.depth)
        step.logits = step.model.head(step.embedded).float()
        losses = self.losses(step)
        self.facts |= {f"loss of {name}": loss.detach() for name, loss in losses.items()}
        return self.weighted(losses)

    def scores(self, model: Classifier, validation: Samples, line: Line | None) -> dict[str, float]:
        found = scored_tasks(logits_of(model, validation, line), validation, self.targets)
        return {f"{task} {metric}": value for task, each in found.items() for metric, value in each.items()}


def shared_of(model: Classifier) -> list[torch.nn.Parameter]:
    """The parameters that all tasks train: the backbone's above the freeze line. A ValueError where there are none."""
    found = [parameter for parameter in model.backbone.parameters() if parameter.requires_grad]
    if not found:
        raise ValueError("Only the heads are trained: the tasks share nothing that they could disagree about.")
    return found


def gradients_of(losses: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """The gradient of each loss with respect to the same parameters, as vectors: shape (T, P)."""
    rows = []
    for loss in losses.values():
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)


def score_tasks(model: MultiTaskClassifier, samples: Samples) -> dict[str, dict[str, float]]:
    """The scores of each task, by name, over the samples that have its label.

    Classes: see `tl_helpers.training.score`. Numbers: ``explained``, the share of the variance that is explained (in %,
    below 0 where the mean would do better), and ``mean_absolute_error``.
    """
    depth = model.backbone.frozen_depth
    line = Line(model.backbone, depth, samples, views=1) if depth else None
    return scored_tasks(logits_of(model, samples, line), samples, model.targets)


def scored_tasks(outputs: Tensor, samples: Samples, targets: Sequence[Target]) -> dict[str, dict[str, float]]:
    """The same of outputs that are there, float32 (N, outputs); a task without labels among the samples is left out."""
    found = {}
    for target, part in zip(targets, by_task(outputs, targets).values(), strict=True):
        labels = target.labels(samples)
        known = target.known(labels)
        if not known.any():
            continue
        said, right = part[known].numpy(), labels[known].numpy()
        if target.classes:
            found[target.name] = score(right, softmax(said))
            continue
        error = right - said[:, 0]
        spread = float(right.var())
        explained = 100 * (1 - float((error**2).mean()) / spread) if spread else np.nan
        found[target.name] = {"explained": explained, "mean_absolute_error": float(np.abs(error).mean())}
    return found
