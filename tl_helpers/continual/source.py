"""Keeping a source task while a target is learned: a method that holds on to its answers, and averages of weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tl_helpers.continual.strategies.lwf import distillation_loss
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import Method, Step


class KeepAnswers(Method):
    """The source's head keeps its answers: distillation of the model of before, at a temperature of 2.

    Without rehearsal samples it is asked about the target's own images, as in LwF (Li and Hoiem 2017);
    with some, about these. They need no labels, and have the target's size. The head, (N, dim) to (N, outputs), is not
    trained; the strength, 0 or more, is relative to the target's cross-entropy.
    """

    def __init__(self, head: nn.Module, strength: float = 1.0, *, rehearsal: Samples | None = None) -> None:
        asked = "the target's images" if rehearsal is None else rehearsal.name
        super().__init__(strength=strength, asked=asked)
        self.strength, self.second = strength, rehearsal
        self.head = copy.deepcopy(head).requires_grad_(False).eval()

    def before_training(self, model: Classifier, train: Samples) -> None:
        self._teacher = [copy.deepcopy(model).eval().requires_grad_(False)]  # in a list: not part of the state

    def extra_loss(self, step: Step) -> Tensor:
        teacher = self._teacher[0].to(step.x.device)
        x = step.x if self.second is None else step.second_x
        embedded = step.embedded if self.second is None else step.model.embed_above(x, step.depth)
        self.head.eval()  # training puts a method's parts into train mode
        with torch.no_grad():
            wanted = self.head(teacher.embed_above(x, step.depth).float())
        return self.strength * distillation_loss(self.head(embedded.float()), wanted)


def between(one: dict[str, Tensor], other: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights on the straight line between two states: ``(1 - share) * one + share * other`` (Wortsman et al. 2022).

    A share outside of [0, 1] extrapolates. Buffers such as batch-norm statistics are averaged, too; what is no
    floating-point number is taken from `other`. A ValueError for states of different architectures.
    """
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        raise ValueError("The two states have other names or shapes: only weights of one architecture can be averaged.")
    return {
        name: torch.lerp(one[name], other[name], share) if one[name].is_floating_point() else other[name].clone()
        for name in one
    }
