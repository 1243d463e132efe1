"""A frozen backbone and class means: nothing that is trained can be forgotten."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from tl_helpers import features
from tl_helpers.continual.strategy import MakeModel, Strategy
from tl_helpers.continual.streams import Stream
from tl_helpers.data import Samples
from tl_helpers.heads import class_means, squared_distances
from tl_helpers.models import Classifier
from tl_helpers.training import Recipe

NEVER = -1e9
"""The score of a class that has not been seen."""


class NearestMean(Strategy):
    """Frozen features of length 1, one mean for each class of each experience, and the class of the nearest mean.

    Learning is one pass over the samples; what is kept are the means, the same in whichever order experiences come. The
    backbone is that of the model that the stream begins with; neither it nor the head is ever trained. (A baseline for
    continual learning with pre-trained features: Janson et al. 2022.)
    """

    name = "nearest mean"

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        super().before_stream(stream, make_model, seed)
        self.means, self.labels = torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)

    def embed(self, model: Classifier, samples: Samples) -> torch.Tensor:
        """Features of length 1: float64, shape (N, dim)."""
        return functional.normalize(torch.from_numpy(features.extract(model.backbone, samples)).double(), dim=1)

    def learn(self, model: Classifier, recipe: Recipe, *, fresh: bool | None = None) -> None:
        train = self.samples()
        self.take_in(self.embed(model, train), train.labels)

    def take_in(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        """Add one mean for each class among these samples: float64, shape (N, dim), and int64, shape (N,)."""
        present, own = labels.unique(return_inverse=True)
        self.means = torch.cat([self.means, class_means(x, own)])
        self.labels = torch.cat([self.labels, present])

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """How near each sample is to each mean, (N, means); higher is nearer."""
        return -squared_distances(x, self.means)

    def logits(self, model: Classifier, samples: Samples, of: int) -> np.ndarray:
        near = self.scores(self.embed(model, samples))
        found = near.new_full((len(samples), len(self.stream.classes)), NEVER)
        for label in self.labels.unique():
            found[:, label] = near[:, self.labels == label].amax(dim=1)
        return found.float().numpy()

    def memory(self) -> int:
        return self.means.nbytes

    def parameters_used(self, model: Classifier) -> int:
        return sum(parameter.numel() for parameter in model.backbone.parameters())


class StreamingLDA(NearestMean):
    r"""Means with one covariance for all of them: streaming linear discriminant analysis (Hayes and Kanan 2020).

    A running sum of outer products of what is left after taking away the means, so samples are seen once. Nearness to a
    mean :math:`\mu` is :math:`\mu^\top \Lambda x - \frac12 \mu^\top \Lambda \mu`, :math:`\Lambda` the inverse of the
    covariance shrunk, by a share in (0, 1], towards a multiple of the identity.
    """

    name = "streaming LDA"

    def __init__(self, shrinkage: float = 1e-2) -> None:
        if not 0 < shrinkage <= 1:
            raise ValueError(f"shrinkage={shrinkage}: above 0 (a covariance of few samples has no inverse), up to 1.")
        super().__init__(shrinkage=shrinkage)
        self.shrinkage = shrinkage

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        super().before_stream(stream, make_model, seed)
        self.scatter, self.count = torch.zeros((), dtype=torch.float64), 0

    def take_in(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        super().take_in(x, labels)
        own = labels.unique(return_inverse=True)[1]
        apart = x - class_means(x, own)[own]
        self.scatter = self.scatter + apart.T @ apart
        self.count += len(apart)

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        covariance = self.scatter / self.count
        shrunk = self.shrinkage * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)
        weights = torch.linalg.solve((1 - self.shrinkage) * covariance + shrunk, self.means.T)
        return x @ weights - 0.5 * (self.means * weights.T).sum(dim=1)

    def memory(self) -> int:
        return self.means.nbytes + self.scatter.nbytes
