"""Your own data as a task: every file, row and column is used, or named with the reason in the task's report.

Reading (`folders`, `tables`) finds out what is meant; `checked_task` looks at every sample, sets copies apart and builds the
task. What cannot be used is refused by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import datasets
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tl_helpers.data.errors import DataWarning, TaskError, UnreadableImageError
from tl_helpers.data.images import look
from tl_helpers.data.splits import SPLITS
from tl_helpers.data.tables import TAKEN, Found, as_table, by_split, find_columns, from_lists
from tl_helpers.data.task import Task, label_names, task_from_dataset
from tl_helpers.data.text import same_text, wrong_text


def task_from(
    data: object,
    labels: Sequence | None = None,
    *,
    name: str = "own data",
    label: str | None = None,
    image: str | None = None,
    text: str | None = None,
    group: str | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    **facts: str,
) -> Task:
    """A task from what is in memory; `load_task` reads folders and files in the same way.

    Parameters
    ----------
    data : pandas.DataFrame, datasets.Dataset, torchvision (map-style torch) dataset, or sequence
        A sequence holds images (PIL, arrays uint8 (H, W) or (H, W, 3), tensors uint8 (C, H, W), paths) or texts, and needs
        `labels`. A mapping (also a `datasets.DatasetDict`) holds one table or dataset for each split.
    labels : sequence of str or int, optional
        One for each item of a sequence.
    label, image, text, group : str, optional
        Names of columns; without, usual names such as label, image and text are looked for. Rows of one `group` stay in one
        split.
    seed : int
        Of the split into 60 % train, 15 % validation and 25 % test, or of the part that is missing.
    skip_bad : bool
        Leave out samples that cannot be used (no image, no text, no label), named in the report, instead of an error.
    facts : str
        ``domain``, ``label_rule``, ``licence``, ``citation``, ``source``, ``note`` of the task.

    Raises
    ------
    TaskError
        Names the file, row or column that cannot be used, and says what to do.
    """
    wanted, decisions = {"label": label, "image": image, "text": text}, []
    if labels is not None:
        data, wanted = from_lists(data, labels, name)
    parts = by_split(data, name) if isinstance(data, Mapping) else {"train": data}
    parts = {split: as_table(part, f"{name}, {split}", decisions) for split, part in parts.items()}
    found = find_columns(parts, wanted, name, decisions)
    return checked_task(found, name=name, group=group, seed=seed, skip_bad=skip_bad, **facts)


def checked_task(
    found: Found, *, name: str, group: str | None = None, seed: int = 0, skip_bad: bool = False, **facts: object
) -> Task:
    """The task, after a look at every sample: what cannot be used is refused or left out, copies never sit in two splits."""
    if not any(map(len, found.parts.values())):
        raise TaskError(f"{name}: no samples found.")
    text, left_out, parts, content = found.modality == "text", list(found.left_out), {}, {}
    group = f"{group}_given" if group in TAKEN else group
    for split, table in found.parts.items():
        if group is not None and group not in table.column_names:
            raise TaskError(f"{name}: no column {group!r} for the group; it has {', '.join(table.column_names)}.")
        where = f"{name}, {split}" if len(found.parts) > 1 else name
        if text:
            problems = [bad and f"the text is {bad}" for bad in map(wrong_text, table["text"][:])]
            same = same_text(["" if bad else value for value, bad in zip(table["text"][:], problems, strict=True)])
        else:
            looks = look(table, where)
            problems, same = looks["problem"], looks["content"]
        wrong = {number: problem for number, problem in enumerate(problems) if problem}
        for role, values in (
            ("label", label_names(table, "label", where)),
            ("group", table[group][:] if group else []),
        ):
            wrong = {number: f"the {role} is missing" for number, value in enumerate(values) if value is None} | wrong
        called = table["file"][:]
        told = [(called[number], why) for number, why in sorted(wrong.items())]
        if wrong and not skip_bad:
            some = "; ".join(f"{what}: {why.rstrip('.')}" for what, why in told[:3])
            more = f" ... and {len(told) - 3} more" if len(told) > 3 else ""
            kind = TaskError if text or not any(problems) else UnreadableImageError
            raise kind(
                f"{where}: {some}{more}. Repair or remove them; with skip_bad=True they are left out, and listed in "
                "task.report."
            )
        left_out += told
        keep = [number for number in range(len(table)) if number not in wrong]
        parts[split], content[split] = table.select(keep), [same[number] for number in keep]
    left_out += _drop_copies(parts, content, name)
    missing = " and ".join(split for split in SPLITS if split not in parts)
    how = f"{missing} cut off train, seed {seed}: stratified, copies{' and groups' if group else ''} stay together"
    task = task_from_dataset(
        parts, name=name, text="text" if text else None, seed=seed,
        groups=_groups(parts, content, group), left_out=tuple(left_out),
        decisions=(*found.decisions, *([how] if missing else [])), **facts,
    )  # fmt: skip
    if concerns := task.report.concerns:
        warnings.warn(f"{name}: {'. '.join(concerns)}. See task.report.", DataWarning, stacklevel=3)
    return task


def _drop_copies(parts: dict[str, datasets.Dataset], content: dict[str, list[str]], name: str) -> list[tuple[str, str]]:
    """Takes out of training (and of validation) what is also in a later split; says what."""
    left_out, owner = [], {}
    for split in [each for each in reversed(SPLITS) if each in parts]:
        named, same = parts[split]["file"][:], content[split]
        keep = [number for number, each in enumerate(same) if each not in owner]
        left_out += [(named[n], f"a copy of a {owner[each]} sample") for n, each in enumerate(same) if each in owner]
        if not keep:
            raise TaskError(
                f"{name}: every {split} sample is also in {', '.join(set(owner.values()))}. Split the data anew."
            )
        parts[split], content[split] = parts[split].select(keep), [same[number] for number in keep]
        owner |= dict.fromkeys(content[split], split)
    return left_out


def _groups(
    parts: dict[str, datasets.Dataset], content: dict[str, list[str]], group: str | None
) -> dict[str, list[str]]:
    """Names of rows that must stay together: copies of one another, and those of one group, also by way of copies."""
    same, names = pd.factorize(np.array([each for split in parts for each in content[split]], dtype=object))
    first = [f"row{number}" for number in np.unique(same, return_index=True)[1]]
    called = [first[each] for each in same]
    if group is not None:
        given, names = pd.factorize(
            np.array([str(each) for table in parts.values() for each in table[group][:]], dtype=object)
        )
        links = coo_array((np.ones(len(given)), (given, same + len(names))), shape=[len(names) + len(first)] * 2)
        together = connected_components(links, directed=False)[1]
        owner = dict(zip(together[: len(names)][::-1], names[::-1], strict=True))
        called = [owner[together[each]] for each in given]
    ends = np.cumsum([0, *map(len, parts.values())])
    return {split: called[ends[number] : ends[number + 1]] for number, split in enumerate(parts)}
