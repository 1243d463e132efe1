"""Checks of chapter 7: the mutual information of answers, and the loss of self-training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from tl_helpers.adaptation import mutual_information as reference
from tl_helpers.book.exercises.checking import Hint, exercise


@exercise("mutual-information")
def mutual_information(information: Callable) -> None:
    """Equal to the packaged score; hints for the usual slips."""
    collapsed = np.tile([[0.0, 1.0, 0.0]], (6, 1))
    found = float(information(collapsed.copy()))
    if not np.isfinite(found):
        raise Hint("A probability of 0 makes your result NaN or infinite: such a term counts as 0.")
    p = np.random.default_rng(0).dirichlet([0.5] * 3, size=40)
    value, wanted = float(information(p.copy())), reference(p)
    if np.isclose(value, -wanted, atol=1e-9):
        raise Hint("The sign is turned: entropy of the mean answer first, minus the mean entropy.")
    if np.isclose(value * np.log(2), wanted, atol=1e-9):
        raise Hint("That is in bits; use the natural logarithm, for nats.")
    if abs(value - wanted) > 1e-6:
        spread = float(information(np.eye(3)))
        if abs(spread - np.log(3)) > 1e-6:
            raise Hint(
                f"Answers that are sure but all of one class must score 0, sure and spread over three classes ln 3; yours "
                f"give {found:.3f} and {spread:.3f}. Did you forget the entropy of the mean answer?"
            )
        raise Hint(f"For the check's answers the mutual information is {wanted:.4f}; yours is {value:.4f}.")


LOGITS = [[4.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 6.0], [0.0, 1.0, 0.0], [0.0, 3.5, 0.0]]


@exercise("pseudo-labels")
def pseudo_labels(self_training_loss: Callable) -> None:
    """Against a direct formula, with its gradient."""
    logits = torch.tensor(LOGITS, requires_grad=True)
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    believed = sure >= 0.9  # three of the five; at 0.5 four
    each = F.cross_entropy(logits, said, reduction="none")
    wanted = (each * believed).mean()
    found = self_training_loss(logits, 0.9)
    if not isinstance(found, torch.Tensor) or found.ndim:
        raise Hint("Return the loss as a scalar tensor, so that it can be differentiated.")
    value = float(found.detach())
    if abs(value - float(each.detach().mean())) < 1e-6:
        raise Hint("Only where the network is at least `threshold` sure; yours believes every answer.")
    if abs(value - float(each.detach()[believed].mean())) < 1e-6:
        raise Hint(
            "Average over all target samples, not only over the believed ones: few believers shall count little."
        )
    if abs(value - float(wanted.detach())) > 1e-6:
        raise Hint(f"For the check's logits the loss is {float(wanted.detach()):.4f}; yours is {value:.4f}.")
    sooner = self_training_loss(logits, 0.5)
    if abs(float(sooner.detach()) - float((each.detach() * (sure >= 0.5)).mean())) > 1e-6:
        raise Hint(
            "Right for a threshold of 0.9, not for 0.5: your function does not go by the `threshold` it is given."
        )
    if not found.requires_grad:
        raise Hint("No gradient flows back from your loss: detach the pseudo-labels only, not the logits.")
    if not np.isfinite(float(self_training_loss(torch.zeros(4, 3, requires_grad=True), 0.9).detach())):
        raise Hint("When nobody is sure enough your loss is NaN: an empty mean. It should be 0 then.")
