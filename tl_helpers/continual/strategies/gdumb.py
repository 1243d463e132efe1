"""GDumb: forget everything on purpose, and train anew on the buffer. A sanity check for the others."""

from __future__ import annotations

from tl_helpers.continual.buffer import Buffer
from tl_helpers.continual.strategy import MakeModel, Strategy
from tl_helpers.continual.streams import Stream
from tl_helpers.data import Samples
from tl_helpers.models import Classifier


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
