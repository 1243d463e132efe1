"""Splitting rows: train / validation / test without leakage, and nested subsets with few labels. Pure index functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "validation", "test")
SHARES = (0.6, 0.15, 0.25)
"""Of the rows, in this order."""
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout", "hold-out", "hold_out"), "test"),
}
"""What splits are called, in small letters: whole names of top folders, of tables' files, and of splits in memory."""


def split_rows(
    labels: Sequence[int] | np.ndarray, groups: Sequence | np.ndarray | None = None, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Stratified rows: 60 % train, 15 % validation, 25 % test; rows of one group stay together.

    Parameters
    ----------
    labels : array of int or str, shape (N,)
        What to stratify by. Pass a label combined with a domain to keep both proportions.
    groups : array, shape (N,), optional
        Rows that belong together, such as cells cut from one module. Without groups every row is its own group.

    Returns
    -------
    dict of str to int64 array
        Sorted row numbers for ``train``, ``validation`` and ``test``: disjoint, and together all rows. A ValueError for
        empty input, lengths that differ, or a stratum too small to be split.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels must be a non-empty list of one label a row; got shape {labels.shape}.")
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if len(groups) != len(labels):
        raise ValueError(f"{len(labels)} labels but {len(groups)} groups: give one group for each row.")

    rng = np.random.default_rng(seed)
    names, group_of_row = np.unique(groups, return_inverse=True)
    classes, class_of_row = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_of_row, class_of_row), 1)
    stratum = counts.argmax(axis=1)  # a group counts for the label most of its rows have

    part_of_group = np.empty(len(names), dtype=int)
    for this in range(len(classes)):
        members = rng.permutation(np.flatnonzero(stratum == this))
        if 0 < len(members) < 3:
            raise ValueError(
                f"Label {classes[this].item()!r} has only {len(members)} row(s) or group(s): at least 3 are needed so that "
                "each split gets one. Collect more, merge the class into another, or drop it."
            )
        # The place of each group on a line from 0 to 1, by rows: groups of different size still fill the shares.
        rows = counts[members].sum(axis=1)
        place = (np.cumsum(rows) - rows / 2) / rows.sum() if len(members) else rows
        part_of_group[members] = np.searchsorted(np.cumsum(SHARES)[:2], place, side="right")
        for part in range(3):  # the smallest strata may miss a part by rounding
            if len(members) and not (part_of_group[members] == part).any():
                part_of_group[members[-1 - part] if part else members[0]] = part
    part = part_of_group[group_of_row]
    return {name: np.flatnonzero(part == number) for number, name in enumerate(SPLITS)}


def nested_subset(labels: Sequence[int] | np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """`n` positions, stratified by label and *nested*: with one seed, the 50-label set contains the 20-label set.

    Each class is shuffled once, then the classes are woven into one order in proportion to their sizes, each class's
    first sample in front; the subset, int64 (n,), is the beginning of that order, so ``result[:m]`` is the subset of
    size m. Nested subsets make a learning curve smoother: more labels never means other labels. A ValueError says from
    where to where n may go: from the number of classes to that of the labels.
    """
    labels = np.asarray(labels)
    classes = np.unique(labels)
    if not len(classes) <= n <= len(labels):
        raise ValueError(
            f"n={n} labelled samples: use {len(classes)} (one for each class) to {len(labels)} (all that there are)."
        )
    rng = np.random.default_rng(seed)
    key = np.empty(len(labels))
    for this in classes:
        members = rng.permutation(np.flatnonzero(labels == this))
        key[members] = (np.arange(len(members)) + 0.5) / len(members)
        key[members[0]] = -1.0
    return np.lexsort((rng.permutation(len(labels)), key))[:n]
