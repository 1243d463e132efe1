"""Task and Samples: the contract between data and everything that learns from it.

A `Task` says what the data is (classes, domain, licence, splits); `Samples` is one split, decoded to uint8 pixels.
"""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
import torch

from tl_helpers import keys
from tl_helpers.data.errors import TaskError
from tl_helpers.data.images import decode, look
from tl_helpers.data.report import DataReport
from tl_helpers.data.splits import SPLITS, nested_subset, split_rows
from tl_helpers.data.text import decode_texts, encode_texts, same_text


@dataclass(frozen=True)
class Samples:
    """One split, decoded: what models and features consume.

    Attributes
    ----------
    name : str
        Such as ``elpv/train``.
    inputs : torch.Tensor
        uint8, shape (N, C, H, W), C = 1 (grey) or 3 (colour). Sentences: their UTF-8 bytes, shape (N, 1, 1, W).
    labels : torch.Tensor
        int64, shape (N,), class numbers.
    rows : numpy.ndarray
        int64, shape (N,): the row of each sample in the data set as its authors ship it.
    extra : dict of str to numpy.ndarray
        Further columns of numbers or text, shape (N,) each, such as ``probability`` and ``domain``.
    table : str
        Names the data set that `rows` point into.
    modality : {"image", "text"}
    """

    name: str
    inputs: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    rows: np.ndarray
    extra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    table: str = ""
    modality: str = "image"

    def __post_init__(self) -> None:
        if self.inputs.dtype != torch.uint8 or self.inputs.ndim != 4:
            raise TaskError(
                f"{self.name}: inputs must be uint8 of shape (N, C, H, W); got {self.inputs.dtype}, "
                f"{tuple(self.inputs.shape)}. Images as floats? Multiply by 255 and round first."
            )
        if len(self.labels) != len(self.inputs):
            raise TaskError(f"{self.name}: {len(self.inputs)} images but {len(self.labels)} labels.")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise TaskError(
                f"{self.name}: labels run from {int(self.labels.min())} to {int(self.labels.max())}, and "
                f"{len(self.classes)} classes from 0 to {len(self.classes) - 1}. Renumber the labels."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def texts(self) -> list[str]:
        """The sentences, if that is what these samples are; a ValueError for images."""
        return decode_texts(self.inputs)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Names the content: inputs and labels."""
        return keys.fingerprint(self.inputs, self.labels)

    def take(self, positions: Sequence[int] | np.ndarray, name: str | None = None) -> Samples:
        """The samples at these positions (not rows of the data set), in this order."""
        positions = np.asarray(positions, dtype=np.int64)
        return dataclasses.replace(
            self,
            name=name or self.name,
            inputs=self.inputs[positions],
            labels=self.labels[positions],
            rows=self.rows[positions],
            extra={key: column[positions] for key, column in self.extra.items()},
        )


@dataclass(frozen=True)
class Task:
    """What is to be learned: classes, a domain, and splits that share neither a sample nor a group.

    Attributes
    ----------
    modality : {"image", "text"}
    classes : tuple of str
        Names by class number.
    splits : datasets.DatasetDict
        ``train``, ``validation``, ``test`` with the columns ``image`` (`datasets.Image`) or ``text``, ``label`` (int),
        ``row`` (int), ``group`` and any further ones.
    table : datasets.Dataset
        Every row of the data set in order, whatever the split: images are decoded, and frozen features computed, once
        for the table; ``row`` points into it.
    label_rule : str
        How the label came about, in a sentence.
    note : str
        What a careful reader should know (leakage that cannot be excluded, ...).
    margin : int
        Pixels cut off each side of the native image before it is resized; see `cropped`.
    left_out : tuple of (str, str)
        Files, rows and columns that were found and are not used, each with the reason.
    decisions : tuple of str
        How the data were read, in sentences. Both are part of the `report`.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    domain: str
    splits: datasets.DatasetDict
    table: datasets.Dataset
    label_rule: str = "as given in the data set"
    licence: str = "not stated"
    citation: str = ""
    source: str = ""
    note: str = ""
    margin: int = 0
    left_out: tuple[tuple[str, str], ...] = ()
    decisions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [name for name in SPLITS if name not in self.splits]
        if missing:
            raise TaskError(f"{self.name}: no split named {', '.join(missing)}; a task has {', '.join(SPLITS)}.")
        for column in ("row", "group"):
            owner: dict = {}
            for split in SPLITS:
                for value in set(self.splits[split][column][:]):
                    if owner.setdefault(value, split) != split:
                        raise TaskError(
                            f"{self.name}: {column} {value!r} is in {owner[value]} and in {split}. That is leakage: "
                            "put all of it into one split."
                        )
        for split in SPLITS:
            labels = self.labels(split)
            if len(labels) == 0:
                raise TaskError(f"{self.name}: the {split} split is empty.")
            if labels.min() < 0 or labels.max() >= len(self.classes):
                raise TaskError(
                    f"{self.name}: the {split} split holds label {labels.max() if labels.min() >= 0 else labels.min()}, "
                    f"but the classes are numbered 0 to {len(self.classes) - 1}."
                )
        present = np.unique(self.labels("train"))
        if len(present) < 2:
            only = self.classes[int(present[0])]
            raise TaskError(f"{self.name}: only one class ({only}) in the train split; a classifier needs two or more.")
        if len(present) < len(self.classes):
            empty = [name for number, name in enumerate(self.classes) if number not in present]
            raise TaskError(f"{self.name}: no training sample of class {', '.join(empty)}. Add some or drop the class.")

    def samples(self, split: str, size: int | None = None) -> Samples:
        """One split, ``train``, ``validation`` or ``test``, decoded to pixels: once per machine, then read from the disk.

        `size` is the height and width after resizing (antialiased bilinear, aspect ratio not kept); None keeps the
        native size, which must then be the same for all images. An UnreadableImageError names a file that is no image.
        """
        return self._samples(self._table(split), size, f"{self.name}/{split}")

    def all_samples(self, size: int | None = None) -> Samples:
        """Every row of the table, in order: for work that needs no labels and is shared by all splits.

        ``task.all_samples(224)`` goes through a frozen backbone once; ``features[task.rows("train")]`` are then the
        features of a split.
        """
        return self._samples(self.table, size, f"{self.name.split('-')[0]}/all")

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split in the table: int64, shape (N,)."""
        return np.asarray(self._table(split)["row"][:])

    def labels(self, split: str) -> np.ndarray:
        """Class numbers of a split: int64, shape (N,)."""
        return np.asarray(self._table(split)["label"][:])

    def few_labels(self, n: int, seed: int = 0) -> Task:
        """The same task with only `n` labelled training samples: stratified, and nested over n (see `nested_subset`)."""
        train = self.splits["train"]
        try:
            chosen = np.sort(nested_subset(np.asarray(train["label"][:]), n, seed))
        except ValueError as error:
            raise TaskError(f"{self.name}: {error}") from None
        splits = datasets.DatasetDict({**self.splits, "train": train.select(chosen)})
        return dataclasses.replace(self, name=f"{self.name}-{n}labels", splits=splits)

    def only(self, **wanted: object) -> Task:
        """The part of every split where columns hold these values, such as ``task.only(domain="mono")``."""
        splits = datasets.DatasetDict()
        for name, table in self.splits.items():
            keep = np.ones(len(table), dtype=bool)
            for column, value in wanted.items():
                if column not in table.column_names:
                    raise TaskError(f"{self.name} has no column {column!r}; it has {', '.join(table.column_names)}.")
                keep &= np.asarray(table[column][:]) == value
            if not keep.any():
                raise TaskError(f"{self.name}: no {name} sample with {wanted}.")
            splits[name] = table.select(np.flatnonzero(keep))
        name = "-".join([self.name, *map(str, wanted.values())])
        return dataclasses.replace(self, name=name, splits=splits, domain=str(wanted.get("domain", self.domain)))

    def cropped(self, margin: int) -> Task:
        """The same task without `margin` pixels on each side of its images, so that two domains are framed alike.

        A margin that leaves nothing of an image is refused when images are decoded.
        """
        if margin < 0:
            raise ValueError(f"margin={margin}: pixels to cut off, 0 or more.")
        return dataclasses.replace(self, name=f"{self.name}-crop{margin}", margin=margin)

    def describe(self) -> pd.DataFrame:
        """Samples of each class in each split, and the share of the largest class (the majority baseline, in %)."""
        counts = [np.bincount(self.labels(split), minlength=len(self.classes)) for split in SPLITS]
        frame = pd.DataFrame(counts, index=list(SPLITS), columns=list(self.classes))
        total, largest = frame.sum(axis=1), frame.max(axis=1)
        return frame.assign(**{"total": total, "majority %": (100 * largest / total).round(1)})

    @functools.cached_property
    def report(self) -> DataReport:
        """What was found and what became of it: files, sizes, classes, copies, conversions, and all that is left out."""
        split = np.full(len(self.table), "", dtype=object)
        for name in SPLITS:
            split[self.rows(name)] = name
        columns = self.table.column_names
        rows = pd.DataFrame({"split": split, "class": np.array(self.classes)[self.table["label"][:]]})
        rows.insert(0, "file", self.table["file"][:] if "file" in columns else [f"row {n}" for n in range(len(rows))])
        if self.modality == "image":
            rows = rows.join(look(self.table, self.name).drop(columns="problem"))
        else:
            texts = pd.Series(self.table["text"][:])
            rows = rows.assign(characters=texts.str.len(), words=texts.str.split().str.len(), content=same_text(texts))
        left_out = pd.DataFrame(self.left_out, columns=["what", "reason"])
        return DataReport(self.name, rows, self.classes, left_out, self.decisions)

    def _table(self, split: str) -> datasets.Dataset:
        if split not in SPLITS:
            raise KeyError(f"{split!r} is no split of a task: use {', '.join(SPLITS)}.")
        return self.splits[split]

    def _samples(self, table: datasets.Dataset, size: int | None, name: str) -> Samples:
        if self.modality == "text" and size is not None:
            raise ValueError(f"size={size}: {self.name} is text, which has no size in pixels. Leave it out.")
        if size is not None and size < 8:
            raise ValueError(f"size={size}: images need at least 8 x 8 pixels.")
        rows, own = np.asarray(table["row"][:]), ("image", "text", "label", "row", "group")
        if self.modality == "text":
            inputs = encode_texts(table["text"][:], self.name)
        else:
            inputs = decode(self.table, size, what=self.name, margin=self.margin)[rows]
        return Samples(
            name=name,
            inputs=inputs,
            labels=torch.as_tensor(np.asarray(table["label"][:]), dtype=torch.int64),
            classes=self.classes,
            rows=rows,
            extra={
                column: np.asarray(table[column][:])
                for column, feature in table.features.items()
                if column not in own and isinstance(feature, (datasets.Value, datasets.ClassLabel))
            },
            table=self.table._fingerprint + (f"-crop{self.margin}" if self.margin else ""),
            modality=self.modality,
        )


def task_from_dataset(
    data: datasets.Dataset | Mapping[str, datasets.Dataset],
    *,
    name: str,
    label: str = "label",
    image: str = "image",
    text: str | None = None,
    group: str | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    domain: str = "",
    seed: int = 0,
    **facts: object,
) -> Task:
    """A task from tables that are known to be clean, such as the packaged ones; `task_from` checks what others bring.

    A test split stays as it is; a missing validation (or test) split is cut off the rest, stratified and by group: by the
    column `group`, or by `groups`, one for each row of each split. Labels are text or whole numbers, or
    `datasets.ClassLabel`, which counts by name. With `text`, that column holds sentences, and the task is one of text
    instead of images. The `facts` are further fields of the task. A TaskError says which columns are missing, which class
    is empty or the only one, which labels cannot be, or what leaks between the splits.
    """
    parts = {"train": data} if isinstance(data, datasets.Dataset) else dict(data)
    if not any(map(len, parts.values())):
        raise TaskError(f"{name}: no samples found.")
    if set(parts) - set(SPLITS) or "train" not in parts:
        raise TaskError(f"{name}: splits {sorted(parts)}; use train, and if you like validation and test.")
    content, modality = text or image, "text" if text else "image"
    for split, table in parts.items():
        for column in filter(None, (label, content, group)):
            if column not in table.column_names:
                found = ", ".join(table.column_names)
                raise TaskError(f"{name}, {split}: no column {column!r}; the columns are {found}.")

    values = {split: label_names(table, label, f"{name}, {split}") for split, table in parts.items()}
    for split, these in values.items():
        if None in these:
            raise TaskError(f"{name}, {split}: some labels are missing. Fill them in or drop those rows.")
    classes = _class_names(values, [table.features[label] for table in parts.values()], name)
    number = {each: index for index, each in enumerate(classes)}
    tables, start = {}, 0
    for split, table in parts.items():
        rows = list(range(start, start + len(table)))
        start += len(table)
        named = [str(value) for value in table[group][:]] if group else [f"row{row}" for row in rows]
        table = table.remove_columns([own for own in table.column_names if own in ("label", "row", "group", label)])
        if content != modality:
            table = table.rename_column(content, modality)
        if not text and not isinstance(table.features["image"], datasets.Image):
            table = table.cast_column("image", datasets.Image())
        added = {"label": [number[str(value)] for value in values[split]], "row": rows}
        for column, cells in (added | {"group": groups[split] if groups else named}).items():
            table = table.add_column(column, list(cells))
        tables[split] = table
    return Task(
        name=name,
        modality=modality,
        classes=classes,
        domain=domain or name,
        table=datasets.concatenate_datasets(list(tables.values())),
        splits=datasets.DatasetDict(_complete_splits(tables, classes, seed, name)),
        **{"source": name} | facts,
    )


def label_names(table: datasets.Dataset, label: str, where: str) -> list[str | int | None]:
    """Each row's class by name: text or a number; None where it is missing.

    Text is in one Unicode spelling (NFC), without blanks around it. A TaskError for values that cannot name a class.
    """
    feature, values = table.features[label], table[label][:]
    if isinstance(feature, datasets.ClassLabel):
        values = [None if value is None or value < 0 else feature.int2str(value) for value in values]
    return [_label_name(value, where) for value in values]


def _label_name(value: object, where: str) -> str | int | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).strip() or None
    if isinstance(value, bool):
        return str(value)
    if not isinstance(value, (int, float)) or value != int(value) or value < 0:
        number = isinstance(value, (int, float))
        how = "For ranges: pandas.cut(labels, 3, labels=['low', 'middle', 'high'])" if number else "One for each row"
        raise TaskError(
            f"{where}: labels must be text or whole numbers from 0 on; got {value!r}. {how}; or name another column."
        )
    return int(value)


def _class_names(values: dict[str, list], features: list, name: str) -> tuple[str, ...]:
    """In the declared order, that of the numbers, or the alphabet's."""
    kinds = {split: {type(value).__name__ for value in these} for split, these in values.items() if these}
    found = {value for these in values.values() for value in these}
    if len(set().union(*kinds.values())) > 1:
        told = "; ".join(f"{split}: {', '.join(sorted(kind))}" for split, kind in kinds.items())
        raise TaskError(f"{name}: some labels are text and some are numbers ({told}). Give all of them as names.")
    declared = [each for feature in features if isinstance(feature, datasets.ClassLabel) for each in feature.names]
    if declared:
        names = dict.fromkeys([*(unicodedata.normalize("NFC", each).strip() for each in declared), *sorted(found)])
        return tuple(names)
    digits = all(isinstance(each, int) or each.isdecimal() for each in found)
    if not digits and len(found) > 20 and all(map(_is_number, found)):
        some = ", ".join(sorted(found)[:3])
        raise TaskError(
            f"{name}: the labels look like measured numbers ({some}, ...), not whole numbers or names of classes. Make "
            "ranges of them first: pandas.cut(labels, 3, labels=['low', 'middle', 'high'])."
        )
    return tuple(map(str, sorted(found, key=int if digits else None)))


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _complete_splits(
    tables: dict[str, datasets.Dataset], classes: tuple[str, ...], seed: int, name: str
) -> dict[str, datasets.Dataset]:
    """The splits that are there, and those that are missing cut off the training samples."""
    missing = [split for split in SPLITS if split not in tables]
    if not missing:
        return tables
    train = tables["train"]
    labels, groups = train["label"][:], train["group"][:]
    try:
        rows = split_rows(labels, groups, seed=seed)
    except ValueError:
        frame = pd.DataFrame({"label": labels, "group": groups})
        count = frame.groupby("label")["group"].nunique()
        few, all_rows = count.idxmin(), frame["label"].value_counts()
        copies = "; rows of one group, and copies, count once" if all_rows[few] > count[few] else ""
        raise TaskError(
            f"{name}: class {classes[few]!r} has only {count[few]} row(s){copies}. At least 3 are needed, so that each "
            "split gets one: collect more, merge the class into another, or drop it."
        ) from None
    back = np.sort(np.concatenate([rows[part] for part in SPLITS if part not in missing]))
    return {**tables, "train": train.select(back), **{part: train.select(rows[part]) for part in missing}}
