"""Learning without forgetting: keep the old answers, on the new samples."""

from __future__ import annotations

import copy

import torch

from tl_helpers.continual.losses import distillation_loss, total
from tl_helpers.continual.strategy import Strategy
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import Step


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

    def extra_loss(self, step: Step) -> torch.Tensor | None:
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
