"""Tables of your own: from files and from memory, with the columns found that hold labels and images or texts."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet
import torch
from PIL import Image

from tl_helpers.data.emoji import png
from tl_helpers.data.errors import TaskError
from tl_helpers.data.images import is_picture
from tl_helpers.data.splits import SPLIT_WORDS
from tl_helpers.data.text import wrong_text

ENDINGS = (".csv", ".tsv", ".parquet", ".json", ".jsonl")
"""Of files that hold a table."""

COLUMNS = {
    "label": ("label", "labels", "class", "category", "target"),
    "image": ("image", "img", "file_name", "filename", "file", "image_path", "filepath", "path"),
    "text": ("text", "sentence", "review", "message", "document", "content", "body"),
}
"""Names by which columns are known if you say none; the first that is there counts."""

TAKEN = ("label", "file", "row", "group")
"""Columns of a task: ``file`` is what a sample is called in reports, its path or its row. Further ones get other names."""


@dataclass
class Found:
    """What reading gives: by split, tables of ``image`` or ``text``, ``label`` and ``file``; and what is to be told."""

    parts: dict[str, datasets.Dataset]
    modality: str
    left_out: list[tuple[str, str]] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)


def read_tables(files: Mapping[str, Path], wanted: Mapping[str, str | None]) -> Found:
    """From files by split; the paths of images in them are seen from their folder."""
    base, decisions = next(iter(files.values())).parent, []
    name = " and ".join(path.name for path in files.values())
    parts = {split: as_table(_read(path), path.name, decisions) for split, path in files.items()}
    return find_columns(parts, wanted, name, decisions, base=base)


def _read(path: Path) -> pd.DataFrame | datasets.Dataset:
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise TaskError(
            f"{path}: {ending or 'a file without an ending'} is not read. Tables end in {', '.join(ENDINGS)}; unpack "
            "archives first; save spreadsheets as CSV (UTF-8)."
        )
    try:
        if ending == ".parquet":
            return datasets.Dataset(datasets.table.InMemoryTable(pyarrow.parquet.read_table(path)))
        raw = path.read_bytes()
    except (OSError, pyarrow.ArrowException) as error:
        raise TaskError(f"{path} cannot be read ({error}). Is it whole, and may it be read? Write it again.") from None
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        content = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TaskError(
            f"{path} is not UTF-8 (line {line}, byte {raw[error.start]:#x}). Save it as UTF-8, or say what it is: "
            f"task_from(pandas.read_csv({path.name!r}, encoding='cp1252'))."
        ) from None
    if not content.strip():
        raise TaskError(f"{path} is empty. Its first line must name the columns.")
    return _csv(content, path) if ending in (".csv", ".tsv") else _json(content, path)


def _csv(content: str, path: Path) -> pd.DataFrame:
    """All cells as text, and every line as long as the first: pandas would guess types, and take in lines of any length."""
    csv.field_size_limit(2**31 - 1)
    head = content.lstrip("\r\n").splitlines()[0]
    mark = max(",;\t|", key=lambda mark: len(next(csv.reader([head], delimiter=mark))))
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=mark, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows += [row] if any(cell.strip() for cell in row) else []
            if row and len(row) != len(rows[0]) and row is rows[-1]:
                raise TaskError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but {len(rows[0])} columns. Put texts that hold "
                    f"{mark!r} into double quotes."
                )
    except csv.Error as error:
        raise TaskError(
            f"{path}, line {reader.line_num}: {error}. Close the quotes, and double those inside a text."
        ) from None
    columns = [cell.strip() or f"column {number}" for number, cell in enumerate(rows[0], start=1)]
    return pd.DataFrame(rows[1:], columns=columns, dtype=object)


def _json(content: str, path: Path) -> pd.DataFrame:
    lines = list(enumerate(content.splitlines(), start=1)) if path.suffix.lower() == ".jsonl" else [(1, content)]
    items = []
    for number, line in lines:
        try:
            items += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            where = f"{path}, line {number + error.lineno - 1}"
            raise TaskError(
                f"{where}: no valid JSON ({error.msg}). Repair it; with one object a line, call it .jsonl."
            ) from None
    items = items if path.suffix.lower() == ".jsonl" else items[0]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TaskError(f'{path}: a list of objects is needed, such as [{{"text": "...", "label": "..."}}].')
    return pd.DataFrame(items, dtype=object)


def as_table(data: object, where: str, decisions: list[str]) -> datasets.Dataset:
    """A table from one object in memory: see `task_from`. Images become paths or the bytes of a file.

    Columns of mixed values become text, which is noted in `decisions`.
    """
    if isinstance(data, datasets.Dataset):
        return data.with_format(None)
    if isinstance(data, torch.utils.data.Dataset) and isinstance(data, Sized):
        data = _pairs(data, where)
    if not isinstance(data, pd.DataFrame):
        raise TaskError(
            f"{where}: a {type(data).__name__} cannot be read as a task. Pass a pandas.DataFrame, a datasets.Dataset, a "
            "torchvision dataset (none that streams), a list of images or texts with labels=[...], or a mapping of those by "
            "split; load_task reads folders and files."
        )
    if any(name is not None for name in data.index.names):
        data = data.reset_index()
    data = data.rename(columns=str)
    double = data.columns[data.columns.duplicated()].unique()
    if len(double):
        raise TaskError(f"{where}: the column {', '.join(double)} is there more than once. Rename one of them.")
    columns, features = {}, {}
    for column in data.columns:
        values = [None if _is_missing(v) else v for v in data[column].tolist()]
        if any(isinstance(value, (Image.Image, np.ndarray, torch.Tensor, os.PathLike, bytes)) for value in values):
            values = [_encoded(value, f"{where}, row {number}") for number, value in enumerate(values)]
            features[column] = datasets.Image()
        try:
            pyarrow.array(values)
        except UnicodeEncodeError:
            number = next(n for n, v in enumerate(values) if isinstance(v, str) and wrong_text(v).startswith("broken"))
            raise TaskError(
                f"{where}, column {column}, row {number}: {wrong_text(values[number])}. Repair it."
            ) from None
        except (pyarrow.ArrowException, TypeError, ValueError):
            decisions.append(f"column {column}: values of several types are kept as text")
            values = [None if v is None else str(v).encode("utf-8", "backslashreplace").decode() for v in values]
        columns[column] = values
    table = datasets.Dataset.from_dict(columns)
    for column, feature in features.items():
        table = table.cast_column(column, feature)
    return table


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def from_lists(items: Sequence, labels: Sequence, name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """A frame of images or texts with their labels, and which columns these are."""
    if isinstance(items, (Mapping, pd.DataFrame, datasets.Dataset)) or not isinstance(items, Sized):
        kind = type(items).__name__
        raise TaskError(
            f"{name}: labels go with a list of images or texts; for a {kind}, name the column: label='...'."
        )
    if len(items) != len(labels):
        raise TaskError(f"{name}: {len(items)} items but {len(labels)} labels: give one for each.")
    columns = {"item": list(items), "label": [_plain(label) for label in labels]}
    frame = pd.DataFrame({column: pd.Series(values, dtype=object) for column, values in columns.items()})
    return frame, {"label": "label", _kind(items[0] if len(items) else ""): "item"}


def _pairs(data: torch.utils.data.Dataset, where: str) -> pd.DataFrame:
    """A dataset of torchvision's kind; its folders as paths, rather than what its transforms make of them."""
    files = getattr(data, "samples", None)
    pairs = files if isinstance(files, list) else [data[number] for number in range(len(data))]
    if not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pairs):
        raise TaskError(f"{where}: the items of the dataset must be pairs of an image and a label.")
    names, labels = getattr(getattr(data, "dataset", data), "classes", None), [_plain(label) for _, label in pairs]
    if names and all(isinstance(label, int) and 0 <= label < len(names) for label in labels):
        labels = [names[label] if isinstance(names[label], str) else ", ".join(names[label]) for label in labels]
    images = [Path(item) if isinstance(item, str) else item for item, _ in pairs]
    return pd.DataFrame({"image": pd.Series(images, dtype=object), "label": pd.Series(labels, dtype=object)})


def _plain(label: object) -> object:
    return label.item() if isinstance(label, (np.generic, torch.Tensor)) and np.ndim(label) == 0 else label


def _kind(first: object) -> str:
    return "text" if isinstance(first, str) and not is_picture(first) else "image"


def _encoded(value: object, where: str) -> dict | None:
    """An image as Hugging Face keeps it: the path or the bytes of a file."""
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, (str, os.PathLike)):
        return {"path": os.fspath(value), "bytes": None}
    if isinstance(value, bytes):
        return {"path": None, "bytes": value}
    if isinstance(value, torch.Tensor):
        value = value.cpu().numpy()
        value = value.transpose(1, 2, 0) if value.ndim == 3 else value
    if isinstance(value, np.ndarray):
        value = value[..., 0] if value.ndim == 3 and value.shape[2] == 1 else value
        colour = value.ndim == 3 and value.shape[2] in (3, 4) and value.dtype == np.uint8
        if not (colour or (value.ndim == 2 and value.dtype in (np.uint8, np.uint16, bool))) or 0 in value.shape:
            raise TaskError(
                f"{where}: {value.dtype} of shape {value.shape} is no image. Images are uint8, (H, W) or (H, W, 3), as "
                "tensors (C, H, W); for floats from 0 to 1, multiply by 255 and round; take transform=ToTensor() off."
            )
        value = Image.fromarray(value)
    if not isinstance(value, Image.Image):
        raise TaskError(f"{where}: a {type(value).__name__} is no image. Use PIL images, uint8 arrays, or paths.")
    if value.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        return {"path": None, "bytes": png(value)}
    file = io.BytesIO()
    value.save(file, format="TIFF")
    return {"path": None, "bytes": file.getvalue()}


def by_split(parts: Mapping[str, object], name: str) -> dict[str, object]:
    """The same under the names ``train``, ``validation`` and ``test``."""
    found: dict[str, object] = {}
    for each, part in parts.items():
        split = SPLIT_WORDS.get(str(each).strip().lower())
        if split is None:
            raise TaskError(
                f"{name}: a split called {each!r}; use train, and if you like validation and test. To choose: "
                "task_from({'train': data['...'], 'test': data['...']})."
            )
        if split in found:
            raise TaskError(f"{name}: two {split} splits ({', '.join(map(str, parts))}). Merge them, or leave one out.")
        found[split] = part
    if "train" not in found:
        raise TaskError(f"{name}: splits {sorted(map(str, parts))}; use train, and if you like validation and test.")
    return found


def find_columns(
    parts: dict[str, datasets.Dataset],
    wanted: Mapping[str, str | None],
    name: str,
    decisions: list[str],
    *,
    base: Path | None = None,
) -> Found:
    """Which columns are the label and the content, and images as images."""
    names = parts["train"].column_names
    for role, column in wanted.items():
        if column is not None and column not in names:
            raise TaskError(f"{name}: no column {column!r} for the {role}; the columns are {', '.join(names)}.")
    small = {column.lower(): column for column in reversed(names)}
    known = {role: next((small[each] for each in words if each in small), None) for role, words in COLUMNS.items()}
    label = wanted.get("label") or known["label"]
    if label is None:
        raise TaskError(f"{name}: which column is the label? The columns are {', '.join(names)}: pass label='...'.")
    content = {role: wanted[role] for role in ("image", "text") if wanted.get(role)}
    content = content or {role: known[role] for role in ("image", "text") if known[role] not in (None, label)}
    if not content and len(names) == 2:
        other = next(column for column in names if column != label)
        content = {_kind(next(iter(parts["train"][other][:1]), "")): other}
    if len(content) != 1:
        told = (
            f"{' and '.join(content.values())} could both be meant" if content else "which holds the images or texts?"
        )
        raise TaskError(
            f"{name}: {told}; the columns are {', '.join(names)}: pass image='...' or text='...', one of them."
        )
    ((role, column),) = content.items()
    if column == label:
        raise TaskError(
            f"{name}: column {label} cannot be both the label and the {role}. Name another of {', '.join(names)}."
        )
    for split, table in parts.items():
        only = set(names) ^ set(table.column_names)
        if only:
            raise TaskError(
                f"{name}: {split} and train differ in the columns {', '.join(sorted(only))}. Give both the same."
            )
    extra = [each for each in names if each not in (label, column)]
    taken = {each: f"{each}_given" for each in extra if each in (*TAKEN, role)}
    decisions.append(f"label: column {label}; {role}: column {column}; further columns: {', '.join(extra) or 'none'}")
    decisions += [f"column {old} is called {new}" for old, new in taken.items()]
    for split, table in parts.items():
        first = f"{split} row" if len(parts) > 1 else "row"
        called = [f"{first} {number}" for number in range(len(table))]
        if role == "image":
            table, called = _with_images(table, column, base, f"{name}, {split}", called)
        parts[split] = table.rename_columns(taken | {label: "label", column: role}).add_column("file", called)
    by = next((each for each in extra if each.lower() == "split"), None)
    if by and len(parts) == 1:
        said = pd.Series(parts["train"][by][:], dtype=object).map(str)
        rows = by_split({word: np.flatnonzero(said == word) for word in said.unique()}, f"{name}, column {by}")
        parts = {split: parts["train"].select(numbers) for split, numbers in rows.items()}
        decisions.append(f"column {by} says which split a row belongs to")
    return Found(parts, role, decisions=decisions)


def _with_images(
    table: datasets.Dataset, column: str, base: Path | None, where: str, called: list[str]
) -> tuple[datasets.Dataset, list[str]]:
    """The column as images, and what to call the rows: by their paths, which are seen from `base`, or as they are called."""
    if isinstance(table.features[column], datasets.Image):
        return table, called
    values = [None if value == "" else value for value in table[column][:]]
    wrong = next((value for value in values if not isinstance(value, (str, dict, bytes, type(None)))), None)
    if wrong is not None:
        raise TaskError(
            f"{where}: column {column} holds {wrong!r}, which is no image and no path. Name another: image='...'."
        )
    paths = [value for value in values if isinstance(value, str)]
    link = next((value for value in paths if re.match("[a-z]+://", value)), None)
    if link:
        raise TaskError(f"{where}: column {column} holds addresses ({link}). Download the pictures and name the files.")
    places = {value: _place(value, base) for value in paths}
    absent = [value for value in paths if places[value] is None]
    if absent:
        raise TaskError(
            f"{where}: {len(absent)} of {len(values)} files named in column {column} are not there "
            f"({', '.join(map(repr, absent[:3]))}). Paths are seen from {base or 'the current folder'}."
        )
    cells = [_encoded(places.get(value, value) if isinstance(value, str) else value, where) for value in values]
    table = table.remove_columns(column).add_column(column, cells).cast_column(column, datasets.Image())
    return table, [value if isinstance(value, str) else other for value, other in zip(values, called, strict=True)]


def _place(value: str, base: Path | None) -> Path | None:
    """The file that is meant, if it is there; paths of Windows are understood elsewhere, too."""
    for each in (value, value.replace("\\", "/")):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # no possible path
            if (path := (base or Path()) / Path(each).expanduser()).is_file():
                return path
    return None
