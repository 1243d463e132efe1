"""Episodes: many small tasks drawn from one data set, n ways, k shots, q queries (Vinyals et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tl_helpers import runtime
from tl_helpers.heads import Head
from tl_helpers.stats import interval


@dataclass(frozen=True)
class Episode:
    """One small task: which samples to learn from and which to answer for, int64 (n * k,) and (n * q,), class by class.

    Support and query are positions in the data set; their labels are the episode's own numbering, 0 to n - 1; `classes`,
    (n,), are the data set's classes behind these.
    """

    support: np.ndarray
    query: np.ndarray
    support_labels: np.ndarray
    query_labels: np.ndarray
    classes: np.ndarray

    @property
    def ways(self) -> int:
        """How many classes to tell apart."""
        return len(self.classes)


class EpisodeSampler:
    """Episodes by number: the same seed and number give the same episode, whatever was drawn before.

    Classes are drawn without repetition, then k + q samples of each, so no sample is in support and query. `labels` are
    the class numbers of the data set, shape (N,). A ValueError for fewer than two ways, one shot or one query, fewer
    classes than ways, or fewer than k + q samples of a class.
    """

    def __init__(
        self, labels: Sequence[int] | np.ndarray | torch.Tensor, *, ways: int, shots: int, queries: int, seed: int = 0
    ) -> None:
        labels = np.asarray(labels)
        if labels.ndim != 1 or not len(labels):
            raise ValueError(f"labels of shape {labels.shape}: give one class number for each sample.")
        for name, value, least in (("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1)):
            if value < least:
                raise ValueError(f"{name}={value}: an episode needs {least} or more.")
        present = np.unique(labels)
        if len(present) < ways:
            raise ValueError(f"{ways} ways, but there {_are(len(present))} to draw from. Ask for fewer ways.")
        self.members = {int(name): np.flatnonzero(labels == name) for name in present}
        small = [f"class {name} has {len(rows)}" for name, rows in self.members.items() if len(rows) < shots + queries]
        if small:
            raise ValueError(
                f"An episode needs {shots} + {queries} samples of each class, but {', '.join(small[:3])}"
                f"{' ...' if len(small) > 3 else ''}. Take fewer shots or queries, or leave the class out."
            )
        self.ways, self.shots, self.queries, self.seed = ways, shots, queries, seed

    def __getitem__(self, number: int) -> Episode:
        """Episode `number`, 0 or more."""
        if number < 0:
            raise IndexError(f"episode {number}: episodes are numbered from 0.")
        random = np.random.default_rng([self.seed, number])
        classes = random.permutation(list(self.members))[: self.ways]
        drawn = [random.permutation(self.members[int(name)])[: self.shots + self.queries] for name in classes]
        return Episode(
            support=np.concatenate([rows[: self.shots] for rows in drawn]),
            query=np.concatenate([rows[self.shots :] for rows in drawn]),
            support_labels=np.repeat(np.arange(self.ways), self.shots),
            query_labels=np.repeat(np.arange(self.ways), self.queries),
            classes=classes,
        )

    def take(self, count: int, *, start: int = 0) -> Iterator[Episode]:
        """Episodes `start` to `start + count - 1`."""
        return (self[number] for number in range(start, start + count))


@dataclass(frozen=True)
class EpisodeScore:
    """Accuracy over episodes, in %: the mean, half the width of its 95 % interval, and each episode's own."""

    accuracy: float
    half_width: float
    episodes: np.ndarray

    def __str__(self) -> str:
        return f"{self.accuracy:.1f} ± {self.half_width:.1f} % over {len(self.episodes)} episodes"


def score_episodes(head: Head, features: np.ndarray, sampler: EpisodeSampler, *, count: int = 600) -> EpisodeScore:
    """How often a head is right on the queries of many episodes of one data set's features.

    Features are those of the samples that the sampler's labels belong to, float (N, D), without NaN; the head gets them
    in float64. Two episodes or more; the field reports 600 or more.
    """
    x = torch.from_numpy(np.array(features, dtype=np.float64))
    if not x.isfinite().all():
        raise ValueError("The features hold NaN or infinity. Did the training of the backbone diverge?")

    def answer(e: Episode) -> np.ndarray:
        return head(x[e.support], torch.from_numpy(e.support_labels), x[e.query]).numpy()

    return score_with(answer, sampler, count=count)


def score_with(answer: Callable[[Episode], np.ndarray], sampler: EpisodeSampler, *, count: int = 600) -> EpisodeScore:
    """The same for whatever answers an episode: a function of an episode that returns scores (n * q, n)."""
    right = []
    episodes = sampler.take(count)
    for episode in runtime.progress(episodes, total=count, what="episodes"):
        right.append(100 * float((answer(episode).argmax(axis=1) == episode.query_labels).mean()))
    mean, low, _ = interval(right)
    return EpisodeScore(mean, mean - low, np.array(right))


def _are(count: int) -> str:
    return "is 1 class" if count == 1 else f"are {count} classes"
