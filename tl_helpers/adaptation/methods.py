"""The methods that train: each adds one loss to the common `fit`, as ``fit(model, ..., method=DANN(pair.target()))``.

All of them see the target's images and never its labels; `Alignment` says what they have in common.
"""

from __future__ import annotations

from torch import Tensor, nn

from tl_helpers import runtime
from tl_helpers.adaptation.alignment import Alignment
from tl_helpers.adaptation.losses import (
    certainty,
    conditioned,
    coral_loss,
    domain_loss,
    mmd_loss,
    reversal_strength,
    reverse_gradient,
)
from tl_helpers.data import Unlabelled

HIDDEN = 128
"""Width of the domain classifiers' two hidden layers."""


class DeepCORAL(Alignment):
    """Equal covariances of the ``features``, or of the ``logits`` (Sun and Saenko 2016: their last layer)."""

    def __init__(self, target: Unlabelled, strength: float = 1.0, *, on: str = "features") -> None:
        if on not in ("features", "logits"):
            raise ValueError(f"on={on!r}: use 'features' or 'logits'.")
        super().__init__(target, strength, on=on)
        self.on = on

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        x = features if self.on == "features" else logits
        return coral_loss(x[:sources], x[sources:])


class DAN(Alignment):
    """Equal features and equal logits under a mixture of Gaussian kernels: deep adaptation network (Long et al. 2015)."""

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        return mmd_loss(features[:sources], features[sources:]) + mmd_loss(logits[:sources], logits[sources:])


class DANN(Alignment):
    """Features in which a discriminator cannot find the domain (Ganin et al. 2016).

    The discriminator learns to tell the domains apart; the gradient that reaches the features is reversed and grows
    from 0 to `strength` along the paper's schedule. `dim` is the length of the embedding (``model.backbone.dim``),
    `seed` that of the discriminator's initial weights.
    """

    def __init__(self, target: Unlabelled, strength: float = 1.0, *, dim: int, seed: int = 0) -> None:
        super().__init__(target, strength, dim=dim)
        self.discriminator = discriminator(self.inputs(dim), seed)

    def inputs(self, dim: int) -> int:
        """How many numbers the discriminator looks at."""
        return dim

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        return self.play(features, sources, progress)

    @property
    def weight(self) -> float:
        """1: the strength is the reversal's, so that the discriminator itself learns at full rate."""
        return 1.0

    def play(self, x: Tensor, sources: int, progress: float, weights: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Both sides of the game in one backward pass; notes how often the discriminator was right, in %."""
        said = self.discriminator(reverse_gradient(x, self.strength * reversal_strength(progress)))[:, 0]
        ours, theirs = said[:sources].detach(), said[sources:].detach()
        self.facts["domain_accuracy"] = 50 * ((ours > 0).float().mean() + (theirs <= 0).float().mean())
        return domain_loss(said[:sources], said[sources:], weights)


class CDAN(DANN):
    """DANN whose discriminator also sees what the classifier says: features times class probabilities (Long et al. 2018).

    With `entropy` it is CDAN+E: samples that the classifier is sure of count for more.
    """

    def __init__(
        self, target: Unlabelled, strength: float = 1.0, *, dim: int, entropy: bool = True, seed: int = 0
    ) -> None:
        super().__init__(target, strength, dim=dim, seed=seed)
        self.settings["entropy"] = str(entropy)
        self.entropy = entropy

    def inputs(self, dim: int) -> int:
        """Features times classes."""
        return dim * len(self.target.classes)

    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        p = logits.detach().softmax(dim=1)
        weights = certainty(p) if self.entropy else None
        pair = None if weights is None else (weights[:sources], weights[sources:])
        return self.play(conditioned(features, p), sources, progress, pair)


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
