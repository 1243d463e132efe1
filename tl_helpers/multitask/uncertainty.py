"""Uncertainty weighting: each task's weight is learned along, as the inverse of a variance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tl_helpers.multitask.sharing import HardSharing
from tl_helpers.multitask.targets import Target


class Uncertainty(HardSharing):
    r"""Homoscedastic uncertainty (Kendall, Gal and Cipolla 2018), with :math:`s_t = \log \sigma_t^2` trained along.

    .. math:: L = \sum_t c_t e^{-s_t} L_t + \tfrac12 s_t, \qquad c_t = \tfrac12 \text{ for numbers, } 1 \text{ for classes}

    All variances begin at 1. They are trained at the head's rate, with the recipe's weight decay on :math:`s_t`.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__(targets)
        self.log_variance = nn.Parameter(torch.zeros(len(self.targets)))

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for target, s in zip(self.targets, self.log_variance, strict=True):
            if target.name in losses:
                factor = 1.0 if target.classes else 0.5
                found[target.name] = factor * (-s).exp() * losses[target.name] + s / 2
                self.facts[f"weight of {target.name}"] = factor * (-s.detach()).exp()
        return found
