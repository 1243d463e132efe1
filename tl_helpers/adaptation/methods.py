"""The methods that train: each adds one loss to the common `fit`, as ``fit(model, ..., method=DANN(pair.target()))``.

All of them see the target's images and never its labels; `Alignment` says what they have in common. The losses take a batch
of source features (N, d) and one of target features (M, d); a ValueError says where a batch holds one sample, or the widths
differ.
"""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor, nn

from tl_helpers import runtime
from tl_helpers.adaptation.shift import FACTORS
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


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared Frobenius distance of the covariances, over 4 d^2: DeepCORAL (Sun and Saenko 2016), equation 1."""
    _check(source, target)
    difference = source.T.cov() - target.T.cov()
    return difference.square().sum() / (4 * source.shape[1] ** 2)


class DeepCORAL(Alignment):
    """Equal covariances of the features (Sun and Saenko 2016 take their last layer, the logits)."""

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        return coral_loss(features[:sources], features[sources:])


def mmd_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared MMD (the biased estimate, so never below 0) under a mean of Gaussian kernels: DAN (Long et al. 2015).

    Bandwidths are multiples of the batch's root mean squared distance; no gradient flows through that.
    """
    _check(source, target)
    x = torch.cat([source, target])
    squared = (x[:, None] - x[None]).square().sum(dim=2)
    scale = (squared.detach().sum() / (len(x) * (len(x) - 1))).clamp_min(torch.finfo(x.dtype).tiny)
    gram = torch.stack([torch.exp(-squared / (2 * f**2 * scale)) for f in FACTORS]).mean(dim=0)
    n = len(source)
    return gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean()


class DAN(Alignment):
    """Equal features and equal logits under a mixture of Gaussian kernels: deep adaptation network (Long et al. 2015)."""

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        return mmd_loss(features[:sources], features[sources:]) + mmd_loss(logits[:sources], logits[sources:])


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """The same values; on the way back, the gradient times ``-strength``: DANN (Ganin et al. 2016), section 4."""
    return _Reverse.apply(x, strength)


def reversal_strength(progress: float) -> float:
    """The paper's schedule, 2 / (1 + exp(-10 p)) - 1, for the share p of training that is done, from 0 to 1."""
    if not 0 <= progress <= 1:
        raise ValueError(f"progress={progress}: a share of training, from 0 to 1.")
    return 2 / (1 + math.exp(-10.0 * progress)) - 1


def domain_loss(source_logits: Tensor, target_logits: Tensor, weights: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Binary cross-entropy of a domain classifier (source 1, target 0), mean of the two domains' means.

    Logits are float, shapes (N,) and (M,), and so are the weights of each domain's samples; see `certainty`.
    """
    each = nn.functional.softplus(-source_logits), nn.functional.softplus(target_logits)
    if weights is None:
        return sum(loss.mean() for loss in each) / 2
    return sum((w * loss).sum() / w.sum() for w, loss in zip(weights, each, strict=True)) / 2


def discriminator(inputs: int, seed: int) -> nn.Sequential:
    """A domain classifier, (N, inputs) to logits (N, 1): two hidden layers, as in Ganin et al. (2016).

    Its weights come from `seed` alone, independent of the global random state.
    """
    with runtime.RandomNumbers(seed):
        return nn.Sequential(
            nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        )


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


def conditioned(features: Tensor, probabilities: Tensor) -> Tensor:
    """The outer product of features and class probabilities, flattened: what CDAN's domain classifier looks at.

    Long et al. (2018), equation 5. Shapes (N, d) and (N, c) give (N, d c).
    """
    return (probabilities[:, :, None] * features[:, None, :]).flatten(1)


def certainty(probabilities: Tensor) -> Tensor:
    """CDAN+E's weights 1 + exp(-H(p)) (Long et al. 2018, section 3.3), without gradient; shape (N, c) gives (N,)."""
    return 1 + torch.exp(-entropy(probabilities.detach()))


def entropy(probabilities: Tensor) -> Tensor:
    """In nats; shape (N, c) gives (N,). Zero probabilities count as zero."""
    return -torch.xlogy(probabilities, probabilities).sum(dim=1)


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


def _check(source: Tensor, target: Tensor) -> None:
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise ValueError(
            f"features must be (N, d) and (M, d) with the same d; got {tuple(source.shape)} and {tuple(target.shape)}."
        )
    if min(len(source), len(target)) < 2:
        raise ValueError("alignment needs two samples or more of each domain in a batch: raise the batch size.")
