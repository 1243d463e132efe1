"""A-GEM: the buffer corrects steps that would hurt it, and no others."""

from __future__ import annotations

import torch

from tl_helpers.continual import weights
from tl_helpers.continual.strategies.replay import Replay
from tl_helpers.training import Step


class AGEM(Replay):
    r"""Averaged gradient episodic memory (Chaudhry et al. 2019), with the buffer of `Replay`.

    Where the gradient g points against the gradient r of the buffer, :math:`g \cdot r < 0`, its part along r is
    removed: :math:`g \leftarrow g - \frac{g \cdot r}{r \cdot r} r`. As the product is negative, this adds a multiple of r.
    """

    name = "A-GEM"

    def extra_loss(self, step: Step) -> torch.Tensor | None:
        return super(Replay, self).extra_loss(step)  # what others add, and no rehearsal

    def after_backward(self, step: Step) -> None:
        super().after_backward(step)
        if step.second_x is None:
            return
        own = weights.trained(step.model)
        found = torch.autograd.grad(self.loss_again(step), own, allow_unused=True)
        theirs = weights.flat([torch.zeros_like(p) if g is None else g for p, g in zip(own, found, strict=True)])
        weights.add_to_gradients(step.model, correction(weights.gradients(step.model), theirs))


def correction(gradient: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """What A-GEM adds to a gradient (P,) so that it does not point against the reference (P,); 0 where it does not."""
    along = gradient @ reference
    size = reference @ reference
    if along >= 0 or size == 0:
        return torch.zeros_like(gradient)
    return -along / size * reference
