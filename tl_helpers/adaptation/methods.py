"""The methods that train: each adds one loss to the common `fit`, as ``fit(model, ..., method=DANN(pair.target()))``.

All of them see the target's images and never its labels; `Alignment` says what they have in common.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from tl_helpers import runtime
from tl_helpers.adaptation.losses import (
    certainty,
    conditioned,
    coral_loss,
    domain_loss,
    mmd_loss,
    reversal_strength,
    reverse_gradient,
)
from tl_helpers.data import Samples, Unlabelled
from tl_helpers.models import Classifier
from tl_helpers.training import Method, Step

HIDDEN = 128
"""Width of the domain classifiers' two hidden layers."""


class Alignment(Method, abc.ABC):
    """A loss on a batch of source and target, added to the source's cross-entropy in every step.

    Source and target go through the network one after the other, so batch norm sees each domain by its own statistics.
    A method is a subclass with a `loss`; its own weights, if any (a discriminator's), are ordinary parameters. It gets
    the target's training images, two or more, and the strength of the loss beside the cross-entropy, 0 or more; a method
    that uses that in another place sets `weight` to 1. Further settings are recorded with the run.
    """

    one_process = False

    def __init__(self, target: Unlabelled, strength: float = 1.0, **settings: float | str) -> None:
        super().__init__(strength=strength, **settings)
        if len(target) < 2:
            raise ValueError(f"{target.name}: {len(target)} sample(s) of the target; alignment needs two or more.")
        self.second = self.target = target
        self.strength = self.weight = strength

    @abc.abstractmethod
    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        """The method's loss, a scalar, from float32 features (N, dim) and logits (N, classes).

        The first `sources` of the N are the source's; `progress` is the share of the training that is done, in [0, 1).
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


class DeepCORAL(Alignment):
    """Equal covariances of the features (Sun and Saenko 2016 take their last layer, the logits)."""

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        return coral_loss(features[:sources], features[sources:])


class DAN(Alignment):
    """Equal features and equal logits under a mixture of Gaussian kernels: deep adaptation network (Long et al. 2015)."""

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        return mmd_loss(features[:sources], features[sources:]) + mmd_loss(logits[:sources], logits[sources:])


class DANN(Alignment):
    """Features in which a discriminator cannot find the domain (Ganin et al. 2016).

    The discriminator learns to tell the domains apart, at full rate; the gradient that reaches the features is reversed
    and grows from 0 to `strength` along the paper's schedule. `dim` is the length of the embedding
    (``model.backbone.dim``), `seed` that of the discriminator's initial weights.
    """

    def __init__(self, target: Unlabelled, strength: float = 1.0, *, dim: int, seed: int = 0) -> None:
        super().__init__(target, strength, dim=dim)
        self.weight = 1.0
        self.discriminator = discriminator(dim, seed)

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        return self.play(features, sources, progress)

    def play(self, x: Tensor, sources: int, progress: float, weights: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Both sides of the game in one backward pass; notes how often the discriminator was right, in %."""
        said = self.discriminator(reverse_gradient(x, self.strength * reversal_strength(progress)))[:, 0]
        ours, theirs = said[:sources].detach(), said[sources:].detach()
        self.facts["domain_accuracy"] = 50 * ((ours > 0).float().mean() + (theirs <= 0).float().mean())
        return domain_loss(said[:sources], said[sources:], weights)


class CDAN(DANN):
    """DANN whose discriminator also sees what the classifier says: features times class probabilities (Long et al. 2018).

    Their CDAN+E: samples that the classifier is sure of count for more.
    """

    def __init__(self, target: Unlabelled, strength: float = 1.0, *, dim: int, seed: int = 0) -> None:
        super().__init__(target, strength, dim=dim * len(target.classes), seed=seed)

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        p = logits.detach().softmax(dim=1)
        weights = certainty(p)
        return self.play(conditioned(features, p), sources, progress, (weights[:sources], weights[sources:]))


class SelfTraining(Alignment):
    """Learn from the model's own confident answers on the target (pseudo-labels; Lee 2013).

    A target sample counts once its most likely class has a probability of `threshold`, in (0, 1]. The loss on the
    target starts after a fifth of the training, when there is something to believe, and grows to `strength` by the end.
    """

    START = 0.2

    def __init__(self, target: Unlabelled, strength: float = 1.0, *, threshold: float = 0.9) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold}: a probability above 0, up to 1.")
        super().__init__(target, strength, threshold=threshold)
        self.threshold = threshold

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        theirs = logits[sources:]
        sure, said = theirs.detach().softmax(dim=1).max(dim=1)
        believed = (sure >= self.threshold).float()
        self.facts["believed"] = 100 * believed.mean()
        growth = max(0.0, progress - self.START) / (1 - self.START)
        each = nn.functional.cross_entropy(theirs, said, reduction="none")
        return growth * (believed * each).mean()


def discriminator(inputs: int, seed: int) -> nn.Sequential:
    """A domain classifier, (N, inputs) to logits (N, 1): two hidden layers, as in Ganin et al. (2016).

    Its weights come from `seed` alone, independent of the global random state.
    """
    with runtime.RandomNumbers(seed):
        return nn.Sequential(
            nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        )
