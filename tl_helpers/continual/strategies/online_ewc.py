"""Online EWC: one penalty for all earlier experiences, so that memory does not grow with the stream."""

from __future__ import annotations

import torch

from tl_helpers.continual.fisher import Estimate
from tl_helpers.continual.strategies.ewc import EWC


class OnlineEWC(EWC):
    r"""Online EWC (Schwarz et al. 2018): :math:`F \leftarrow \gamma F + F_{now}`, a pull towards the last weights.

    The decay :math:`\gamma`, in [0, 1], is how long earlier experiences count; the rest is as in `EWC`.
    """

    name = "online EWC"

    def __init__(
        self, strength: float = 1000.0, *, decay: float = 1.0, estimate: Estimate = "exact", most: int = 200
    ) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"decay={decay}: between 0 (only the last experience counts) and 1.")
        super().__init__(strength, estimate=estimate, most=most)
        self.settings["decay"] = decay
        self.decay = decay

    def keep(self, importance: torch.Tensor, anchors: torch.Tensor) -> None:
        kept = len(self.importance) > 0
        self.importance = self.decay * self.importance + importance if kept else importance
        self.anchors = anchors
