"""GradNorm: weights that keep the tasks' gradients alike in size, larger for tasks that learn slowly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tl_helpers.models import Classifier
from tl_helpers.multitask.sharing import HardSharing, gradients_of, shared_of
from tl_helpers.multitask.targets import Target
from tl_helpers.training import Step

LEAST = 1e-3
"""No weight falls below, as a step of the optimiser could take it through 0."""


class GradNorm(HardSharing):
    r"""GradNorm (Chen et al. 2018): weights :math:`w_t` are trained, to lower

    .. math:: \sum_t \left| G_t - \bar G\, r_t^{\alpha} \right|, \qquad G_t = \lVert \nabla_W w_t L_t \rVert, \qquad
        r_t = \frac{L_t / L_t(0)}{\operatorname{mean}_s L_s / L_s(0)}

    where W is the last shared weight matrix and the target :math:`\bar G r_t^\alpha` is taken as a constant; the losses at
    the first step stand for :math:`L_t(0)`. After each step the weights are scaled to add up to the number of tasks. The
    strength :math:`\alpha`, 0 or more, is how much a slow task is helped. The weights are trained at the head's rate.
    """

    def __init__(self, targets: Sequence[Target], alpha: float = 1.5) -> None:
        if not 0 <= alpha < float("inf"):
            raise ValueError(f"alpha={alpha}: 0 or more.")
        super().__init__(targets, alpha=alpha)
        self.alpha = alpha
        self.balance = nn.Parameter(torch.ones(len(self.targets)))
        self.register_buffer("first", torch.full((len(self.targets),), torch.nan))

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        self._plain = losses
        now = zip(self.targets, self.balance.detach(), strict=True)
        return {target.name: weight * losses[target.name] for target, weight in now if target.name in losses}

    def backward(self, step: Step, losses: dict[str, Tensor]) -> None:
        at = torch.tensor([k for k, target in enumerate(self.targets) if target.name in losses])
        plain = torch.stack(list(self._plain.values())).detach().to(self.first.dtype)
        sizes = gradients_of(self._plain, [last_shared(step.model)]).norm(dim=1)
        super().backward(step, losses)
        self._plain = {}
        fresh = self.first[at].isnan()
        self.first[at[fresh]] = plain[fresh]
        self.balance.grad = torch.zeros_like(self.balance)
        self.balance.grad[at] = balance_gradient(self.balance.detach()[at], sizes, plain / self.first[at], self.alpha)
        for target, weight in zip(self.targets, self.balance.detach(), strict=True):
            self.facts[f"weight of {target.name}"] = weight.clone()

    def after_step(self, step: Step) -> None:
        with torch.no_grad():
            self.balance.clamp_(min=LEAST).mul_(len(self.targets) / self.balance.sum())


def last_shared(model: Classifier) -> nn.Parameter:
    """The last weight matrix that all tasks share; a ValueError where none is trained."""
    return [parameter for parameter in shared_of(model) if parameter.ndim > 1][-1]


def balance_gradient(weights: Tensor, sizes: Tensor, ratios: Tensor, alpha: float) -> Tensor:
    """The gradient of GradNorm's loss with respect to the tasks' weights, (T,).

    From the weights, the norms of the tasks' gradients without them, and each loss relative to its first: (T,) each.
    """
    norms = weights * sizes
    wanted = norms.mean() * (ratios / ratios.mean()) ** alpha
    return (norms - wanted).sign() * sizes
