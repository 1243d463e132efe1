"""Dark experience replay: old samples, their labels, and what the network said about them when they were new."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from tl_helpers.continual.strategies.replay import Replay
from tl_helpers.continual.strategy import total
from tl_helpers.models import Classifier
from tl_helpers.training import Step


class DERPlusPlus(Replay):
    r"""DER++ (Buzzega et al. 2020): `Replay`, and the old samples shall also keep their old logits.

    .. math:: \alpha \, \frac1N \sum_x \frac1C \lVert h_\theta(x) - z \rVert^2 + \beta \, \mathrm{CE}(h_\theta(x), y)

    over a batch from the buffer, with the logits z that were kept with each image; each earlier experience counts as much
    as the new one. The strength :math:`\alpha`, 0 or more, is that of the logits, `again`, 0 or more, is :math:`\beta`. With
    :math:`\alpha = 0, \beta = 1` it is `Replay`. The paper draws one batch for each of the two terms, and keeps logits
    along the way; here both share a batch, and logits are those at the end of the sample's own experience.
    """

    name = "DER++"

    def __init__(self, size: int = 200, *, strength: float = 0.5, again: float = 1.0, kind: str = "reservoir") -> None:
        super().__init__(size, kind=kind)
        for setting, value in {"strength": strength, "again": again}.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{setting}={value}: 0 or more.")
        self.settings |= {"strength": strength, "again": again}
        self.strength, self.again = strength, again

    def extra_loss(self, step: Step) -> Tensor | None:
        others = super(Replay, self).extra_loss(step)
        if step.second_x is None:
            return others
        logits = step.model.above(step.second_x, step.depth).float()
        kept = torch.from_numpy(self.second.extra["logits"])[step.second_positions].to(logits.device)
        dark = (logits - kept).square().mean()
        return total(others, self.now * (self.strength * dark + self.again * self.loss_again(step, logits)))

    def after_experience(self, model: Classifier) -> None:
        super(Replay, self).after_experience(model)
        train = self.stream[self.now].train
        extra = train.extra | {"logits": self.logits(model, train, self.now)}
        self.buffer.add(dataclasses.replace(train, extra=extra))
        self.second = self.buffer.samples

    def memory(self) -> int:
        return super().memory() + self.buffer.samples.extra["logits"].nbytes
