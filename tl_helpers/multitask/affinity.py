"""Which tasks help each other: cosines of their gradients, a look ahead, and the gain of learning together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from tl_helpers.models import Classifier
from tl_helpers.multitask.model import by_task
from tl_helpers.multitask.sharing import HardSharing, gradients_of, shared_of
from tl_helpers.multitask.targets import Target
from tl_helpers.training import Step


def gradient_cosines(gradients: Tensor) -> Tensor:
    """Cosines between the tasks' gradients: (T, P) to (T, T); 0 for a gradient of zeros."""
    unit = torch.nn.functional.normalize(gradients, dim=1)
    return unit @ unit.T


class Observed(HardSharing):
    """Hard sharing that notes, every few steps, the cosine of each two tasks' gradients on the shared parameters.

    Among the facts, and so averaged over each epoch: ``cosine of A and B``, of the losses without their weights. The
    training itself is that of `HardSharing`, bit for bit.
    """

    def __init__(
        self, targets: Sequence[Target], weights: Mapping[str, float] | None = None, *, every: int = 5
    ) -> None:
        if every < 1:
            raise ValueError(f"every={every}: steps, 1 or more.")
        super().__init__(targets, weights)
        self.every = every

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        self._plain = losses
        return super().weighted(losses)

    def backward(self, step: Step, losses: dict[str, Tensor]) -> None:
        if step.number % self.every == 0:
            names = list(self._plain)
            cosines = gradient_cosines(gradients_of(self._plain, shared_of(step.model)))
            for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
                self.facts[f"cosine of {names[i]} and {names[j]}"] = cosines[i, j]
        self._plain = {}
        super().backward(step, losses)


def lookahead_affinity(model: Classifier, x: Tensor, labels: Mapping[str, Tensor], depth: int, rate: float) -> Tensor:
    r"""Inter-task affinity (Fifty et al. 2021): by what share a step for task i alone lowers the loss of task j, (T, T).

    .. math:: Z_{i \to j} = 1 - \frac{L_j(\theta - \eta \nabla_\theta L_i)}{L_j(\theta)}

    for the shared parameters :math:`\theta`, in eval mode; the model stays as it is. Inputs at the freeze line `depth`,
    labels by task, (N,) each, and the rate :math:`\eta` of the plain gradient step.
    """
    was_training, targets = model.training, model.targets
    model.eval()
    shared = shared_of(model)
    names = [name for name, parameter in model.named_parameters() if any(parameter is own for own in shared)]

    def losses(changed: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = functional_call(_Above(model, depth), {f"model.{name}": p for name, p in changed.items()}, (x,))
        parts = by_task(outputs, targets)
        return {target.name: target.loss(parts[target.name], labels[target.name]) for target in targets}

    now = losses(dict(zip(names, shared, strict=True)))
    gradients, rows = gradients_of(now, shared), []
    for gradient in gradients:
        moves = gradient.split([parameter.numel() for parameter in shared])
        moved = {n: (p - rate * m.view_as(p)).detach() for n, p, m in zip(names, shared, moves, strict=True)}
        with torch.no_grad():
            after = losses(moved)
        rows.append(torch.stack([1 - after[name] / now[name].detach() for name in now]))
    model.train(was_training)
    return torch.stack(rows)


class _Above(torch.nn.Module):
    """What is above the freeze line, as a module of its own."""

    def __init__(self, model: Classifier, depth: int) -> None:
        super().__init__()
        self.model, self.depth = model, depth

    def forward(self, x: Tensor) -> Tensor:
        return self.model.above(x, self.depth)


def affinity_matrix(alone: Mapping[str, float], together: Mapping[tuple[str, str], float]) -> np.ndarray:
    """What task j gains where it is learned with task i, against alone: float64, shape (T, T); NaN on the diagonal.

    Parameters
    ----------
    alone : mapping
        The score of each task by itself; its order is that of the rows and columns.
    together : mapping
        The score of the first task of a pair where it was learned with the second: ``together["defect", "type"]``.
    """
    names = list(alone)
    found = np.full((len(names), len(names)), np.nan)
    for (own, other), score in together.items():
        if own not in alone or other not in alone or own == other:
            raise ValueError(f"The pair {own!r} and {other!r}: two different tasks of {', '.join(names)} are needed.")
        found[names.index(other), names.index(own)] = score - alone[own]
    return found
