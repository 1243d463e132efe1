"""PCGrad: where two tasks' gradients are in conflict, each loses the part that points against the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tl_helpers.multitask.sharing import HardSharing, gradients_of, shared_of
from tl_helpers.training import Step


class PCGrad(HardSharing):
    r"""Projecting conflicting gradients (Yu et al. 2020): for each task i, and each other task j in random order,

    .. math:: g_i \leftarrow g_i - \frac{\min(0,\, g_i \cdot g_j)}{\lVert g_j \rVert^2} g_j

    with the gradients :math:`g_j` as they came; the shared parameters get the sum. The heads have no conflict and keep
    their gradients. The order follows from the number of the step, so that a resumed run repeats it. ``conflicts`` among
    the facts is the share of pairs with a negative product.
    """

    def backward(self, step: Step, losses: dict[str, Tensor]) -> None:
        shared = shared_of(step.model)
        gradients = gradients_of(losses, shared)
        super().backward(step, losses)
        many = len(gradients)
        own = torch.Generator().manual_seed(step.number)  # a resumed run draws the same
        orders = [[j for j in torch.randperm(many, generator=own).tolist() if j != i] for i in range(many)]
        total = without_conflicts(gradients, orders).sum(dim=0)
        for parameter, part in zip(shared, total.split([p.numel() for p in shared]), strict=True):
            parameter.grad = part.view_as(parameter).clone()
        if many > 1:
            negative = (gradients @ gradients.T < 0).float().sum() / (many * (many - 1))
            self.facts["conflicts"] = negative


def without_conflicts(gradients: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    """The gradients, (T, P), each without what points against the others, (T, P).

    ``orders[i]`` says in which order gradient i meets the others.
    """
    kept = gradients.clone()
    for i, order in enumerate(orders):
        for j in order:
            along, size = kept[i] @ gradients[j], gradients[j] @ gradients[j]
            if along < 0 and size > 0:
                kept[i] -= along / size * gradients[j]
    return kept
