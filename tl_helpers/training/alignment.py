"""`Alignment`: what `fit` needs of a domain adaptation method. The methods themselves are in `tl_helpers.adaptation`."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from tl_helpers import keys
from tl_helpers.data import Samples, Unlabelled


class Alignment(nn.Module, abc.ABC):
    """A loss on a batch of source and target, which `fit` adds to the source's cross-entropy in every step.

    Source and target go through the network one after the other, so batch norm sees each domain by its own statistics.
    A method is a subclass with a `loss`; its own weights, if any (a discriminator's), are ordinary parameters. A stored run
    brings back the model's weights, not these.

    Parameters
    ----------
    target : Unlabelled
        The target's training images.
    strength : float
        Of the loss beside the cross-entropy, 0 or more.
    settings : float or str
        Further settings of the method, recorded with the run.

    Attributes
    ----------
    facts : dict of str to torch.Tensor
        What the last step saw, such as the discriminator's accuracy: scalars, averaged over an epoch into its record.

    Raises
    ------
    ValueError
        For a negative strength, or fewer than two target samples.
    """

    def __init__(self, target: Unlabelled, strength: float = 1.0, **settings: float | str) -> None:
        super().__init__()
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength={strength}: 0 (no alignment) or more.")
        if len(target) < 2:
            raise ValueError(f"{target.name}: {len(target)} sample(s) of the target; alignment needs two or more.")
        self.target, self.strength = target, strength
        self.settings = {"method": type(self).__name__, "strength": strength, **settings}
        self.facts: dict[str, Tensor] = {}

    @property
    def weight(self) -> float:
        """What the loss is multiplied by: the strength, unless a method uses that in another place."""
        return self.strength

    @abc.abstractmethod
    def loss(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        """The method's loss, a scalar.

        Parameters
        ----------
        features : torch.Tensor
            float32, shape (N, dim): embeddings, the source's first.
        logits : torch.Tensor
            float32, shape (N, classes).
        sources : int
            How many of the N are the source's.
        progress : float
            Share of the training that is done, in [0, 1).
        """

    def forward(self, features: Tensor, logits: Tensor, sources: int, progress: float) -> Tensor:
        """The loss times its weight; notes the loss in `facts`, begun anew in each step."""
        self.facts = {}
        value = self.loss(features, logits, sources, progress)
        self.facts["alignment_loss"] = value.detach()
        return self.weight * value

    def check(self, train: Samples) -> None:
        """Raise a ValueError if this target does not go with these training samples."""
        if self.target.classes != train.classes:
            raise ValueError(f"{train.name} and {self.target.name} have other classes: adaptation needs the same ones.")
        text = all(samples.pixels.shape[1:3] == (1, 1) for samples in (self.target, train))
        if not text and self.target.pixels.shape[1:] != train.pixels.shape[1:]:
            raise ValueError(
                f"{train.name} has images of shape {tuple(train.pixels.shape[1:])}, {self.target.name} of shape "
                f"{tuple(self.target.pixels.shape[1:])}: use DomainPair(..., size=...), which makes them alike."
            )

    def key(self) -> list:
        """Everything that the alignment adds to a run's name in the store: code, settings, weights, target."""
        return [keys.code_name(type(self)), self.settings, keys.fingerprint(self), self.target.fingerprint]
