"""Learning without forgetting: keep the old answers, on the new samples."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tl_helpers.continual.strategy import Strategy, total
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import Step


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    r"""How far the student's softened answers are from the teacher's (Hinton et al. 2015), a scalar.

    .. math:: T^2 \, \frac1N \sum_x \mathrm{KL}\left( p_T(x) \,\|\, q_T(x) \right)

    with :math:`p_T` the teacher's and :math:`q_T` the student's softmax of logits (N, classes) divided by T. The factor
    :math:`T^2` keeps the gradient's size the same for all T; some libraries leave it out. The teacher gets no gradient.
    A ValueError for shapes that differ, or a temperature that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: above 0.")
    if student.shape != teacher.shape:
        raise ValueError(f"Logits of shape {tuple(student.shape)} against {tuple(teacher.shape)}: the same classes.")
    said = (student / temperature).log_softmax(dim=1)
    wanted = (teacher.detach() / temperature).log_softmax(dim=1)
    return temperature**2 * nn.functional.kl_div(said, wanted, reduction="batchmean", log_target=True)


class LwF(Strategy):
    r"""Learning without forgetting (Li and Hoiem 2017): distil the model of before into the one being trained.

    The teacher answers on the *new* experience's samples, so nothing of the old ones is kept. Each group of outputs that was
    trained together is distilled by itself, at a temperature T above 0, with the factor :math:`T^2`. The strength, 0 or
    more, is that of each earlier experience relative to the new one.
    """

    name = "LwF"

    def __init__(self, strength: float = 1.0, *, temperature: float = 2.0) -> None:
        super().__init__(strength=strength, temperature=temperature)
        self.strength, self.temperature = strength, temperature

    def before_training(self, model: Classifier, train: Samples) -> None:
        super().before_training(model, train)
        self._teacher = [copy.deepcopy(model).eval().requires_grad_(False)]  # in a list: not part of the state

    def extra_loss(self, step: Step) -> Tensor | None:
        others, heads = super().extra_loss(step), self.stream.heads(self.now)
        if not heads:
            return others
        with torch.no_grad():
            wanted = self._teacher[0].to(step.x.device).above(step.x, step.depth).float()
        parts = [distillation_loss(step.logits[:, head], wanted[:, head], self.temperature) for head in heads]
        return total(others, self.strength * self.now * torch.stack(parts).mean())

    def memory(self) -> int:
        """The teacher's weights, while it teaches."""
        model = self._teacher[0]
        return super().memory() + sum(tensor.nbytes for tensor in model.parameters())
