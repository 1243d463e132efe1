"""Elastic weight consolidation: weights that mattered to earlier experiences are held back by springs."""

from __future__ import annotations

import numpy as np
import torch

from tl_helpers.continual import weights
from tl_helpers.continual.fisher import Estimate, fisher_diagonal, inputs_of
from tl_helpers.continual.strategy import Strategy, total
from tl_helpers.models import Classifier
from tl_helpers.training import Step


def quadratic_penalty(weights: torch.Tensor, importance: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    r""":math:`\frac12 \sum_t \sum_i \Omega_{t,i} (\theta_i - \theta^*_{t,i})^2`, a scalar.

    Weights (P,); for each earlier experience, how much each weight matters and what it was: importance and anchors (T,
    P).
    """
    return 0.5 * (importance * (weights - anchors).square()).sum()


class EWC(Strategy):
    r"""EWC (Kirkpatrick et al. 2017): one quadratic penalty for each earlier experience.

    .. math:: \frac{\lambda}{2} \sum_{t < now} \sum_i F_{t,i} \left(\theta_i - \theta^*_{t,i}\right)^2

    The strength :math:`\lambda`, 0 or more, depends on the estimate of the Fisher diagonal (see
    `tl_helpers.continual.fisher`) and the scale of the loss: nothing to copy from a paper. The diagonal is computed on so
    many training samples at `most`.
    """

    name = "EWC"

    def __init__(self, strength: float = 1000.0, *, estimate: Estimate = "exact", most: int = 200) -> None:
        super().__init__(strength=strength, estimate=estimate, most=most)
        self.strength, self.estimate, self.most = strength, estimate, most
        self.register_buffer("importance", torch.zeros(0, 0))
        self.register_buffer("anchors", torch.zeros(0, 0))

    def penalty(self, model: Classifier) -> torch.Tensor:
        """The springs' energy, a scalar with gradient."""
        now = torch.cat([parameter.reshape(-1) for parameter in weights.trained(model)])
        return self.strength * quadratic_penalty(now, self.importance, self.anchors)

    def extra_loss(self, step: Step) -> torch.Tensor | None:
        return total(super().extra_loss(step), self.penalty(step.model) if len(self.importance) else None)

    def after_experience(self, model: Classifier) -> None:
        super().after_experience(model)
        self.keep(self.measured(model)[None], weights.flat(weights.trained(model))[None])

    def keep(self, importance: torch.Tensor, anchors: torch.Tensor) -> None:
        """Take in the springs of an experience: float32, shape (1, P) both."""
        kept = len(self.importance) > 0
        self.importance = torch.cat([self.importance, importance]) if kept else importance
        self.anchors = torch.cat([self.anchors, anchors]) if kept else anchors

    def measured(self, model: Classifier) -> torch.Tensor:
        """The Fisher diagonal on (some of) the experience's training samples: float32, shape (P,)."""
        samples = self.stream[self.now].train
        some = samples.take(np.random.default_rng(self.seed).permutation(len(samples))[: self.most])
        allowed = self.stream.allowed(self.now, some.extra["experience"])
        x = inputs_of(model, some)
        return fisher_diagonal(model, x, some.labels, allowed, estimate=self.estimate, seed=self.seed)
