"""Task streams: the same classes or new ones, one experience after the other, in the three standard scenarios.

The scenarios (van de Ven and Tolias 2019) differ in what the learner is told and asked when it is tested:

=========  ==========================================  ========================================================
scenario   told at test time                           asked
=========  ==========================================  ========================================================
task       which experience the sample is from         which of that experience's classes
domain     nothing                                     which class; every experience has the same classes
class      nothing                                     which of all classes seen so far
=========  ==========================================  ========================================================
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torchvision.transforms.v2.functional as tvf

from tl_helpers.data import Samples, Task, TaskError
from tl_helpers.data.splits import SPLITS

Scenario = Literal["task", "domain", "class"]
SCENARIOS: tuple[Scenario, ...] = ("task", "domain", "class")


@dataclass(frozen=True)
class Experience:
    """What is learned at one time: three splits, and the numbers of the classes that occur in it.

    The samples have the column ``experience`` in ``extra``: the number of the experience, for each of them.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    classes: tuple[int, ...]

    def split(self, name: str) -> Samples:
        """``train``, ``validation`` or ``test``."""
        if name not in SPLITS:
            raise KeyError(f"{name!r} is no split: use {', '.join(SPLITS)}.")
        return getattr(self, name)


@dataclass(frozen=True)
class Stream:
    """Experiences in order, the scenario in which they are learned, and the names of all their classes, by number."""

    name: str
    scenario: Scenario
    classes: tuple[str, ...]
    experiences: tuple[Experience, ...]

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise ValueError(f"scenario={self.scenario!r}: use {', '.join(SCENARIOS)}.")
        if not self.experiences:
            raise TaskError(f"{self.name}: a stream needs one experience or more.")
        for experience in self.experiences:
            for split in SPLITS:
                if len(experience.split(split)) == 0:
                    raise TaskError(f"{self.name}: the {split} split of {experience.name} is empty.")

    def __len__(self) -> int:
        return len(self.experiences)

    def __getitem__(self, number: int) -> Experience:
        return self.experiences[number]

    def seen(self, now: int) -> tuple[int, ...]:
        """Classes that occurred up to and including experience `now`, sorted."""
        return tuple(sorted({label for experience in self.experiences[: now + 1] for label in experience.classes}))

    def allowed(self, now: int, of: Sequence[int] | np.ndarray) -> torch.Tensor:
        """The answers that samples may get after experience `now`: bool, shape (N, classes).

        `of` is the experience of each of the N samples; only the task-incremental scenario looks at it.
        """
        of = np.asarray(of, dtype=np.int64)
        masks = np.zeros((len(self), len(self.classes)), dtype=bool)
        for number, experience in enumerate(self.experiences):
            masks[number, list(experience.classes if self.scenario == "task" else self.seen(now))] = True
        return torch.from_numpy(masks[of])

    def heads(self, now: int) -> list[list[int]]:
        """The groups of outputs that were trained against each other before experience `now`: what there is to forget."""
        if now == 0:
            return []
        if self.scenario == "task":
            return [list(experience.classes) for experience in self.experiences[:now]]
        return [list(self.seen(now - 1))]


def together(parts: Sequence[Samples], name: str) -> Samples:
    """Samples one after the other; all with the same classes, modality and shape.

    Where they come from several data sets, their rows point into none, so ``table`` is empty.
    """
    widest = max(part.inputs.shape[-1] for part in parts)  # sentences are bytes, filled up to the longest
    inputs = [torch.nn.functional.pad(part.inputs, (0, widest - part.inputs.shape[-1])) for part in parts]
    shared = set.intersection(*(set(part.extra) for part in parts))
    return Samples(
        name=name,
        inputs=torch.cat(inputs),
        labels=torch.cat([part.labels for part in parts]),
        classes=parts[0].classes,
        rows=np.concatenate([part.rows for part in parts]),
        extra={column: np.concatenate([part.extra[column] for part in parts]) for column in sorted(shared)},
        table=parts[0].table if len({part.table for part in parts}) == 1 else "",
        modality=parts[0].modality,
    )


def split_stream(task: Task, scenario: Scenario, *, ways: int = 2, size: int | None = None) -> Stream:
    """The classes of a task, a few at a time, as in Split MNIST (Zenke et al. 2017; all three scenarios: Hsu et al. 2018).

    In the domain-incremental scenario a label is the place of the class within its experience (for Split MNIST: is the
    digit even or odd). An experience has so many classes (`ways`): two or more, and a divisor of their number. `size` is
    that of the images, in pixels.
    """
    count = len(task.classes)
    if ways < 2 or count % ways:
        raise ValueError(f"ways={ways}: two or more, and a divisor of the {count} classes.")
    splits = {split: task.samples(split, size) for split in SPLITS}
    classes = tuple(f"{place + 1}." for place in range(ways)) if scenario == "domain" else task.classes

    def part(split: str, number: int) -> Samples:
        some = splits[split].take(np.flatnonzero(splits[split].labels.numpy() // ways == number))
        labels = some.labels % ways if scenario == "domain" else some.labels
        return dataclasses.replace(some, labels=labels, classes=classes)

    names = [" or ".join(task.classes[start : start + ways]) for start in range(0, count, ways)]
    return _stream(f"split {task.name}", scenario, classes, names, part, ways)


def permuted_stream(task: Task, count: int, *, seed: int = 0) -> Stream:
    """The same task with its pixels in another order each time (Goodfellow et al. 2013), domain-incremental.

    The first of the `count` experiences has the pixels as they are; the seed is that of the permutations.
    """

    def change(pixels: torch.Tensor, number: int) -> torch.Tensor:
        if number == 0:
            return pixels
        places = pixels.shape[-2] * pixels.shape[-1]
        order = torch.randperm(places, generator=torch.Generator().manual_seed(seed * 1_000 + number))
        return pixels.flatten(2)[:, :, order].reshape(pixels.shape)

    return _changed_stream(task, [f"permutation {number}" for number in range(count)], change)


def rotated_stream(task: Task, degrees: Sequence[float]) -> Stream:
    """The same task turned by these angles, one after the other (Lopez-Paz and Ranzato 2017), domain-incremental."""

    def change(pixels: torch.Tensor, number: int) -> torch.Tensor:
        return tvf.rotate(pixels, float(degrees[number]), interpolation=tvf.InterpolationMode.BILINEAR)

    return _changed_stream(task, [f"turned by {angle:g}°" for angle in degrees], change)


def domain_stream(tasks: Sequence[Task], *, size: int | None = None, most: int | None = None, seed: int = 0) -> Stream:
    """The same classes in one domain after the other, such as mono- and polycrystalline cells, domain-incremental.

    A TaskError for tasks with other classes, or in another order. `size` is that of images, in pixels; of each split at
    `most` so many samples are taken, a random part drawn with `seed`.
    """
    classes = tasks[0].classes
    for task in tasks:
        if task.classes != classes:
            raise TaskError(f"{task.name} and {tasks[0].name} have other classes: a domain stream needs the same ones.")

    def part(split: str, number: int) -> Samples:
        samples = tasks[number].samples(split, size)
        if most is None or len(samples) <= most:
            return samples
        return samples.take(np.random.default_rng(seed).permutation(len(samples))[:most])

    domains = [task.domain for task in tasks]
    return _stream(" → ".join(domains), "domain", classes, domains, part)


def _changed_stream(task: Task, names: list[str], change: Callable[[torch.Tensor, int], torch.Tensor]) -> Stream:
    def part(split: str, number: int) -> Samples:
        samples = task.samples(split)
        inputs, table = change(samples.inputs, number), f"{samples.table}-{names[number]}"
        return dataclasses.replace(samples, inputs=inputs, table=table)

    return _stream(f"{task.name}, {len(names)} times", "domain", task.classes, names, part)


def _stream(
    name: str,
    scenario: Scenario,
    classes: tuple[str, ...],
    names: Sequence[str],
    part: Callable[[str, int], Samples],
    ways: int = 0,
) -> Stream:
    """Experiences by name, whose samples get their number as a column; in the domain scenario each has all classes."""
    experiences = []
    for number, one in enumerate(names):
        parts = {split: part(split, number) for split in SPLITS}
        for split, samples in parts.items():
            extra = {**samples.extra, "experience": np.full(len(samples), number)}
            parts[split] = dataclasses.replace(samples, extra=extra)
        own = range(len(classes)) if scenario == "domain" else range(number * ways, (number + 1) * ways)
        experiences.append(Experience(one, **parts, classes=tuple(own)))
    return Stream(name, scenario, classes, tuple(experiences))
