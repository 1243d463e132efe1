"""The store: everything on disk that must not be computed twice - decoded images, features, predictions, finished runs.

An entry is one safetensors file, whose metadata hold a JSON record and a checksum of all of it. It is written beside its
place and moved there in one step, so a killed process leaves no half entry; a flipped bit is noticed, and the entry made
again. Apart stand the activations at the freeze line, which are filled in one by one (`tl_helpers.activations`), the ledger,
and Optuna's journals.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from tl_helpers import keys, runtime

SUFFIX = ".safetensors"
GIB = 1024**3

T = TypeVar("T")


class StoreWarning(UserWarning):
    """Something about the store that the reader should know but that stops nothing."""


@dataclass(frozen=True)
class Entry:
    """What a key holds: named tensors and a JSON-able record."""

    tensors: dict[str, torch.Tensor]
    record: dict


@dataclass(frozen=True)
class Store:
    """Entries of one kind in one folder, bounded in size; the least recently used go first.

    Parameters
    ----------
    folder : pathlib.Path
        Made on the first write.
    limit_bytes : int
        After each write the folder is brought back under this size.
    """

    folder: Path
    limit_bytes: int = 4 * GIB

    def get(self, key: str) -> Entry | None:
        """The entry under `key`, or None if there is none or it is damaged (then it is deleted, with a warning)."""
        path = self._path(key)
        try:
            raw = path.read_bytes()
            facts = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
            tensors = load(raw)
            whole = facts["checksum"] == _checksum(tensors, facts["record"])
        except FileNotFoundError:
            return None
        except OSError as error:
            warn(f"Entry {path.name} of the store cannot be read ({error}); computing it again.")
            return None
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
            whole = False
        if not whole:
            warn(f"Entry {path.name} of the store is damaged; computing it again.")
            forget(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # recently used
        return Entry(tensors, json.loads(facts["record"]))

    def put(self, key: str, tensors: Mapping[str, torch.Tensor], record: Mapping | None = None) -> bool:
        """Store an entry. On a full or read-only disk: a warning, and the result is simply not kept.

        Parameters
        ----------
        key : str
            From `tl_helpers.keys.fingerprint`.
        tensors : mapping of str to torch.Tensor
            Any shapes, and the dtypes that safetensors knows.
        record : mapping, optional
            Anything JSON can hold, and numbers and arrays of libraries.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        shared = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
        tensors = {  # the format knows no shared memory, as that of tied weights
            name: tensor.clone() if shared[tensor.untyped_storage().data_ptr()] > 1 else tensor
            for name, tensor in tensors.items()
        }
        path = self._path(key)
        beside = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            note = json.dumps(dict(record or {}), default=plain)
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, beside, {"record": note, "checksum": _checksum(tensors, note)})
            with beside.open("r+b") as file:  # Windows syncs only what may be written
                os.fsync(file.fileno())
            beside.replace(path)
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:  # no place, or no such format
            forget(beside)
            warn(
                f"Not kept in the store ({error}). The result is still used; free some space or set TL_CACHE to a "
                "folder on another disk to keep the next one."
            )
            return False
        self._evict(keep=path)
        return True

    def compute(self, key: str | None, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The tensors under `key`, made and stored by `make()` where they are absent; without a key, made."""
        entry = None if key is None else self.get(key)
        TALLY[self.folder.name, "computed" if entry is None else "reused"] += 1
        if entry is not None:
            return entry.tensors
        tensors = dict(make())
        if key is not None:
            self.put(key, tensors)
        return tensors

    def drop(self, key: str) -> None:
        """Forget one entry."""
        forget(self._path(key))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _evict(self, keep: Path) -> None:
        for path in self.folder.glob("*.tlc"):  # the format of earlier versions
            forget(path)
        for path in self.folder.glob("*.tmp"):  # left by killed processes
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < keep.stat().st_mtime - 3600:
                    path.unlink()
        for path in least_used(self.folder.glob(f"*{SUFFIX}"), self.limit_bytes, keep):
            forget(path)


def least_used(files: Iterable[Path], limit_bytes: int, keep: Path) -> Iterator[Path]:
    """Which files have to go, one by one, until the others take no more than `limit_bytes`; never `keep`.

    The least recently used come first. A file that is still there after its turn (Windows keeps what another process
    reads) counts on.
    """
    found = []
    for path in files:
        with contextlib.suppress(OSError):  # another process deleted it just now
            status = path.stat()
            on_disk = getattr(status, "st_blocks", 0) * 512 or status.st_size  # less, where a file has holes
            found.append((status.st_mtime, min(on_disk, status.st_size), path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit_bytes:
            return
        if path != keep:
            yield path
            total -= 0 if path.exists() else size


def forget(path: Path) -> None:
    """Delete a file if it is there and may be deleted: a folder that has become read-only stops nothing."""
    with contextlib.suppress(OSError):
        path.unlink()


def warn(text: str) -> None:
    """A `StoreWarning` at the line that called the caller."""
    warnings.warn(text, StoreWarning, 3)


def _checksum(tensors: Mapping[str, torch.Tensor], record: str) -> str:
    """SHA-256 of names, types, shapes and bytes of tensors, and of the record."""
    digest = hashlib.sha256(record.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def plain(value: object) -> object:
    """Numbers and arrays of NumPy and torch as Python's own, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"JSON cannot hold a {type(value).__name__}: pass numbers, text, lists or dicts.")


TALLY: Counter[tuple[str, str]] = Counter()
"""How often this process computed and reused entries: ``TALLY["features", "reused"]``."""


def sure_name(what: str, name: Callable[[], T]) -> T | None:
    """The name that `name()` makes; None, with a warning, where it would not be sure: then nothing is kept.

    Parameters
    ----------
    what : str
        Of the warning, such as "These features are".
    name : callable
    """
    try:
        return name()
    except keys.Unnameable as problem:
        warnings.warn(f"{what} not kept on the disk, as the name would not be sure. {problem}", StoreWarning, 3)
        return None


def shared(kind: str, *, limit_bytes: int = 4 * GIB) -> Store:
    """The store for one kind of entry (``images``, ``features``, ``runs``, ...) in the runtime's cache folder."""
    return Store(runtime.current().cache_dir / kind, limit_bytes)
