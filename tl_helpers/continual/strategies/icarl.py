"""iCaRL: a few well-chosen samples of each class, old answers kept, and the class of the nearest mean."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tl_helpers.continual.strategies.nearest_mean import NEVER
from tl_helpers.continual.strategy import MakeModel, Strategy
from tl_helpers.continual.streams import Stream, together
from tl_helpers.data import Samples
from tl_helpers.heads import squared_distances
from tl_helpers.models import Classifier
from tl_helpers.training import Step
from tl_helpers.training.scoring import embed


def herd(x: Tensor, count: int) -> Tensor:
    """Positions of `count` of the features x, float (N, D), one by one: each brings the mean of those chosen so far nearest
    to the mean of all (Welling 2009). int64, shape (min(count, N),); a part from the front is as good as can be, too."""
    mean, chosen, sum_of_chosen = x.mean(dim=0), [], torch.zeros_like(x[0])
    for number in range(1, min(count, len(x)) + 1):
        distances = (mean - (sum_of_chosen + x) / number).square().sum(dim=1)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        sum_of_chosen = sum_of_chosen + x[chosen[-1]]
    return torch.tensor(chosen, dtype=torch.int64)


class ICaRL(Strategy):
    r"""iCaRL (Rebuffi et al. 2017), for classes that come one after the other.

    At most `size` exemplars, as many of each class, chosen by `herd`. New samples and exemplars are trained on together. An
    output of a new class learns whether the sample is of it, one of an old class learns to say what it said before, each
    by itself:

    .. math:: \frac1N \sum_x \Big[ \sum_{c \text{ new}} \mathrm{BCE}(\sigma(h_c(x)), [y = c])
              + \sum_{c \text{ old}} \mathrm{BCE}(\sigma(h_c(x)), \sigma(h_c^{\text{before}}(x))) \Big]

    Answers do not come from these outputs, but from the nearest mean of a class's exemplars, features having length 1.
    """

    name = "iCaRL"

    def __init__(self, size: int = 200) -> None:
        if size < 1:
            raise ValueError(f"size={size}: one exemplar or more.")
        super().__init__(size=size)
        self.size = size

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        if stream.scenario != "class":
            raise ValueError(f"iCaRL learns new classes: it needs the class scenario, not {stream.scenario}.")
        super().before_stream(stream, make_model, seed)
        self._exemplars: dict[int, Samples] = {}

    def samples(self) -> Samples:
        """The experience's training samples and, behind them, the exemplars."""
        return together([self.stream[self.now].train, *self._exemplars.values()], f"iCaRL {self.now}")

    def before_training(self, model: Classifier, train: Samples) -> None:
        super().before_training(model, train)
        old, self._seen = list(self.stream.seen(self.now - 1)), list(self.stream.seen(self.now))
        self._wanted = functional.one_hot(train.labels, len(train.classes)).float()
        if old:
            before = torch.from_numpy(super().logits(model, train, self.now))
            self._wanted[:, old] = before.sigmoid()[:, old]

    def task_loss(self, step: Step) -> Tensor:
        wanted = self._wanted[step.positions][:, self._seen].to(step.logits.device)
        each = functional.binary_cross_entropy_with_logits(step.logits[:, self._seen], wanted, reduction="none")
        return each.sum(dim=1).mean()

    def after_experience(self, model: Classifier) -> None:
        super().after_experience(model)
        train, room = self.stream[self.now].train, self.size // len(self.stream.seen(self.now))
        kept = {label: old.take(range(min(room, len(old)))) for label, old in self._exemplars.items()}
        x = self.features(model, train)
        for label in self.stream[self.now].classes:
            members = torch.nonzero(train.labels == label)[:, 0]
            kept[label] = train.take(members[herd(x[members], room)].numpy())
        self._exemplars = {label: samples for label, samples in kept.items() if len(samples)}

    def features(self, model: Classifier, samples: Samples) -> Tensor:
        """Of length 1: float64, shape (N, D)."""
        return functional.normalize(torch.from_numpy(embed(model, samples)).double(), dim=1)

    def logits(self, model: Classifier, samples: Samples, of: int) -> np.ndarray:
        found = np.full((len(samples), len(self.stream.classes)), NEVER, dtype=np.float32)
        if self._exemplars:
            means = torch.stack([self.features(model, kept).mean(dim=0) for kept in self._exemplars.values()])
            near = -squared_distances(self.features(model, samples), functional.normalize(means, dim=1))
            found[:, list(self._exemplars)] = near.float().numpy()
        return found

    def memory(self) -> int:
        """The exemplars' pixels and labels."""
        return sum(kept.inputs.nbytes + kept.labels.nbytes for kept in self._exemplars.values())
