"""Joint: a new model on everything so far. No continual learner, but what one hopes to reach."""

from __future__ import annotations

from tl_helpers.continual.strategy import Strategy
from tl_helpers.continual.streams import together
from tl_helpers.data import Samples
from tl_helpers.models import Classifier


class Joint(Strategy):
    """All samples of all experiences so far, from scratch each time: the upper bound. Counts what it keeps as memory."""

    name = "joint"

    def before_experience(self, model: Classifier) -> Classifier:
        return self.make_model(self.seed)

    def samples(self) -> Samples:
        return together([self.stream[number].train for number in range(self.now + 1)], "everything so far")

    def memory(self) -> int:
        kept = self.samples()
        return kept.inputs.nbytes + kept.labels.nbytes
