"""Experience replay: a few old samples in every step."""

from __future__ import annotations

import torch

from tl_helpers.continual.buffer import Buffer
from tl_helpers.continual.strategy import MakeModel, Strategy, masked_cross_entropy, total
from tl_helpers.continual.streams import Stream
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import Step


class Replay(Strategy):
    """Experience replay (Rolnick et al. 2019; Chaudhry et al. 2019): rehearse samples from a small buffer.

    Every step takes a second batch from the buffer, which holds `size` samples of all experiences together; each
    earlier experience counts as much as the new one. For the kinds see `tl_helpers.continual.Buffer`.
    """

    name = "replay"

    def __init__(self, size: int = 200, *, kind: str = "reservoir") -> None:
        super().__init__(size=size, kind=kind)
        self.size, self.kind = size, kind

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        super().before_stream(stream, make_model, seed)
        self.buffer = Buffer(self.size, self.kind, seed)

    def before_training(self, model: Classifier, train: Samples) -> None:
        super().before_training(model, train)
        if self.second is not None:
            self._allowed_again = self.stream.allowed(self.now, self.second.extra["experience"])

    def extra_loss(self, step: Step) -> torch.Tensor | None:
        again = None if step.second_x is None else self.now * self.loss_again(step)
        return total(super().extra_loss(step), again)

    def loss_again(self, step: Step, logits: torch.Tensor | None = None) -> torch.Tensor:
        """Cross-entropy of the rehearsal batch, a scalar; of its logits, where they are known already."""
        if logits is None:
            logits = step.model.above(step.second_x, step.depth).float()
        labels = self.second.labels[step.second_positions].to(logits.device)
        return masked_cross_entropy(logits, labels, self._allowed_again[step.second_positions])

    def after_experience(self, model: Classifier) -> None:
        super().after_experience(model)
        self.buffer.add(self.stream[self.now].train)
        self.second = self.buffer.samples

    def memory(self) -> int:
        return super().memory() + self.buffer.nbytes()
