"""A content-addressed store on disk for what must not be computed twice: decoded images, features, finished runs.

An entry is one file: a magic word, the SHA-256 of the rest, then a safetensors payload. It is written beside its place
and moved there in one step, so a killed process leaves no half entry; a flipped byte is noticed and the entry recomputed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_save

from tl_helpers import keys, runtime

MAGIC = b"TLCACHE1"
SUFFIX = ".tlc"
GIB = 1024**3

T = TypeVar("T")


class CacheWarning(UserWarning):
    """Something about the cache that the reader should know but that stops nothing."""


@dataclass(frozen=True)
class Entry:
    """What a key holds: named tensors and a JSON-able record."""

    tensors: dict[str, torch.Tensor]
    record: dict


@dataclass(frozen=True)
class Cache:
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
        except FileNotFoundError:
            return None
        except OSError as error:
            warnings.warn(f"Cache entry {path.name} cannot be read ({error}); computing it again.", CacheWarning, 2)
            return None
        body = memoryview(raw)[40:]
        if raw[:8] != MAGIC or hashlib.sha256(body).digest() != raw[8:40]:
            warnings.warn(
                f"Cache entry {path.name} is damaged (checksum differs); computing it again.", CacheWarning, 2
            )
            _forget(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # recently used
        tensors = safetensors_load(bytes(body))
        record = json.loads(tensors.pop("record").numpy().tobytes().decode())
        return Entry(tensors, record)

    def put(self, key: str, tensors: Mapping[str, torch.Tensor], record: Mapping | None = None) -> bool:
        """Store an entry. On a full or read-only disk: a warning, and the result is simply not kept.

        Parameters
        ----------
        key : str
            From `tl_helpers.keys.fingerprint`.
        tensors : mapping of str to torch.Tensor
            Any shapes and dtypes; the name ``record`` is taken.
        record : mapping, optional
            Anything JSON can hold.
        """
        note = np.frombuffer(json.dumps(dict(record or {})).encode(), dtype=np.uint8).copy()
        body = safetensors_save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            | {"record": torch.from_numpy(note)}
        )
        path = self._path(key)
        beside = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(MAGIC + hashlib.sha256(body).digest())
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            _forget(beside)
            warnings.warn(
                f"Not kept in the cache ({error}). The result is still used; free some space or set TL_CACHE to a "
                "folder on another disk to keep the next one.",
                CacheWarning,
                2,
            )
            return False
        self._evict(keep=path)
        return True

    def recall(self, key: str) -> Entry | None:
        """`get`, counted: what a chapter reused. With None, the caller computes and calls `put`."""
        entry = self.get(key)
        TALLY[self.folder.name, "computed" if entry is None else "reused"] += 1
        return entry

    def compute(self, key: str | None, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The tensors under `key`, made and stored by `make()` where they are absent; without a key, made."""
        if key is None:
            TALLY[self.folder.name, "computed"] += 1
            return dict(make())
        entry = self.recall(key)
        if entry is not None:
            return entry.tensors
        tensors = dict(make())
        self.put(key, tensors)
        return tensors

    def drop(self, key: str) -> None:
        """Forget one entry."""
        _forget(self._path(key))

    def size(self) -> int:
        """Bytes in use."""
        return sum(size for _, size, _ in self._entries())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _entries(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):  # another process evicted it just now
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _evict(self, keep: Path) -> None:
        for path in self.folder.glob("*.tmp"):  # left by killed processes
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < keep.stat().st_mtime - 3600:
                    path.unlink()
        entries = self._entries()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.limit_bytes:
                return
            if path != keep:
                _forget(path)
                total -= size


def _forget(path: Path) -> None:
    """Delete a file if it is there and may be deleted: a folder that has become read-only stops nothing."""
    with contextlib.suppress(OSError):
        path.unlink()


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
        text = f"{what} not kept on the disk, as the name would not be sure. {problem}"
        warnings.warn(text, CacheWarning, 3)
        return None


def shared(kind: str, *, limit_bytes: int = 4 * GIB) -> Cache:
    """The cache for one kind of entry (``images``, ``features``, ``runs``, ...) in the runtime's cache folder."""
    return Cache(runtime.current().cache_dir / kind, limit_bytes)
