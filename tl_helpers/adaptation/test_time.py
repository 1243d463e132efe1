"""Adaptation without the source's data: a finished model, unlabelled samples of the target, batch by batch (chapter 7)."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from tl_helpers import runtime
from tl_helpers.adaptation.methods import entropy
from tl_helpers.adaptation.statistics import _norms
from tl_helpers.data import Samples, Unlabelled
from tl_helpers.models import Classifier


def tent(
    model: Classifier, samples: Samples | Unlabelled, *, batch_size: int = 64, lr: float = 1e-3
) -> tuple[Classifier, np.ndarray]:
    """Answer a stream of samples and learn from the answers: TENT (Wang et al. 2021).

    Each batch, in the order given, is normalised by its own statistics and answered; then one step of Adam lowers the mean
    entropy of these answers. Only the batch norms' scales and shifts above the freeze line move.

    Parameters
    ----------
    model : Classifier
        Stays as it is.
    samples : Samples or Unlabelled
        The stream; it is divided into batches of about equal size.
    batch_size : int
        About so many samples a batch, two or more.
    lr : float
        Rate of the steps; with 0 only the batches' own statistics are used.

    Returns
    -------
    Classifier
        As it is after the last step; its running statistics are the model's.
    numpy.ndarray, float32, shape (samples, classes)
        Logits, each given before the step that its batch caused.

    Raises
    ------
    ValueError
        For batches or streams of fewer than two samples, a negative rate, or a model without batch norm above its freeze
        line.
    """
    if batch_size < 2 or len(samples) < 2:
        raise ValueError(f"batches of {min(batch_size, len(samples))}: their statistics need two samples or more.")
    if lr < 0:
        raise ValueError(f"lr={lr}: 0 or more.")
    here = runtime.current()
    student = copy.deepcopy(model).eval().requires_grad_(False).to(here.device)
    norms = _norms(student)
    if not norms:
        raise ValueError("the model has no batch norm above its freeze line, so there is nothing to adapt.")
    for norm in norms:
        nn.Module.train(norm)
        norm.track_running_stats = False  # the batch's statistics, and no trace of them
        norm.requires_grad_(True)
    optimiser = torch.optim.Adam([p for norm in norms for p in norm.parameters()], lr=lr)
    logits = []
    for batch in np.array_split(np.arange(len(samples)), max(1, round(len(samples) / batch_size))):
        said = student(student.backbone.prepare(samples.inputs[batch].to(here.device)))
        logits.append(said.detach().float().cpu().numpy())
        optimiser.zero_grad()
        entropy(said.float().softmax(dim=1)).mean().backward()
        optimiser.step()
    for norm in norms:
        norm.track_running_stats = True
    return student.eval().requires_grad_(True), np.concatenate(logits)
