"""A folder of your own pictures: one folder for each class, perhaps below folders for splits; or with a table in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import datasets

from tl_helpers.data import tables
from tl_helpers.data.errors import TaskError
from tl_helpers.data.images import FOREIGN, is_picture
from tl_helpers.data.splits import SPLIT_WORDS
from tl_helpers.data.tables import Found

OUTSIDE = "a picture outside of the class folders"


def read_folder(folder: Path, wanted: Mapping[str, str | None], *, skip_bad: bool = False) -> Found:
    """What a folder holds. Top folders are splits only by their whole names, and only if class folders lie in them."""
    left_out, kinds = [], {"picture": [], "foreign": [], "table": []}
    for path, reason in _walk(folder):
        ending, place = path.suffix.lower(), path.relative_to(folder)
        if reason is None:
            nested = len(place.parts) > 1
            kind = "picture" if is_picture(path.name) else "foreign" if ending in FOREIGN and nested else ""
            kind = "table" if ending in tables.ENDINGS and not nested else kind
            if kind:
                kinds[kind].append(place)
                continue
            reason = f"not a picture ({ending or 'no ending'})"
        left_out.append((_shown(place), reason))
    pictures, foreign, found = kinds.values()
    if foreign and not skip_bad:
        raise TaskError(
            f"{folder}: {len(foreign)} pictures in formats that Pillow does not read ({', '.join(map(str, foreign[:3]))}). "
            "Convert them to PNG or JPEG, or pass skip_bad=True to leave them out."
        )
    left_out += [(str(path), f"a format that Pillow does not read ({path.suffix})") for path in foreign]
    inside = [path for path in pictures if len(path.parts) > 1]
    if found and (any(wanted.values()) or len({path.parts[0] for path in inside}) < 2):
        return _with_table(folder, found, pictures, left_out, wanted)
    left_out += [
        (str(path), "a table beside class folders: load it by its own path, if it holds labels") for path in found
    ]
    if not inside:
        beside = f" in class folders ({len(pictures)} lie beside them, such as {pictures[0]})" if pictures else ""
        raise TaskError(
            f"No images in {folder}{beside}. Put them into one sub-folder for each class: {folder.name}/cat/1.png."
        )
    if any(wanted.values()):
        raise TaskError(f"{folder} holds no table, so no columns: leave label, image and text out.")

    home, decisions = folder, []
    while len({path.parts[0] for path in inside}) == 1 and inside[0].parts[0].lower() not in SPLIT_WORDS:
        if any(len(path.parts) == 2 for path in inside):
            break
        home = home / inside[0].parts[0]
        inside = [Path(*path.parts[1:]) for path in inside]
        decisions.append(f"classes are looked for in {home.relative_to(folder)}, the only folder that holds pictures")
    left_out += [(str(path), OUTSIDE) for path in pictures if (folder / path).parent in (folder, home)]
    inside = [path for path in inside if len(path.parts) > 1]

    split_of = _splits_of(inside, home)
    rows: dict[str, list[tuple[Path, str]]] = {}
    deeper: Counter = Counter()
    for path in inside:
        split, rest = (split_of[path.parts[0]], path.parts[1:]) if split_of else ("train", path.parts)
        if len(rest) == 1:
            left_out.append((str((home / path).relative_to(folder)), OUTSIDE))
        else:
            rows.setdefault(split, []).append((home / path, rest[0]))
            deeper[rest[0]] += len(rest) > 2
    _no_class_is_empty(home, split_of, {split: {name for _, name in these} for split, these in rows.items()})
    decisions += [
        f"{count} pictures in folders below {name} count as {name}" for name, count in deeper.items() if count
    ]
    if split_of:
        decisions.append("top folders are splits: " + ", ".join(f"{top} is {split}" for top, split in split_of.items()))
    parts = {split: _table(these, folder) for split, these in rows.items()}
    return Found(parts, "image", left_out, decisions)


def _table(rows: list[tuple[Path, str]], folder: Path) -> datasets.Dataset:
    columns = {
        "image": [str(path) for path, _ in rows],
        "label": [name for _, name in rows],
        "file": [path.relative_to(folder).as_posix() for path, _ in rows],
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def _walk(folder: Path) -> list[tuple[Path, str | None]]:
    """Every file below a folder, also behind links, sorted; with the reason where it is not to be looked at."""
    found: list[tuple[Path, str | None]] = []
    seen: set[str] = set()
    for base, folders, files in os.walk(folder, followlinks=True, onerror=lambda error: found.append(
        (Path(error.filename), "a folder that may not be read: change its permissions")
    )):  # fmt: skip
        folders.sort()
        real = os.path.realpath(base)
        if real in seen:
            found.append((Path(base), "a link to a folder that was read already"))
            files, folders[:] = [], []
        seen.add(real)
        for name in [each for each in folders if each.startswith((".", "__MACOSX"))]:
            folders.remove(name)
            found.append((Path(base, name), "a hidden folder"))
        for name in files:
            reason = "hidden" if name.startswith(".") or name in ("Thumbs.db", "desktop.ini") else None
            path = Path(base, name)
            if _shown(path) != str(path):
                reason = "no valid Unicode in its path: rename it"
            found.append((path, reason if path.exists() else "a link that leads nowhere"))
    return sorted(found, key=lambda item: os.fsencode(item[0]))


def _splits_of(inside: list[Path], home: Path) -> dict[str, str] | None:
    """Which split each top folder is; None if they are classes. What could be either is refused."""
    below: dict[str, set[str]] = {}
    for path in inside:
        below.setdefault(path.parts[0], set()).update(path.parts[1:-1][:1])
    split_of = {top: SPLIT_WORDS.get(top.lower()) for top in below}
    names, deeper = ", ".join(sorted(below)), {each.lower() for each in set().union(*below.values())}
    if not any(split_of[top] and below[top] for top in below):
        if len({SPLIT_WORDS.get(each) for each in deeper} - {None}) > 1 and deeper <= set(SPLIT_WORDS):
            top = min(top for top in below if below[top])
            raise TaskError(
                f"{home}: splits lie inside of class folders ({top}/{min(below[top])}), where they would be mixed. Put "
                f"them on top: {min(below[top])}/{top}."
            )
        if all(split_of.values()):
            raise TaskError(
                f"{home}: {names} are called like splits, and no class folders lie in them. Put one folder for each class "
                "into each, or load a table with the labels; if these are your classes, rename one."
            )
        return None
    other = [top for top in sorted(below) if not split_of[top]]
    if other:
        raise TaskError(
            f"{home}: some of {names} are called like splits and hold class folders, and {', '.join(other)} is no split's "
            "name. Splits are called train, validation and test: rename it or move it out; if all are classes, put no "
            "folders into them."
        )
    twice = [split for split, count in Counter(split_of.values()).items() if count > 1]
    if twice:
        told = " and ".join(top for top in sorted(below) if split_of[top] == twice[0])
        raise TaskError(f"{home}: {told} would both be the {twice[0]} split. Merge them, or move one out.")
    if "train" not in split_of.values():
        raise TaskError(f"{home}: {names}, but no folder train. Rename the one to learn from.")
    return split_of


def _no_class_is_empty(home: Path, split_of: dict[str, str] | None, used: dict[str, set[str]]) -> None:
    for base, split in [(home / top, split) for top, split in split_of.items()] if split_of else [(home, "train")]:
        for path in sorted(base.iterdir()):
            if path.is_dir() and path.name not in used[split] and not path.name.startswith((".", "__MACOSX")):
                raise TaskError(f"{base}: nothing in the class folder {path.name}. Add images or remove the folder.")


def _with_table(
    folder: Path,
    found: list[Path],
    pictures: list[Path],
    left_out: list[tuple[str, str]],
    wanted: Mapping[str, str | None],
) -> Found:
    """The table of a folder, or one table for each split; pictures that no table names are left out."""
    if len(found) > 1 and not all(path.stem.lower() in SPLIT_WORDS for path in found):
        raise TaskError(
            f"{folder} holds {len(found)} tables ({', '.join(map(str, found[:4]))}), and no pictures in class folders. Load "
            f"one of them, load_task({str(folder / found[0])!r}), or call them train.csv and test.csv."
        )
    files = {path.stem: folder / path for path in found} if len(found) > 1 else {"train": folder / found[0]}
    read = tables.read_tables(tables.by_split(files, str(folder)), wanted)
    named = set()
    if read.modality == "image":
        for table in read.parts.values():
            items = table.cast_column("image", datasets.Image(decode=False))["image"][:]
            named |= {os.path.realpath(item["path"]) for item in items if item and item["path"]}
    unnamed = [path for path in pictures if os.path.realpath(folder / path) not in named]
    read.left_out += [*left_out, *((str(path), "a picture that the table does not name") for path in unnamed)]
    return read


def _shown(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()
