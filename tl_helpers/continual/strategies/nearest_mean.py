"""A frozen backbone and class means: nothing that is trained can be forgotten."""

from __future__ import annotations

import numpy as np
import torch

from tl_helpers import features
from tl_helpers.continual.strategy import MakeModel, Strategy
from tl_helpers.continual.streams import Stream
from tl_helpers.data import Samples
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
        self.means, self.labels = np.zeros((0, 0)), np.zeros(0, dtype=np.int64)

    def embed(self, model: Classifier, samples: Samples) -> np.ndarray:
        """Features of length 1: float64, shape (N, dim)."""
        found = features.extract(model.backbone, samples).astype(np.float64)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def learn(self, model: Classifier, recipe: Recipe, *, fresh: bool | None = None) -> None:
        train = self.samples()
        self.take_in(self.embed(model, train), train.labels.numpy())

    def take_in(self, x: np.ndarray, labels: np.ndarray) -> None:
        """Add one mean for each class among these samples."""
        for label in np.unique(labels):
            mean = x[labels == label].mean(axis=0, keepdims=True)
            self.means = np.concatenate([self.means, mean]) if len(self.means) else mean
            self.labels = np.append(self.labels, label)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """How near each sample is to each mean, (N, means); higher is nearer."""
        return -((x[:, None] - self.means[None]) ** 2).sum(axis=2)

    def logits(self, model: Classifier, samples: Samples, of: int) -> np.ndarray:
        near = self.scores(self.embed(model, samples))
        found = np.full((len(samples), len(self.stream.classes)), NEVER)
        for label in np.unique(self.labels):
            found[:, label] = near[:, self.labels == label].max(axis=1)
        return found.astype(np.float32)

    def memory(self) -> int:
        return self.means.nbytes

    def parameters_used(self, model: Classifier) -> int:
        return sum(parameter.numel() for parameter in model.backbone.parameters())


class StreamingLDA(NearestMean):
    r"""Means with one covariance for all of them: streaming linear discriminant analysis (Hayes and Kanan 2020).

    A running sum of outer products of what is left after taking away the means, so samples are seen once. Nearness to a mean
    :math:`\mu` is :math:`\mu^\top \Lambda x - \frac12 \mu^\top \Lambda \mu`, :math:`\Lambda` the inverse of the covariance
    shrunk towards a multiple of the identity.

    Parameters
    ----------
    shrinkage : float
        In (0, 1].
    """

    name = "streaming LDA"

    def __init__(self, shrinkage: float = 1e-2) -> None:
        if not 0 < shrinkage <= 1:
            raise ValueError(f"shrinkage={shrinkage}: above 0 (a covariance of few samples has no inverse), up to 1.")
        super().__init__(shrinkage=shrinkage)
        self.shrinkage = shrinkage

    def before_stream(self, stream: Stream, make_model: MakeModel, seed: int) -> None:
        super().before_stream(stream, make_model, seed)
        self.scatter, self.count = np.zeros((0, 0)), 0

    def take_in(self, x: np.ndarray, labels: np.ndarray) -> None:
        super().take_in(x, labels)
        for label in np.unique(labels):
            apart = x[labels == label] - x[labels == label].mean(axis=0)
            self.scatter = self.scatter + apart.T @ apart if self.count else apart.T @ apart
            self.count += len(apart)

    def scores(self, x: np.ndarray) -> np.ndarray:
        covariance = self.scatter / self.count
        dim = len(covariance)
        covariance = (1 - self.shrinkage) * covariance + self.shrinkage * np.trace(covariance) / dim * np.eye(dim)
        weights = torch.linalg.solve(torch.from_numpy(covariance), torch.from_numpy(self.means.T)).numpy()
        return x @ weights - 0.5 * (self.means * weights.T).sum(axis=1)

    def memory(self) -> int:
        return self.means.nbytes + self.scatter.nbytes
