r"""The diagonal of the Fisher information: how much each weight matters to the answers on given samples.

"The Fisher diagonal" means at least four things in papers and libraries, so it is chosen by name. With samples x, answers y,
and a sum over N samples:

``exact``
    :math:`\frac1N \sum_x \sum_y p(y|x) \left(\partial_\theta \log p(y|x)\right)^2`: the definition.
``sampled``
    One y drawn from the model's own p(y|x) for each x: right on average, and noisy.
``empirical``
    y is the sample's label: what most code computes. Near 0 once the model fits its labels.
``batch``
    The square of the *mean* gradient over batches of 32, as Avalanche computes it: gradients of different samples cancel
    before they are squared, so it is smaller by orders of magnitude, and a strength found with it fits nothing else.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from tl_helpers import runtime
from tl_helpers.activations import Line
from tl_helpers.data import Samples
from tl_helpers.models import Classifier

Estimate = Literal["exact", "sampled", "empirical", "batch"]
ESTIMATES: tuple[Estimate, ...] = ("exact", "sampled", "empirical", "batch")

TOGETHER = 32
"""Samples whose gradients are in memory at the same time; also the batch of ``batch``."""


def fisher_diagonal(
    model: Classifier, x: Tensor, labels: Tensor, allowed: Tensor, *, estimate: Estimate = "exact", seed: int = 0
) -> Tensor:
    """The Fisher diagonal of the parameters above the freeze line, in eval mode; a ValueError for no samples.

    From prepared images, or activations at the model's freeze line, (N, ...); labels, int64 (N,), which only
    ``empirical`` and ``batch`` look at; and the answers that each sample may get, bool (N, classes). The seed is that of
    the answers drawn for ``sampled``. Shape (P,), in the order of the model's parameters that ask for a gradient; 0 or
    above.
    """
    if estimate not in ESTIMATES:
        raise ValueError(f"estimate={estimate!r}: use {', '.join(ESTIMATES)}.")
    if len(x) == 0:
        raise ValueError("The Fisher information of no samples: give one or more.")
    was_training = model.training
    model.eval()
    above = _Above(model)
    moving = {name: weight.detach() for name, weight in above.named_parameters() if weight.requires_grad}

    def log_likelihood(moving: dict, x: Tensor, y: Tensor, allowed: Tensor) -> Tensor:
        logits = functional_call(above, moving, (x[None],))[0]
        return logits.masked_fill(~allowed, -torch.inf).log_softmax(dim=0).gather(0, y[None])[0]

    each = vmap(grad(log_likelihood), in_dims=(None, 0, 0, 0))
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(sum(tensor.numel() for tensor in moving.values()), dtype=x.dtype, device=x.device)
    batches = [part.to(x.device).split(TOGETHER) for part in (x, labels, allowed)]
    for xs, y, ok in zip(*batches, strict=True):
        with torch.no_grad():
            p = above(xs).masked_fill(~ok, -torch.inf).softmax(dim=1)
        if estimate == "exact":
            for answer in ok.any(dim=0).nonzero()[:, 0]:
                kept = ok[:, answer]
                found = each(moving, xs[kept], answer.expand(int(kept.sum())), ok[kept])
                total += _sum_of_squares(found, p[kept, answer])
            continue
        if estimate == "sampled":
            y = torch.multinomial(p.cpu(), 1, generator=generator)[:, 0].to(x.device)
        found = each(moving, xs, y, ok)
        if estimate == "batch":
            total += torch.cat([g.mean(dim=0).square().reshape(-1) for g in found.values()])
        else:
            total += _sum_of_squares(found, torch.ones(len(xs), dtype=x.dtype, device=x.device))
    model.train(was_training)
    return total / (len(batches[0]) if estimate == "batch" else len(x))


def inputs_of(model: Classifier, samples: Samples) -> Tensor:
    """What reaches the freeze line: prepared images, or activations, (N, ...), on the device in use."""
    device = runtime.current().device
    model.to(device)
    depth = model.backbone.frozen_depth
    if depth:
        return Line(model.backbone, depth, samples, views=1)(torch.arange(len(samples))).to(device)
    return model.backbone.prepare(samples.inputs.to(device))


def _sum_of_squares(gradients: dict[str, Tensor], weights: Tensor) -> Tensor:
    """Over the samples, each with its weight (N,): shape (P,)."""
    return torch.cat([(g.square().flatten(1) * weights[:, None]).sum(dim=0) for g in gradients.values()])


class _Above(nn.Module):
    """The part of a model above its freeze line, as a module of its own."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model, self.depth = model, model.backbone.frozen_depth

    def forward(self, x: Tensor) -> Tensor:
        return self.model.above(x, self.depth)
