"""`Alignment`: what the methods of domain adaptation that train have in common (see `tl_helpers.adaptation.methods`)."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from tl_helpers.data import Samples, Unlabelled
from tl_helpers.models import Classifier
from tl_helpers.training import Method, Step


class Alignment(Method, abc.ABC):
    """A loss on a batch of source and target, added to the source's cross-entropy in every step.

    Source and target go through the network one after the other, so batch norm sees each domain by its own statistics.
    A method is a subclass with a `loss`; its own weights, if any (a discriminator's), are ordinary parameters.

    Parameters
    ----------
    target : Unlabelled
        The target's training images, two or more.
    strength : float
        Of the loss beside the cross-entropy, 0 or more.
    settings : float or str
        Further settings of the method, recorded with the run.
    """

    one_process = False

    def __init__(self, target: Unlabelled, strength: float = 1.0, **settings: float | str) -> None:
        super().__init__(strength=strength, **settings)
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength={strength}: 0 (no alignment) or more.")
        if len(target) < 2:
            raise ValueError(f"{target.name}: {len(target)} sample(s) of the target; alignment needs two or more.")
        self.second = self.target = target
        self.strength = strength

    @property
    def weight(self) -> float:
        """What the loss is multiplied by: the strength, unless a method uses that in another place."""
        return self.strength

    @abc.abstractmethod
    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        """The method's loss, a scalar.

        Parameters
        ----------
        features, logits : torch.Tensor
            float32, shapes (N, dim) and (N, classes), the source's first.
        sources : int
            How many of the N are the source's.
        progress : float
            Share of the training that is done, in [0, 1).
        """

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Source and target through the network; the losses ``task`` and ``alignment``."""
        model, sources = step.model, len(step.x)
        features = torch.cat([model.embed_above(x, step.depth) for x in (step.x, step.second_x)])
        logits = model.head(features)
        step.embedded, step.logits = features[:sources], logits[:sources].float()
        with torch.autocast(step.x.device.type, enabled=False):
            value = self.weighted(features.float(), logits.float(), sources, step.progress)
        return {"task": self.task_loss(step), "alignment": value}

    def weighted(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        """The loss times its weight; notes the loss in `facts`."""
        value = self.loss(features, logits, sources, progress)
        self.facts["alignment_loss"] = value.detach()
        return self.weight * value

    def check(self, model: Classifier, train: Samples, smoothing: float) -> None:
        if self.target.classes != train.classes:
            raise ValueError(f"{train.name} and {self.target.name} have other classes: adaptation needs the same ones.")
        if self.target.modality == train.modality == "image" and self.target.inputs.shape[1:] != train.inputs.shape[1:]:
            raise ValueError(
                f"{train.name} has images of shape {tuple(train.inputs.shape[1:])}, {self.target.name} of shape "
                f"{tuple(self.target.inputs.shape[1:])}: use DomainPair(..., size=...), which makes them alike."
            )
        super().check(model, train, smoothing)
