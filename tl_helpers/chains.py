"""Chains of transfer: a backbone learns one task after the other, towards the last. Chapter 15 asks when a bridge pays.

A chain is data: a list of links, each a task and a recipe. `follow` trains them in turn. Each run is stored under the
weights that it started from, so chains that begin alike share their beginning, and a killed one goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from torch import nn

from tl_helpers.adaptation.shift import a_distance
from tl_helpers.data import Samples, Task
from tl_helpers.ledger import Run
from tl_helpers.models import Backbone, Classifier
from tl_helpers.models.text import TextBackbone
from tl_helpers.training import Recipe, Retention, fit


@dataclass(frozen=True)
class Link:
    """One step of a chain: what is learned, and how.

    Attributes
    ----------
    task : Task
        Its training split is learned, its validation split scored; its test split is not read. ``task.few_labels(n)``
        makes a shorter one.
    recipe : Recipe
    size : int or None
        Pixels on a side; None for texts.
    """

    task: Task
    recipe: Recipe
    size: int | None = None

    def samples(self, split: str) -> Samples:
        """One of its splits, decoded."""
        return self.task.samples(split, self.size) if self.size else self.task.samples(split)


@dataclass(frozen=True)
class Reached:
    """Where a chain is after one of its links.

    Attributes
    ----------
    name : str
        Of the link's task.
    model : nn.Module
        A `Classifier`: the backbone as it is now, under this link's own head, in eval mode; the next link trains a copy.
    run : Run
        How it was trained, with its validation scores.
    kept : dict of str to float
        Accuracy in % on the validation samples of this and of each earlier link, by task name: the old head on the
        backbone as it is now.
    """

    name: str
    model: nn.Module
    run: Run
    kept: dict[str, float] = field(default_factory=dict)


def follow(backbone: Backbone, chain: Sequence[Link], *, seed: int = 0) -> list[Reached]:
    """Train the links of a chain one after the other, each from the weights that the one before it left.

    Parameters
    ----------
    backbone : Backbone
        Where the chain begins; it is left as it is.
    chain : sequence of Link
        One or more, in their order. One link alone is direct transfer.
    seed : int
        Of each link's head, order of samples and augmentation.

    Returns
    -------
    list of Reached
        One for each link.

    Raises
    ------
    ValueError
        Before anything is trained: for an empty chain, two tasks of one name, or inputs that do not fit the backbone.

    Notes
    -----
    Such chains go by many names: supplementary training on intermediate tasks (Phang et al. 2018), domain-adaptive
    pre-training (Gururangan et al. 2020), transitive transfer (Tan et al. 2015).
    """
    _check(backbone, chain)
    reached: list[Reached] = []
    for link in chain:
        backbone = copy.deepcopy(backbone)
        validation = link.samples("validation")
        model = Classifier(backbone, classes=len(link.task.classes), seed=seed)
        run = fit(model, link.samples("train"), validation, link.recipe, seed=seed, name=f"chain, {link.task.name}")
        kept = {
            old.name: Retention(before.samples("validation"), old.model.head).accuracy(model)
            for before, old in zip(chain, reached, strict=False)
        }
        kept[link.task.name] = Retention(validation, model.head).accuracy(model)
        reached.append(Reached(link.task.name, model, run, kept))
    return reached


def retention_table(reached: Sequence[Reached]) -> pd.DataFrame:
    """Accuracy in % of each link's head after each link: a row a link, a column a task; NaN before a task was learned."""
    rows = pd.DataFrame([each.kept for each in reached], index=[each.name for each in reached])
    return rows.reindex(columns=[each.name for each in reached]).rename_axis("after")


def bridges(source: np.ndarray, candidates: Mapping[str, np.ndarray], target: np.ndarray) -> pd.DataFrame:
    """Candidates for the middle of a chain, by how far they are from both ends: no label of the target is needed.

    Parameters
    ----------
    source, target : numpy.ndarray
        Features of the ends, float (N, d) and (M, d), by one and the same frozen backbone.
    candidates : mapping of str to numpy.ndarray
        The same of each candidate.

    Returns
    -------
    pandas.DataFrame
        A row a candidate, the most promising first: ``from source`` and ``to target`` are proxy A-distances (Ben-David et
        al. 2007) from 0 to 2, ``widest gap`` the larger of the two, by which the rows are sorted; ``direct`` is the
        distance that the candidate would bridge.

    Raises
    ------
    ValueError
        For no candidates, features of different width, NaN, or fewer than five samples.
    """
    if not candidates:
        raise ValueError("No candidates: give the features of at least one task that could stand in the middle.")
    direct = a_distance(source, target)
    rows = {
        name: {"from source": a_distance(source, between), "to target": a_distance(between, target)}
        for name, between in candidates.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("candidate")
    table["widest gap"] = table.max(axis=1)
    return table.assign(direct=direct).sort_values("widest gap", kind="stable")


def _check(backbone: Backbone, chain: Sequence[Link]) -> None:
    if not chain:
        raise ValueError("An empty chain: give at least the link of the target.")
    names = [link.task.name for link in chain]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"The chain has {', '.join(sorted(twice))} more than once: what is kept is told by task name. "
            "Name them apart: dataclasses.replace(task, name=...)."
        )
    reads = "text" if isinstance(backbone, TextBackbone) else "image"
    for number, link in enumerate(chain, start=1):
        if link.task.modality != reads:
            raise ValueError(
                f"Link {number}, {link.task.name}: {link.task.modality}s, but {backbone.name} reads {reads}s. "
                "All links of a chain go through one backbone."
            )
        if reads == "image" and not link.size:
            raise ValueError(f"Link {number}, {link.task.name}: say at how many pixels (size=64).")
