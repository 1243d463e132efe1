"""Keeping a source task while a target is learned: what to measure it with, and a method that holds on to its answers."""

from __future__ import annotations

import copy
import dataclasses

import torch
from timm.data import ImageNetInfo
from torch import Tensor, nn

from tl_helpers.continual.losses import distillation_loss
from tl_helpers.data import Samples, load_task
from tl_helpers.models import Classifier
from tl_helpers.training import Method, Step


def drawn_imagenet(artist: str, size: int = 128) -> tuple[Samples, list[int]]:
    """Drawings of things that ImageNet has a class for: a source test set without a photograph.

    An emoji belongs to an ImageNet class if its name is one of the class's names, word for word.

    Parameters
    ----------
    artist : {"twemoji", "openmoji"}
    size : int
        Pixels.

    Returns
    -------
    samples : Samples
        One drawing of each concept; its label is its place in `classes`.
    classes : list of int
        The ImageNet class of each concept, of 1,000.
    """
    info = ImageNetInfo()
    number = {}
    for index in range(1000):
        for name in info.index_to_description(index).split(","):
            number.setdefault(name.strip().lower(), index)
    task = load_task(artist)
    found: dict[int, int] = {}  # class -> row: the first emoji that draws it
    for row, concept in enumerate(task.table["concept"]):
        if concept in number:
            found.setdefault(number[concept], row)
    rows = list(found.values())
    concepts = task.table["concept"]
    samples = task.all_samples(size).take(rows, name=f"{artist}, drawn ImageNet classes")
    names = tuple(concepts[row] for row in rows)
    return dataclasses.replace(samples, labels=torch.arange(len(rows)), classes=names), list(found)


class KeepAnswers(Method):
    r"""The source's head keeps its answers: distillation of the model of before, with the factor :math:`T^2`.

    Without rehearsal samples it is asked about the target's own images, as in LwF (Li and Hoiem 2017);
    with some, about these. They need no labels.

    Parameters
    ----------
    head : nn.Module
        The source's own head, (N, dim) to (N, outputs). It is not trained.
    strength : float
        Relative to the target's cross-entropy, 0 or more.
    temperature : float
        T, above 0.
    rehearsal : Samples, optional
        Images of the size that the target's have.
    """

    def __init__(
        self, head: nn.Module, strength: float = 1.0, *, temperature: float = 2.0, rehearsal: Samples | None = None
    ) -> None:
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength={strength}: 0 or more.")
        asked = "the target's images" if rehearsal is None else rehearsal.name
        super().__init__(strength=strength, temperature=temperature, asked=asked)
        self.strength, self.temperature, self.second = strength, temperature, rehearsal
        self.head = copy.deepcopy(head).requires_grad_(False).eval()

    def before_training(self, model: Classifier, train: Samples) -> None:
        self._teacher = [copy.deepcopy(model).eval().requires_grad_(False)]  # in a list: not part of the state

    def extra_loss(self, step: Step) -> Tensor:
        teacher = self._teacher[0].to(step.x.device)
        x = step.x if self.second is None else step.second_x
        embedded = step.embedded if self.second is None else step.model.embed_above(x, step.depth)
        self.head.eval()  # training puts a method's parts into train mode
        with torch.no_grad():
            wanted = self.head(teacher.embed_above(x, step.depth).float())
        return self.strength * distillation_loss(self.head(embedded.float()), wanted, self.temperature)


def between(one: dict[str, Tensor], other: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights on the straight line between two states: ``(1 - share) * one + share * other`` (Wortsman et al. 2022).

    Buffers such as batch-norm statistics are averaged, too; what is no floating-point number is taken from `other`.

    Parameters
    ----------
    one, other : dict of str to torch.Tensor
        State dicts of one architecture.
    share : float
        0 gives `one`, 1 gives `other`; outside of [0, 1] extrapolates.

    Raises
    ------
    ValueError
        For states of different architectures.
    """
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        raise ValueError("The two states have other names or shapes: only weights of one architecture can be averaged.")
    return {
        name: torch.lerp(one[name], other[name], share) if one[name].is_floating_point() else other[name].clone()
        for name in one
    }
