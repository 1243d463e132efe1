"""The labels trick: new classes compete with each other only, so that old outputs are not trained down."""

from __future__ import annotations

from tl_helpers.continual.strategy import Strategy
from tl_helpers.data import Samples
from tl_helpers.models import Classifier


class LabelsTrick(Strategy):
    """Cross-entropy among the classes of the experience alone (Zeno et al. 2021), whatever the scenario.

    Changes training only: in the class-incremental scenario the answers still compete with all classes seen. Goes with other
    strategies, as in ``class Both(LabelsTrick, EWC): ...``.
    """

    name = "labels trick"

    def before_training(self, model: Classifier, train: Samples) -> None:
        super().before_training(model, train)
        own = self._allowed.new_zeros(len(self.stream.classes))
        own[list(self.stream[self.now].classes)] = True
        self._allowed = own.expand(len(train), -1)
