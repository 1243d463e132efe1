"""A source and a target domain of one problem, with the target's labels locked away.

Unsupervised adaptation may look at the target's images, never at its labels. Here that is not a promise but a type:
`DomainPair` hands out the target as `Unlabelled`, which training and selection code can use and which has no labels to
leak. What a result is *reported* with comes from methods whose names begin with ``oracle_``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch

from tl_helpers import keys
from tl_helpers.data.errors import TaskError
from tl_helpers.data.task import Samples, Task


class TargetLabelsError(AttributeError):
    """Something asked for the labels of a target domain."""


@dataclass(frozen=True)
class Unlabelled:
    """Samples without labels: what `Samples` has, except that ``.labels`` raises a TargetLabelsError.

    So does ``.extra``, which may hold what the labels were made of. ``classes`` says which ones there may be.
    """

    name: str
    inputs: torch.Tensor
    classes: tuple[str, ...]
    rows: np.ndarray
    table: str = ""
    modality: str = "image"

    def __len__(self) -> int:
        return len(self.inputs)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Names the content: inputs only."""
        return keys.fingerprint(self.inputs)

    @property
    def labels(self) -> NoReturn:
        """Not here."""
        raise TargetLabelsError(
            f"{self.name} is a target without labels. To report a result, ask the pair for oracle_target(...); to "
            "train or to choose, do without."
        )

    @property
    def extra(self) -> NoReturn:
        """Not here: further columns can give the labels away, as ELPV's probabilities do."""
        raise TargetLabelsError(f"{self.name} is a target without labels, and without the columns they were made of.")

    def pseudo_labelled(self, labels: np.ndarray) -> Samples:
        """The samples with labels that a model gave them: class numbers, int (N,)."""
        return Samples(
            name=f"{self.name} (pseudo-labels)",
            inputs=self.inputs,
            labels=torch.as_tensor(labels, dtype=torch.int64),
            classes=self.classes,
            rows=self.rows,
            table=self.table,
            modality=self.modality,
        )


def without_labels(samples: Samples) -> Unlabelled:
    """The samples with their labels and further columns left behind."""
    return Unlabelled(samples.name, samples.inputs, samples.classes, samples.rows, samples.table, samples.modality)


class DomainPair:
    """One problem in two domains: the same classes, a labelled source, a target whose labels are out of reach.

    `size` is the number of pixels of all images; None keeps the native size, which must then be the same in both. A
    TaskError if the classes or their order differ, or the two are the same task.
    """

    def __init__(self, source: Task, target: Task, size: int | None = None) -> None:
        if source.classes != target.classes:
            raise TaskError(
                f"{source.name} and {target.name} have other classes ({', '.join(source.classes)} and "
                f"{', '.join(target.classes)}): adaptation needs the same ones in the same order."
            )
        if source.name == target.name:
            raise TaskError(f"source and target are both {source.name}: there is nothing to adapt to.")
        self._source, self._target, self.size = source, target, size

    @property
    def name(self) -> str:
        """Such as ``mnist5k -> optdigits``."""
        return f"{self._source.name} -> {self._target.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        return self._source.classes

    def source(self, split: str) -> Samples:
        """A split of the source, with labels."""
        return self._source.samples(split, self.size)

    def target(self, split: str = "train") -> Unlabelled:
        """The target's images of a split, without labels."""
        return without_labels(self._target.samples(split, self.size))

    def oracle_target(self, split: str = "test") -> Samples:
        """A split of the target with its labels: to report, or to show what a choice with labels would have been."""
        return self._target.samples(split, self.size)
