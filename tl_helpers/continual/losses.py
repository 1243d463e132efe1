"""Losses against forgetting: distillation, and cross-entropy among the answers allowed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tl_helpers.training import cross_entropy


def total(*losses: Tensor | None) -> Tensor | None:
    """Their sum, a scalar; None where there is none. So that strategies go together."""
    there = [loss for loss in losses if loss is not None]
    return sum(there) if there else None


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


def masked_cross_entropy(logits: Tensor, labels: Tensor, allowed: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy as if answers that are not allowed had no output, a scalar.

    Logits and what is allowed (bool) have the shape (N, classes), labels (int64) and each sample's weight (float32)
    (N,).
    """
    return cross_entropy(logits.masked_fill(~allowed.to(logits.device), -torch.inf), labels, weights)
