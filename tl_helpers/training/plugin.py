"""`Plugin`: what `fit` lets a strategy against forgetting do in each step. The strategies are in `tl_helpers.continual`.

`Retention` measures, while the target is learned, how much of the source task is left.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_helpers import keys
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import scoring


@dataclass(frozen=True)
class Step:
    """One training step, as a plugin sees it.

    Attributes
    ----------
    model : Classifier
        While it is trained.
    x : torch.Tensor
        The batch: prepared images, or activations at the freeze line; ``model.above(x, depth)`` are its logits.
    depth : int
        The freeze line.
    positions : torch.Tensor
        int64, shape (N,): which training samples these are.
    targets : torch.Tensor
        int64, shape (N,).
    logits : torch.Tensor
        float32, shape (N, classes): as they came out, before answers that are not allowed were left out.
    embedded : torch.Tensor
        Shape (N, dim): what the head saw.
    progress : float
        Share of the training that is done, in [0, 1).
    again_x, again_positions : torch.Tensor or None
        The batch of the plugin's rehearsal samples, in the same form; None without such samples.
    """

    model: Classifier
    x: Tensor
    depth: int
    positions: Tensor
    targets: Tensor
    logits: Tensor
    embedded: Tensor
    progress: float
    again_x: Tensor | None = None
    again_positions: Tensor | None = None


class Plugin(nn.Module):
    """Five places in a training run where a strategy may act; each does nothing unless a subclass says otherwise.

    What a plugin knows between steps belongs into buffers (``register_buffer``), so that a checkpoint and a stored run
    bring it back. A rehearsal batch goes through the network on its own, after the batch.

    Parameters
    ----------
    settings : float or str
        Of the method, recorded with the run.

    Attributes
    ----------
    rehearsal : Samples or None
        A batch of these is handed to every step; gone through again and again, each time in another order.
    """

    def __init__(self, **settings: float | str) -> None:
        super().__init__()
        self.settings: dict[str, float | str] = {"plugin": type(self).__name__, **settings}
        self.rehearsal: Samples | None = None

    def begin(self, model: Classifier, train: Samples) -> None:
        """Once, before the first step, with the line frozen."""

    def allowed(self, positions: Tensor) -> Tensor | None:
        """Which answers each of these training samples may get: bool, shape (N, classes); None allows all.

        The cross-entropy is then among those only, as if the others had no output.
        """
        return None

    def loss(self, step: Step) -> Tensor | None:
        """Added to the cross-entropy: a scalar, or None."""
        return None

    def adjust(self, step: Step) -> None:
        """After the gradients are there and before the optimiser moves: may change ``parameter.grad``."""

    def after(self, step: Step) -> None:
        """After the optimiser moved."""

    def check(self, train: Samples) -> None:
        """Raise a ValueError if the rehearsal samples do not go with these training samples."""
        again = self.rehearsal
        if again is None:
            return
        if len(again) == 0:
            raise ValueError(f"{again.name}: no rehearsal samples. Give one or more, or None for none.")
        text = all(samples.pixels.shape[1:3] == (1, 1) for samples in (again, train))
        if not text and again.pixels.shape[2:] != train.pixels.shape[2:]:
            raise ValueError(
                f"{train.name} has images of {tuple(train.pixels.shape[2:])} pixels, the rehearsal samples "
                f"{again.name} of {tuple(again.pixels.shape[2:])}: decode both at the same size."
            )

    def key(self) -> list:
        """Everything that the plugin adds to a run's name in the store: code, settings, state, rehearsal samples."""
        again = [] if self.rehearsal is None else [self.rehearsal.fingerprint]
        return [keys.code_name(type(self)), self.settings, keys.fingerprint(self), again]


class Retention:
    """How much of the source task is left: measured before the first step, after steps 1, 2, 4, 8, ... and each epoch.

    Pass it to `fit`; the measurements are the run's ``retention``. The source's head is put back on the backbone that is
    being trained, as a user would who wants the old answers from the new weights.

    Parameters
    ----------
    samples : Samples
        Held-out samples of the source task.
    head : nn.Module
        The source's own head, (N, dim) to (N, outputs). It is not trained.
    classes : sequence of int, optional
        Outputs that the answer is chosen among; a sample's label is its place in this list. By default all.

    Raises
    ------
    ValueError
        For no samples, or labels beyond the outputs.
    """

    def __init__(self, samples: Samples, head: nn.Module, *, classes: Sequence[int] | None = None) -> None:
        if len(samples) == 0:
            raise ValueError(f"{samples.name}: no samples of the source to measure retention on.")
        if classes is not None and len(classes) <= int(samples.labels.max()):
            raise ValueError(
                f"{samples.name}: labels up to {int(samples.labels.max())}, but only {len(classes)} outputs to choose "
                "among. A label is a place in the list of outputs."
            )
        self.samples, self.head = samples, copy.deepcopy(head)  # its own: it moves along with the model
        self.classes = None if classes is None else list(classes)

    def accuracy(self, model: Classifier) -> float:
        """The source's accuracy with the backbone as it is now, in %."""
        at = next(model.parameters()).device
        was_training, head_trains = model.training, self.head.training
        model.eval()
        self.head.eval().to(at)
        right = 0
        with torch.inference_mode():
            for start in range(0, len(self.samples), scoring.BATCH):
                some = slice(start, start + scoring.BATCH)
                x = model.backbone.prepare(self.samples.pixels[some].to(at))
                said = self.head(model.backbone(x)).float().cpu()
                said = said if self.classes is None else said[:, self.classes]
                if said.shape[1] <= int(self.samples.labels.max()):
                    raise ValueError(f"{self.samples.name}: labels beyond the head's {said.shape[1]} outputs.")
                right += int((said.argmax(dim=1) == self.samples.labels[some]).sum())
        model.train(was_training)
        self.head.train(head_trains)
        return 100 * right / len(self.samples)

    def key(self) -> list:
        """What it adds to a run's name in the store."""
        code = keys.code_name(type(self))
        return [code, self.samples.fingerprint, keys.fingerprint(self.head), self.classes or []]

    @staticmethod
    def due(step: int, steps_in_epoch: int) -> bool:
        """Whether to measure after this many steps: at powers of two, and at the end of an epoch."""
        return step % steps_in_epoch == 0 or math.log2(step).is_integer()
