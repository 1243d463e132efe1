"""Synaptic intelligence: the importance of a weight is its share in the fall of the loss, gathered during training."""

from __future__ import annotations

import torch

from tl_helpers.continual import weights
from tl_helpers.continual.strategy import Strategy
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import Step


class SI(Strategy):
    r"""Synaptic intelligence (Zenke et al. 2017).

    While an experience is learned, each weight's share in the fall of its loss is added up,
    :math:`\omega_i = -\sum_{steps} g_i \, \Delta\theta_i`, with the gradient g of the cross-entropy alone. Afterwards
    :math:`\Omega_i \leftarrow \Omega_i + \max(0, \omega_i) / (D_i^2 + \xi)` with the whole way :math:`D_i` it went, and the
    penalty of later experiences is :math:`c \sum_i \Omega_i (\theta_i - \theta^*_i)^2`, with the strength c, 0 or more,
    and the damping :math:`\xi`, above 0.
    """

    name = "SI"

    def __init__(self, strength: float = 1.0, *, damping: float = 0.1) -> None:
        if not damping > 0:
            raise ValueError(f"damping={damping}: above 0, or weights that did not move divide by 0.")
        super().__init__(strength=strength, damping=damping)
        self.strength, self.damping = strength, damping
        for name in ("importance", "anchors", "shares", "begun"):
            self.register_buffer(name, torch.zeros(0))

    def before_training(self, model: Classifier, train: Samples) -> None:
        super().before_training(model, train)
        now = weights.flat(weights.trained(model))
        self.shares, self.begun = torch.zeros_like(now), now
        if len(self.importance) == 0:
            self.importance, self.anchors = torch.zeros_like(now), now.clone()

    def after_backward(self, step: Step) -> None:
        self._gradient = weights.gradients(step.model)  # of the cross-entropy: the pull comes after
        self._before = weights.flat(weights.trained(step.model))
        pull = self.importance * (self._before - self.anchors)
        weights.add_to_gradients(step.model, 2 * self.strength * pull)
        super().after_backward(step)

    def after_step(self, step: Step) -> None:
        moved = weights.flat(weights.trained(step.model)) - self._before
        self.shares -= self._gradient * moved
        del self._gradient, self._before
        super().after_step(step)

    def after_experience(self, model: Classifier) -> None:
        super().after_experience(model)
        now = weights.flat(weights.trained(model))
        self.importance = self.importance + self.shares.clamp_min(0) / ((now - self.begun).square() + self.damping)
        self.anchors = now

    def memory(self) -> int:
        return super().memory() - self.shares.nbytes - self.begun.nbytes
