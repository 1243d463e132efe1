"""L2-SP: all weights are held back alike, whether they mattered or not."""

from __future__ import annotations

from torch import Tensor

from tl_helpers import training
from tl_helpers.continual.strategy import Strategy, total
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import Step


class L2SP(Strategy):
    """L2-SP (Li et al. 2018) towards the backbone of before the experience; see `tl_helpers.training.L2SP`."""

    name = "L2-SP"

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__(strength=strength)
        self.pull = training.L2SP(strength)

    def before_training(self, model: Classifier, train: Samples) -> None:
        super().before_training(model, train)
        self.pull.before_training(model, train)

    def extra_loss(self, step: Step) -> Tensor | None:
        return total(super().extra_loss(step), self.pull.extra_loss(step) if self.now else None)

    def memory(self) -> int:
        """The backbone's weights of before the experience, while they pull."""
        return super().memory() + sum(tensor.nbytes for tensor in self.pull._start)
