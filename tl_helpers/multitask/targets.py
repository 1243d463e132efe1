"""What several tasks ask of the same samples, and samples that carry an answer, or none, for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tl_helpers.data import Samples

MISSING = -1
"""The class number of a sample that has no label; where a number is asked for, NaN says so."""


@dataclass(frozen=True)
class Target:
    """What one task asks: a class, or without classes a number.

    The answers lie in ``samples.extra[name]``: class numbers, `MISSING` where there is none, or numbers, NaN where there is
    none.
    """

    name: str
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) == 1:
            raise ValueError(f"{self.name}: one class ({self.classes[0]}) is no question; give two or more, or none.")

    @property
    def outputs(self) -> int:
        """Of its head: one for each class, or one number."""
        return len(self.classes) or 1

    def known(self, labels: Tensor) -> Tensor:
        """Which samples have a label: bool, shape (N,)."""
        return labels >= 0 if self.classes else ~labels.isnan()

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor | None:
        """Cross-entropy or squared error, the mean over those that have a label; None where none has one.

        Outputs float (N, outputs); labels int64 or float (N,). What has no label gets exactly no gradient.
        """
        known = self.known(labels)
        if not known.any():
            return None
        if self.classes:
            return torch.nn.functional.cross_entropy(outputs[known], labels[known])
        return (outputs[known, 0] - labels[known]).square().mean()

    def labels(self, samples: Samples) -> Tensor:
        """The answers in some samples: int64, or for numbers float32, shape (N,).

        A ValueError where the samples have no such column, or class numbers that are out of range.
        """
        if self.name not in samples.extra:
            raise ValueError(
                f"{samples.name} has no labels of the task {self.name!r}: add them with "
                f"with_labels(samples, {self.name}=...). It has {', '.join(samples.extra) or 'no further column'}."
            )
        found = np.asarray(samples.extra[self.name])
        if not self.classes:
            return torch.as_tensor(found.astype(np.float32))
        if not np.issubdtype(found.dtype, np.integer):
            raise ValueError(f"{self.name}: classes are whole numbers, {MISSING} for none; got {found.dtype}.")
        if len(found) and not MISSING <= found.min() <= found.max() < len(self.classes):
            raise ValueError(
                f"{self.name}: labels run from {found.min()} to {found.max()}, and its classes from 0 to "
                f"{len(self.classes) - 1} ({MISSING} for none)."
            )
        return torch.as_tensor(found.astype(np.int64))


def checked(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets, if there is one and no two have the same name; otherwise a ValueError."""
    names = [target.name for target in targets]
    if not names:
        raise ValueError("No task: give one Target or more.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two tasks are named {', '.join(twice)}: a head is found by its task's name, so rename one.")
    return tuple(targets)


def with_labels(samples: Samples, **labels: np.ndarray) -> Samples:
    """The samples with further columns of labels, by the name of the task: shape (N,) each; a ValueError for another one."""
    for name, column in labels.items():
        if np.shape(column) != (len(samples),):
            raise ValueError(f"{name}: labels of shape {np.shape(column)} for {len(samples)} samples.")
    columns = {name: np.asarray(column) for name, column in labels.items()}
    return dataclasses.replace(samples, extra=samples.extra | columns)


def pool(parts: Mapping[str, Samples]) -> tuple[Samples, tuple[Target, ...]]:
    """Samples of several tasks in one, so that batches are mixed: each has a label for its own task and none for the others.

    Returns them and the targets, named as in `parts`. A ValueError for other modalities or image sizes. As always, a
    sample that two parts share would be trained on twice.
    """
    targets = checked([Target(name, part.classes) for name, part in parts.items()])
    one = next(iter(parts.values()))
    for part in parts.values():
        if part.modality != one.modality or (
            part.modality == "image" and part.inputs.shape[1:] != one.inputs.shape[1:]
        ):
            raise ValueError(f"{one.name} and {part.name} differ in kind or size of their inputs: bring them to one.")
    wide = max(part.inputs.shape[-1] for part in parts.values())
    inputs = [torch.nn.functional.pad(part.inputs, (0, wide - part.inputs.shape[-1])) for part in parts.values()]
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    labels = torch.cat([part.labels for part in parts.values()])
    columns = {t.name: np.where(owner == k, labels.numpy(), MISSING) for k, t in enumerate(targets)}
    most = max((part.classes for part in parts.values()), key=len)
    mixed = Samples(
        name=" + ".join(part.name for part in parts.values()),
        inputs=torch.cat(inputs),
        labels=labels,
        classes=most,
        rows=np.arange(len(owner)),
        extra=columns,
        modality=one.modality,
    )
    return mixed, targets
