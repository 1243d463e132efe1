"""What the others are measured against: fine-tune in turn, learn everything again, or learn the buffer alone."""

from __future__ import annotations

from tl_helpers.continual.buffer import Buffer
from tl_helpers.continual.strategy import MakeModel, Strategy
from tl_helpers.continual.streams import Stream, together
from tl_helpers.data import Samples
from tl_helpers.models import Classifier


class Naive(Strategy):
    """Nothing against forgetting: the lower bound."""

    name = "naive"


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


class GDumb(Strategy):
    """GDumb (Prabhu et al. 2020): collect a class-balanced buffer of some size; when asked, train a new model on it alone.

    A strategy with a buffer of the same size that does worse learned nothing from the stream.
    """

    name = "GDumb"

    def __init__(self, size: int = 200) -> None:
        super().__init__(size=size)
        self.size = size

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        super().before_stream(stream, make_model, seed)
        self.buffer = Buffer(self.size, "balanced", seed)

    def before_experience(self, model: Classifier) -> Classifier:
        self.buffer.add(self.stream[self.now].train)
        return self.make_model(self.seed)

    def samples(self) -> Samples:
        return self.buffer.samples

    def memory(self) -> int:
        return self.buffer.nbytes()
