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
    """Equal to the packaged score, in whatever precision; hints for the usual slips."""
    collapsed = _one_number(information(np.tile([[0.0, 1.0, 0.0]], (6, 1))))
    spread = _one_number(information(np.eye(3)))
    if not np.isfinite([collapsed, spread]).all():
        raise Hint("A probability of 0 makes your result NaN or infinite: such a term counts as 0.")
    p = np.random.default_rng(0).dirichlet([0.5] * 3, size=40)
    value, wanted = _one_number(information(p.copy())), reference(p)
    if _near(value, wanted) and _near(collapsed, 0) and _near(spread, np.log(3)):
        other = np.random.default_rng(1).dirichlet([1.0] * 5, size=7)
        value, wanted = _one_number(information(other.copy())), reference(other)
        if not _near(value, wanted):
            raise Hint(f"Right for 40 answers over 3 classes, not for 7 over 5: {wanted:.4f}; yours is {value:.4f}.")
        return
    if _near(value, -wanted):
        raise Hint("The sign is turned: entropy of the mean answer first, minus the mean entropy.")
    if _near(value * np.log(2), wanted):
        raise Hint("That is in bits; use the natural logarithm, for nats.")
    if any(_near(value * np.log(n), wanted) for n in (3, 10)):
        raise Hint(
            "That is on another scale: nats are asked for, the natural logarithm and no division by its maximum."
        )
    total, each = _entropy(p.mean(axis=0)), _entropy(p)
    if _near(value, total):
        raise Hint(
            "That is the entropy of the mean answer alone: unsure answers score as high. Subtract the mean entropy."
        )
    if _near(value, total + each.mean()):
        raise Hint("You add the mean entropy of the answers: subtract it, as sure answers are to score high.")
    if any(_near(value, sign * each.mean()) for sign in (1, -1)) or _near(collapsed, np.log(3)):
        raise Hint(
            f"Answers that are sure but all of one class must score 0, sure and spread over three classes ln 3; yours "
            f"give {collapsed:.3f} and {spread:.3f}. Did you forget the entropy of the mean answer?"
        )
    if _near(value, total - each.sum()):
        raise Hint("You subtract the sum of the entropies of all answers; it is their mean.")
    if _near(value, _entropy(p.mean(axis=1)) - _entropy(p.T).mean()) or _near(value, reference((p / p.sum(axis=0)).T)):
        raise Hint("The axes have changed places: average over the answers (rows), sum the entropy over the classes.")
    if _near(value, _entropy(np.bincount(p.argmax(axis=1), minlength=3) / len(p))):
        raise Hint("You count the most likely classes; how sure the answers are is lost. Use the probabilities.")
    raise Hint(
        f"For the check's answers the mutual information is {wanted:.4f}; yours is {value:.4f}. All of one class must give "
        f"0 (yours: {collapsed:.3f}), sure and spread over three classes ln 3 (yours: {spread:.3f})."
    )


def _entropy(q: np.ndarray) -> np.ndarray:
    return -(q * np.log(np.where(q > 0, q, 1))).sum(axis=-1)


def _one_number(found: object) -> float:
    numbers = np.asarray(found, dtype=float)
    if numbers.size != 1:
        raise Hint(
            f"Return one number for all answers together; you returned {numbers.size}. Average over the answers."
        )
    return float(numbers.item())


def _near(one: float, other: float) -> bool:
    return bool(abs(one - other) < 1e-4)  # an answer may compute in float32, or add a small number to each logarithm's


LOGITS = [[4.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 6.0], [0.0, 1.0, 0.0], [0.0, 3.5, 0.0]]


@exercise("pseudo-labels")
def pseudo_labels(self_training_loss: Callable) -> None:
    """Against a direct formula, with its gradient."""
    logits = torch.tensor(LOGITS, requires_grad=True)
    sure, said = logits.detach().softmax(dim=1).max(dim=1)
    believed = sure >= 0.9  # three of the five; at 0.5 four
    each = F.cross_entropy(logits, said, reduction="none")
    wanted = (each * believed).mean()
    found = _scalar(self_training_loss(logits, 0.9))
    value = float(found.detach())
    if not _same(value, wanted):
        _which_mistake(value, logits.detach(), each.detach(), believed)
        raise Hint(f"For the check's logits the loss is {float(wanted.detach()):.4f}; yours is {value:.4f}.")
    if not _same(float(_scalar(self_training_loss(logits, 0.5)).detach()), (each.detach() * (sure >= 0.5)).mean()):
        raise Hint(
            "Right for a threshold of 0.9, not for 0.5: your function does not go by the `threshold` it is given."
        )
    if not found.requires_grad:
        raise Hint("No gradient flows back from your loss: detach the pseudo-labels only, not the logits.")
    (gradient,) = torch.autograd.grad(found.sum(), logits, allow_unused=True)
    (right,) = torch.autograd.grad(wanted, logits)
    if gradient is None or not torch.allclose(gradient, right, atol=1e-5):
        raise Hint(
            "The loss is right, its gradient is not: a pseudo-label is a fixed class, as if somebody had given it. Is "
            "something that you computed from the logits for it not detached?"
        )
    if not np.isfinite(float(_scalar(self_training_loss(torch.zeros(4, 3, requires_grad=True), 0.9)).detach())):
        raise Hint("When nobody is sure enough your loss is NaN: an empty mean. It should be 0 then.")


def _which_mistake(value: float, logits: torch.Tensor, each: torch.Tensor, believed: torch.Tensor) -> None:
    """Raise the hint for a value that a common mistake gives."""
    p = logits.softmax(dim=1)
    soft = -(p * p.log()).sum(dim=1)
    twice = F.cross_entropy(p, p.argmax(dim=1), reduction="none")
    if any(_same(value, (some * mask).sum() / n) for some in (soft, twice) for mask in (believed, 1) for n in (3, 5)):
        raise Hint(
            "This is not the cross-entropy of the logits with the most likely class. Two slips are common: probabilities "
            "given to cross_entropy, which takes the softmax itself; and probabilities, not one class, as the label."
        )
    if _same(-value, (each * believed).mean()):
        raise Hint("The sign is turned: cross-entropy is minus the logarithm of the probability, 0 or more.")
    if any(_same(sign * value, (p.max(dim=1).values * believed).mean()) for sign in (1, -1)):
        raise Hint("That averages probabilities: cross-entropy is minus the logarithm of the probability.")
    if _same(value, each.mean()):
        raise Hint("Only where the network is at least `threshold` sure; yours believes every answer.")
    if _same(value, each[believed].mean()):
        raise Hint(
            "Average over all target samples, not only over the believed ones: few believers shall count little."
        )
    if _same(value, each[believed].sum()):
        raise Hint("That is a sum over the samples: divide it by the number of all of them.")
    if any(_same(value, (each * ~believed).sum() / n) for n in (2, 5)):
        raise Hint("You believe the unsure and leave out the sure: keep those with probability `threshold` or more.")
    if _same(value, (each * (logits.max(dim=1).values >= 0.9)).mean()):
        raise Hint("The threshold is a probability, and you compare it with a logit: take the softmax first.")
    if _same(value, (each * (logits.softmax(dim=0).max(dim=1).values >= 0.9)).mean()):
        raise Hint("Your probabilities sum to 1 over the samples: take the softmax over the classes, dim=1.")
    if any(_same(value, (each * p.max(dim=1).values * mask).mean()) for mask in (believed, 1)):
        raise Hint("A sample is believed or not: do not weigh its cross-entropy by how sure the network is.")


def _scalar(found: object) -> torch.Tensor:
    if not isinstance(found, torch.Tensor) or found.numel() != 1:
        raise Hint(
            "Return the loss as a scalar tensor, so that it can be differentiated, also when nobody is believed."
        )
    return found


def _same(value: float, other: torch.Tensor) -> bool:
    return abs(value - float(other.detach())) < 1e-5
