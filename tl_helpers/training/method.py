"""`Method`: what a transfer method adds to training, in few places named for when they happen.

Plain training is ``Method()`` itself. Domain adaptation (`tl_helpers.adaptation`), strategies against forgetting
(`tl_helpers.continual`) and `L2SP` are subclasses that change what they must; `tl_helpers.training.train` is the loop that
calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from tl_helpers import keys
from tl_helpers.activations import Line
from tl_helpers.data import Samples, Unlabelled
from tl_helpers.models import Classifier
from tl_helpers.training import scoring


@dataclass
class Step:
    """One step of training, as a method sees it.

    Attributes
    ----------
    model : Classifier
        While it is trained.
    depth : int
        The freeze line: stages below it are not in ``model.above``.
    number : int
        Of the step in the whole run, from 0.
    progress : float
        Share of the training that is done, in [0, 1).
    positions : torch.Tensor
        int64, shape (N,): which training samples these are.
    x : torch.Tensor
        The batch: prepared images, or activations at the freeze line; ``model.above(x, depth)`` are its logits.
    targets : torch.Tensor
        int64, shape (N,): classes; for soft labels float32 probabilities (N, classes).
    weights : torch.Tensor or None
        float32, shape (N,): of each sample in the loss.
    smoothing : float
        The recipe's label smoothing.
    second_positions, second_x : torch.Tensor or None
        The batch of the method's second samples, in the same form; None without such samples.
    embedded, logits : torch.Tensor
        From the forward pass: what the head saw, (N, dim), and what it said, float32 (N, classes).
    """

    model: Classifier
    depth: int
    number: int
    progress: float
    positions: Tensor
    x: Tensor
    targets: Tensor
    weights: Tensor | None = None
    smoothing: float = 0.0
    second_positions: Tensor | None = None
    second_x: Tensor | None = None
    embedded: Tensor = field(init=False)
    logits: Tensor = field(init=False)


class Method(nn.Module):
    """Plain training; a subclass overrides the places where it differs.

    What a method knows between steps belongs into buffers (``register_buffer``) and what it trains along into parameters,
    so that a checkpoint and a stored run bring them back. Its parameters are trained at the head's rate. A network that it
    only asks, such as a teacher, is kept in a list: then it is neither trained nor stored. What it draws, it draws with
    torch, before training, within a step or for its scores, or from a generator of its own.

    Parameters
    ----------
    settings : float or str
        Of the method, recorded with the run; a ValueError for a `strength` that is not 0 or more.

    Attributes
    ----------
    second : Samples or Unlabelled or None
        A batch of these is handed to every step, such as rehearsal samples or the target's; gone through again and again,
        each time in another order.
    facts : dict of str to torch.Tensor
        What the last step saw, such as a discriminator's accuracy: scalars, averaged over an epoch into its record.
    one_process : bool
        Whether the method would go wrong where several processes train together, each on its own batches: so unless a
        subclass says otherwise. A loss alone goes right.
    """

    one_process: ClassVar[bool] = True

    def __init__(self, **settings: float | str) -> None:
        super().__init__()
        if not 0 <= settings.get("strength", 0) < float("inf"):
            raise ValueError(f"strength={settings['strength']}: 0 or more.")
        self.settings: dict[str, float | str] = {"method": type(self).__name__, **settings}
        self.second: Samples | Unlabelled | None = None
        self.facts: dict[str, Tensor] = {}

    def check(self, model: Classifier, train: Samples, smoothing: float) -> None:
        """Before anything: a ValueError if model, training samples or label smoothing do not go with the method."""
        outputs = model.head[-1].out_features
        if len(train.classes) != outputs:
            raise ValueError(
                f"The head has {outputs} outputs, but {train.name} has {len(train.classes)} classes: make the model with "
                f"Classifier(backbone, classes={len(train.classes)})."
            )
        if len(train.labels.unique()) < 2:
            raise ValueError(f"{train.name}: all samples are of one class; training needs two or more.")
        second = self.second
        if second is None:
            return
        if len(second) == 0:
            raise ValueError(f"{second.name}: no samples for the second batch. Give one or more, or None for none.")
        if second.modality != train.modality:
            raise ValueError(f"{train.name} is of {train.modality}s, {second.name} of {second.modality}s.")
        if train.modality == "image" and second.inputs.shape[2:] != train.inputs.shape[2:]:
            raise ValueError(
                f"{train.name} has images of {tuple(train.inputs.shape[2:])} pixels, {second.name} of "
                f"{tuple(second.inputs.shape[2:])}: decode both at the same size."
            )

    def before_training(self, model: Classifier, train: Samples) -> None:
        """Once, before the first step, with the line frozen."""

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The forward pass: notes embeddings and logits in the step; returns the losses by name, scalars."""
        step.embedded = step.model.embed_above(step.x, step.depth)
        step.logits = step.model.head(step.embedded).float()
        losses, extra = {"task": self.task_loss(step)}, self.extra_loss(step)
        return losses if extra is None else losses | {"extra": extra}

    def task_loss(self, step: Step) -> Tensor:
        """What is learned: the cross-entropy, a scalar."""
        return cross_entropy(step.logits, step.targets, step.weights, step.smoothing)

    def extra_loss(self, step: Step) -> Tensor | None:
        """Added to it: a scalar, or None."""
        return None

    def backward(self, step: Step, losses: dict[str, Tensor]) -> None:
        """The backward pass, of the sum of the losses; a method may take the gradient of each by itself."""
        sum(losses.values()).backward()

    def after_backward(self, step: Step) -> None:
        """With the gradients there and before the optimiser moves: may change ``parameter.grad``."""

    def after_step(self, step: Step) -> None:
        """After the optimiser moved."""

    def scores(self, model: Classifier, validation: Samples, line: Line | None) -> dict[str, float]:
        """After an epoch: the validation scores, by name. `line` holds the samples' activations at the freeze line."""
        logits = scoring.logits_of(model, validation, line)
        if not torch.isfinite(logits).all():
            raise scoring.TrainingDiverged(
                "The model's outputs became NaN or infinite. Try a tenth of the learning rate."
            )
        return scoring.scored(logits, validation)

    def key(self) -> list:
        """Everything that the method adds to a run's name in the store: code, settings, state, second samples."""
        own = {name: value for name, value in vars(self).items() if name not in _KNOWN and not name.startswith("_")}
        return [keys.code_name(type(self)), keys.fingerprint(self), own]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items() if name != "method")


_KNOWN = {*vars(nn.Module()), "facts", "settings"}
"""Attributes of a method that are no setting of its own."""


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy, averaged over the batch with the samples' weights, float32 (N,); a scalar.

    Logits float32 (N, classes); targets int64 (N,), or float32 probabilities (N, classes); label smoothing in [0, 1)
    (Szegedy et al. 2016).
    """
    if weights is None:
        return nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    each = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return (each * weights).sum() / weights.sum()


class L2SP(Method):
    r"""L2-SP (Li et al. 2018): the backbone's weights are pulled back to where they started.

    .. math:: \frac{\alpha}{2} \lVert w - w_0 \rVert^2

    with the strength :math:`\alpha`, 0 or more.
    """

    one_process = False

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__(strength=strength)
        self.strength = strength

    def before_training(self, model: Classifier, train: Samples) -> None:
        self._pulled = [parameter for parameter in model.backbone.parameters() if parameter.requires_grad]
        self._start = [parameter.detach().clone() for parameter in self._pulled]

    def extra_loss(self, step: Step) -> Tensor | None:
        if not self._pulled:  # only the head is trained
            return None
        distances = [(now - start).square().sum() for now, start in zip(self._pulled, self._start, strict=True)]
        return self.strength / 2 * torch.stack(distances).sum()
