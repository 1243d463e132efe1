"""Task and Samples: the contract between data and everything that learns from it.

A `Task` says what the data is (classes, domain, licence, splits); `Samples` is one split, decoded to uint8 pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
import torchvision.transforms.v2.functional as tvf
from PIL import Image

from tl_helpers import keys, runtime, store
from tl_helpers.data.errors import TaskError, UnreadableImageError
from tl_helpers.data.splits import SPLITS, nested_subset, split_rows
from tl_helpers.data.text import decode_texts, encode_texts


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
        Further columns, shape (N,) each, such as ``probability`` and ``domain``.
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

    def __post_init__(self) -> None:
        missing = [name for name in SPLITS if name not in self.splits]
        if missing:
            raise TaskError(f"{self.name}: no split named {', '.join(missing)}; a task has {', '.join(SPLITS)}.")
        for column in ("row", "group"):
            owner: dict = {}
            for split in SPLITS:
                for value in set(self.splits[split][column]):
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
        return np.asarray(self._table(split)["row"])

    def labels(self, split: str) -> np.ndarray:
        """Class numbers of a split: int64, shape (N,)."""
        return np.asarray(self._table(split)["label"])

    def few_labels(self, n: int, seed: int = 0) -> Task:
        """The same task with only `n` labelled training samples: stratified, and nested over n (see `nested_subset`)."""
        train = self.splits["train"]
        try:
            chosen = np.sort(nested_subset(np.asarray(train["label"]), n, seed))
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
                keep &= np.asarray(table[column]) == value
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

    def _table(self, split: str) -> datasets.Dataset:
        if split not in SPLITS:
            raise KeyError(f"{split!r} is no split of a task: use {', '.join(SPLITS)}.")
        return self.splits[split]

    def _samples(self, table: datasets.Dataset, size: int | None, name: str) -> Samples:
        if self.modality == "text" and size is not None:
            raise ValueError(f"size={size}: {self.name} is text, which has no size in pixels. Leave it out.")
        if size is not None and size < 8:
            raise ValueError(f"size={size}: images need at least 8 x 8 pixels.")
        rows, own = np.asarray(table["row"]), ("image", "text", "label", "row", "group")
        if self.modality == "text":
            inputs = encode_texts(table["text"], self.name)
        else:
            inputs = decode(self.table, size, what=self.name, margin=self.margin)[rows]
        return Samples(
            name=name,
            inputs=inputs,
            labels=torch.as_tensor(np.asarray(table["label"]), dtype=torch.int64),
            classes=self.classes,
            rows=rows,
            extra={column: np.asarray(table[column]) for column in table.column_names if column not in own},
            table=self.table._fingerprint + (f"-crop{self.margin}" if self.margin else ""),
            modality=self.modality,
        )


def decode(table: datasets.Dataset, size: int | None = None, what: str = "images", *, margin: int = 0) -> torch.Tensor:
    """Pixels of a table's ``image`` column: uint8, shape (N, C, size, size); cached by the encoded bytes.

    C is 1 if every image is grey, else 3. Sixteen-bit and palette images are converted; `margin` pixels are cut off each
    side before the resizing.
    """
    known = (table._fingerprint, _stamps(table), size, margin)
    if known in _DECODED:
        return _DECODED[known]
    items = table.cast_column("image", datasets.Image(decode=False))["image"]
    encoded = [_read_bytes(item) for item in items]
    content = [hashlib.sha256(raw).hexdigest() for raw in encoded]
    key = keys.fingerprint("pixels", runtime.versions(), keys.code_name(_decode_all), content, size, margin)
    names = [item["path"] or f"image {number}" for number, item in enumerate(items)]
    make = functools.partial(_decode_all, encoded, names, size, what, margin)
    pixels = store.shared("images").compute(key, lambda: {"pixels": make()})["pixels"]
    while len(_DECODED) >= 4:
        _DECODED.pop(next(iter(_DECODED)))
    _DECODED[known] = pixels
    return pixels


_DECODED: dict[tuple[str, str, int | None, int], torch.Tensor] = {}
"""This process's last pools: six splits read the disk once."""


def _stamps(table: datasets.Dataset) -> str:
    """Names the files that a table only points to, as they are now; empty where the images lie in the table itself.

    By size, time of change and place on the disk. The time of writing alone can be kept when a file is overwritten; the
    time of change cannot, but on Windows there is none, so there the content counts.
    """
    column = table.with_format("arrow")[:]["image"]
    outside = (chunk.filter(chunk.field("bytes").is_null()).field("path") for chunk in column.chunks)
    paths = [path for chunk in outside for path in chunk.to_pylist() if path is not None]
    found = []
    for path in paths:
        with contextlib.suppress(OSError):  # the reading says what is wrong
            status = Path(path).stat()
            found.append([path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino])
            if os.name == "nt":
                found[-1].append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
    return keys.fingerprint(found) if paths else ""


def _read_bytes(item: dict) -> bytes:
    if item["bytes"] is not None:
        return item["bytes"]
    try:
        return Path(item["path"]).read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{item['path']}: {error.strerror}. Was the folder moved?") from None


def _decode_all(encoded: list[bytes], names: list[str], size: int | None, what: str, margin: int) -> torch.Tensor:
    decode_one = functools.partial(_decode_one, size=size, margin=margin)
    pool = ThreadPoolExecutor(runtime.current().threads)
    try:
        found = pool.map(decode_one, encoded, names)
        images = list(runtime.progress(found, total=len(names), what=f"decoding {what}"))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error the rest is not waited for
    if len({pixels.shape[1:] for pixels in images}) > 1:
        raise TaskError(f"{what}: the images differ in size, so give one: samples(split, size=224).")
    channels = max(len(pixels) for pixels in images)
    return torch.stack([pixels.expand(channels, -1, -1) for pixels in images])


def _decode_one(raw: bytes, name: str, *, size: int | None, margin: int) -> torch.Tensor:
    """One image, uint8 (C, height, width)."""
    try:
        with Image.open(io.BytesIO(raw)) as image:
            pixels = tvf.pil_to_tensor(image if image.mode in ("L", "RGB") else _to_8_bit(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(
            f"{name} cannot be read as an image ({error}). Repair it, or remove it from the folder."
        ) from None
    height, width = pixels.shape[1:]
    if 2 * margin >= min(height, width):
        raise TaskError(f"{name}: a margin of {margin} leaves nothing of {height} x {width}.")
    pixels = pixels[:, margin : height - margin, margin : width - margin]
    return tvf.resize(pixels, [size, size], antialias=True) if size else pixels


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image, dtype=np.float64)
        return Image.fromarray((values / max(values.max(), 1) * 255).round().astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "LA", "F") else "RGB")


def task_from_dataset(
    data: datasets.Dataset | datasets.DatasetDict,
    *,
    name: str,
    label: str = "label",
    image: str = "image",
    text: str | None = None,
    group: str | None = None,
    domain: str = "",
    seed: int = 0,
    **facts: str,
) -> Task:
    """A task from whatever `datasets` can read: a folder, CSV, Parquet, pandas, the hub.

    A data set with splits keeps its test split; a missing validation (or test) split is cut off the rest, stratified
    and by group. Labels may be numbers (`datasets.ClassLabel` or int) or text. With `text`, that column holds
    sentences, and the task is one of text instead of images. The `facts` are the task's: ``label_rule``, ``licence``,
    ``citation``, ``source``, ``note``. A TaskError says which columns are missing, which class is empty or the only one,
    which labels are out of range, or what leaks between the splits.
    """
    if isinstance(data, datasets.Dataset):
        data = datasets.DatasetDict({"train": data})
    if not data or all(len(part) == 0 for part in data.values()):
        raise TaskError(f"{name}: no samples found.")
    aliases = {"valid": "validation", "val": "validation", "dev": "validation"}
    parts = {aliases.get(split, split): table for split, table in data.items()}
    unknown = set(parts) - set(SPLITS)
    if unknown or "train" not in parts:
        raise TaskError(f"{name}: splits {sorted(parts)}; use train, and if you like validation and test.")
    content, modality = text or image, "text" if text else "image"
    for column in filter(None, (label, content, group)):
        if column not in parts["train"].column_names:
            raise TaskError(f"{name}: no column {column!r}; the columns are {', '.join(parts['train'].column_names)}.")

    classes = _class_names(parts, label, name)
    number = {text: index for index, text in enumerate(classes)}
    tables, start = {}, 0
    for split, table in parts.items():
        values = table[label]
        labels = [number[value] if isinstance(value, str) else int(value) for value in values]
        rows = list(range(start, start + len(table)))
        start += len(table)
        groups = [str(value) for value in table[group]] if group else [f"row{row}" for row in rows]
        table = table.remove_columns([own for own in table.column_names if own in ("label", "row", "group", label)])
        if content != modality:
            table = table.rename_column(content, modality)
        if not text and not isinstance(table.features["image"], datasets.Image):
            table = table.cast_column("image", datasets.Image())
        for column, cells in {"label": labels, "row": rows, "group": groups}.items():
            table = table.add_column(column, cells)
        tables[split] = table
    return Task(
        name=name,
        modality=modality,
        classes=classes,
        domain=domain or name,
        table=datasets.concatenate_datasets(list(tables.values())),
        splits=datasets.DatasetDict(_complete_splits(tables, seed, name)),
        **{"source": name} | facts,
    )


def _class_names(parts: dict[str, datasets.Dataset], label: str, name: str) -> tuple[str, ...]:
    feature = parts["train"].features[label]
    values = [value for table in parts.values() for value in table[label]]
    if any(value is None or (isinstance(value, float) and np.isnan(value)) for value in values):
        raise TaskError(f"{name}: some labels are missing (NaN). Fill them in or drop those rows.")
    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    if isinstance(values[0], str):
        return tuple(sorted(set(values)))
    if any(value != int(value) or value < 0 for value in values):
        raise TaskError(f"{name}: labels must be text or whole numbers from 0 on; got {sorted(set(values))[:5]} ...")
    return tuple(str(value) for value in range(int(max(values)) + 1))


def _complete_splits(tables: dict[str, datasets.Dataset], seed: int, name: str) -> dict[str, datasets.Dataset]:
    """The splits that are there, and those that are missing cut off the training samples."""
    missing = [split for split in SPLITS if split not in tables]
    if not missing:
        return tables
    train = tables["train"]
    try:
        rows = split_rows(train["label"], train["group"], seed=seed)
    except ValueError as error:
        raise TaskError(f"{name}: {error}") from None
    back = np.sort(np.concatenate([rows[part] for part in SPLITS if part not in missing]))
    return {**tables, "train": train.select(back), **{part: train.select(rows[part]) for part in missing}}
