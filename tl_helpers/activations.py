"""Frozen-prefix cache: what reaches the freeze line, computed once for each image and view, whatever is trained above it.

`Line` answers `line(positions, views)` for the images of one split. It computes what is not on the disk yet, going on from
the nearest shallower line that is. `training.fit` trains suffixes on it; chapters 4 and 5 show what that saves.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tl_helpers import keys, runtime, store
from tl_helpers.data import Samples
from tl_helpers.data.views import VIEWS, views_of
from tl_helpers.frozen import Prefix
from tl_helpers.models import Backbone
from tl_helpers.models.backbone import join

BATCH = 16
"""Images that go through the prefix together. Always as many (padded), so that an activation has the same bits however it
came about."""

LIMIT_BYTES = 6 * store.GIB
"""Disk space for all lines; the least recently used go first."""

LINE_LIMIT_BYTES = 2 * store.GIB
"""A line that would grow larger than this with all its views is not kept: its (early, cheap) stages run each time."""

_ENTRY = np.dtype([("image", "<u8"), ("check", "<u4"), ("filled", "<u4")])


class Line:
    """Activations at a freeze line for the images of one split.

    Parameters
    ----------
    backbone : Backbone
        Its first `depth` stages are the prefix; they must not change while the line is in use (the freeze contract).
        They are moved to the device in use.
    depth : int
        1 (after the first stage) to ``backbone.depth`` (the pooled embedding); a ValueError for 0, where nothing is
        frozen.
    views : int
        How many of the eight exact views may be asked for: 1 or 8. Decides only whether the line is small enough to
        keep.
    keep : bool
        False computes every time, to compare with.

    Raises
    ------
    RuntimeError
        If the prefix is in training mode, so not frozen.
    """

    def __init__(
        self, backbone: Backbone, depth: int, samples: Samples, *, views: int = VIEWS, keep: bool = True
    ) -> None:
        backbone.check_depth(depth)
        if depth == 0:
            raise ValueError("At depth 0 nothing is frozen, so there is nothing to keep: train on the images.")
        self.prefix, self.depth, self.samples = Prefix(backbone, depth), depth, samples
        self.computed = self.reused = 0
        what = "Activations at the freeze line are"
        names = (store.sure_name(what, lambda: _line_names(self.prefix, samples)) or []) if keep else []
        self._images = _image_names(samples.inputs) if keep else np.zeros(len(samples), dtype=np.uint64)
        self._files: dict[int, _File] = {}
        shapes = _shapes(names[-1], self.prefix, samples) if names else []
        for line, (name, (shape, dtype)) in enumerate(zip(names, shapes, strict=True), start=1):
            size = int(np.prod(shape)) * dtype.itemsize
            tokens = len(shape) == 2  # as many as the sentence has: no equal slots, so such a line is not kept
            if not tokens and size * len(samples) * views <= LINE_LIMIT_BYTES:
                self._files[line] = _File(folder() / name, shape, dtype)

    @property
    def kept(self) -> bool:
        """Whether this line itself is stored."""
        return self.depth in self._files

    def __call__(self, positions: Sequence[int] | torch.Tensor, views: torch.Tensor | None = None) -> torch.Tensor:
        """Activations of some images, by their positions in the samples, each in one view: int64, shape (N,) both.

        View 0, the image as it is, by default. float32, shape (N, C, H, W), or (N, dim) at the deepest line; for text
        (N, T, D + 1) before the pooling.
        """
        self.fill(positions, views)
        positions, views, slots, images = self._places(positions, views)
        if not self.kept:
            parts = _batches(np.arange(len(positions)))
            return join([self._batch(positions[part], views[part]) for part in parts]).float()
        file = self._files[self.depth]
        found, sound = file.read(slots, images)
        missing = np.flatnonzero(~sound)  # damaged, or not to be kept: the disk is full
        for part in _batches(missing):
            made = self._batch(positions[part], views[part])
            file.write(slots[part], images[part], made)
            found[torch.from_numpy(part)] = made
        return found.float()

    def fill(self, positions: Sequence[int] | torch.Tensor, views: torch.Tensor | None = None) -> int:
        """Make sure that these activations are on the disk; returns how many had to be computed.

        Where the line is not kept this does nothing, as there is no place to fill.
        """
        file = self._files.get(self.depth)
        if file is None or file.broken:
            return 0
        positions, views, slots, images = self._places(positions, views)
        missing = np.flatnonzero(~file.has(slots, images))
        missing = missing[np.unique(slots[missing], return_index=True)[1]]
        for part in _batches(missing):
            file.write(slots[part], images[part], self._batch(positions[part], views[part]))
        self.computed += len(missing)
        self.reused += len(positions) - len(missing)
        return len(missing)

    def _places(self, positions: Sequence[int] | torch.Tensor, views: torch.Tensor | None) -> tuple[np.ndarray, ...]:
        """Positions and views as int64 arrays (0 where none are given), their slots, and the names of the images."""
        positions = np.asarray(positions, dtype=np.int64)
        views = np.zeros_like(positions) if views is None else np.asarray(views, dtype=np.int64)
        rows = self.samples.rows if self.samples.table else np.arange(len(self.samples))
        return positions, views, np.asarray(rows)[positions] * VIEWS + views, self._images[positions]

    @torch.no_grad()
    def _batch(self, positions: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """At most `BATCH` activations, from the nearest shallower line that holds all of them, or from the pixels."""
        count = len(positions)
        padding = np.zeros(BATCH - count, dtype=np.int64)
        padded = (np.concatenate([part, part[padding]]) for part in (positions, views))
        positions, views, slots, images = self._places(*padded)
        for start in [line for line in reversed(self._files) if line < self.depth]:
            x, sound = self._files[start].read(slots, images)
            if sound.all():
                break
        else:
            start, x = 0, views_of(self.samples.inputs[positions], torch.from_numpy(views))
        return self.prefix.to_line(x, start, self.depth)[:count].cpu()


def _batches(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]


def folder() -> Path:
    """Where the lines are kept."""
    return runtime.current().cache_dir / "activations"


def _line_names(prefix: Prefix, samples: Samples) -> list[str]:
    """A name for each line from the first on: all that its activations depend on, except the image and the view."""
    here, backbone = runtime.current(), prefix.backbone
    table = samples.table or samples.fingerprint
    code = keys.code_name(Prefix, views_of, type(backbone))
    name = keys.fingerprint(
        "line", code, backbone.preprocessing, here.precision, here.device.type, table,
        list(samples.inputs.shape[1:]), runtime.versions(),
    )  # fmt: skip
    stages = zip(prefix.stages, prefix.engines, strict=True)
    return list(itertools.accumulate(stages, keys.fingerprint, initial=name))[1:]


def _image_names(pixels: torch.Tensor) -> np.ndarray:
    """64 bits of a hash of each image, so that a line can never hand out another image's activations."""
    flat = pixels.contiguous().numpy().reshape(len(pixels), -1)
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in flat)
    return np.frombuffer(digests, dtype="<u8")


_SHAPES: dict[str, list[tuple[tuple[int, ...], torch.dtype]]] = {}


def _shapes(name: str, prefix: Prefix, samples: Samples) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of one image's activations at each line, looked up under the deepest line's name."""
    if name not in _SHAPES:
        here, found = runtime.current(), []
        x = prefix.backbone.prepare(torch.zeros((1, *samples.inputs.shape[1:]), dtype=torch.uint8, device=here.device))
        with torch.no_grad(), here.autocast():
            for stop, stage in enumerate(prefix.stages, start=1):
                x = stage(x)
                found.append(prefix.pool(x, stop))
        _SHAPES[name] = [(tuple(x.shape[1:]), x.dtype) for x in found]
    return _SHAPES[name]


class _File:
    """The activations of one line: a data file of equal slots, and an index that says which slot holds which image.

    A slot is written before its index entry, and the entry carries a checksum of it: whatever is killed or damaged, a
    slot is either sound or computed again. Two processes may fill one file; they write the same bytes.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.data, self.index = path.with_suffix(".act"), path.with_suffix(".idx")
        self.dtype = dtype
        self.stored = (*shape[1:], shape[0]) if len(shape) == 3 else shape  # channels last, as the stages use them
        self.size = int(np.prod(shape)) * dtype.itemsize
        self.broken = False
        try:
            self.entries = np.fromfile(self.index, dtype=_ENTRY)[: self.data.stat().st_size // self.size]
        except OSError:
            self.entries = np.zeros(0, dtype=_ENTRY)
        self.checked = np.zeros(len(self.entries), dtype=bool)
        self.map: np.ndarray | None = None
        with contextlib.suppress(OSError):
            os.utime(self.data)  # recently used

    def has(self, slots: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Which of these slots hold these images."""
        self._grow(slots)
        found = self.entries[slots]
        return (found["filled"] == 1) & (found["image"] == images)

    def read(self, slots: np.ndarray, images: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Activations, and for which of the slots: those that hold these images, sound when they are first read."""
        there = self.has(slots, images)
        end = (int(slots[there].max(initial=-1)) + 1) * self.size
        if self.map is None or len(self.map) < end:
            try:
                self.map = np.memmap(self.data, dtype=np.uint8, mode="r")
                self.checked[:] = False  # the file may be another one by now: evicted, and begun anew
            except (OSError, ValueError):
                self.map = np.zeros(0, dtype=np.uint8)
        sound = np.zeros(len(slots), dtype=bool)
        raw = np.empty((len(slots), self.size), dtype=np.uint8)
        for number in np.flatnonzero(there):
            slot = slots[number]
            piece = self.map[slot * self.size : (slot + 1) * self.size]
            if len(piece) == self.size:
                raw[number] = piece
                if not self.checked[slot]:
                    self.checked[slot] = zlib.crc32(raw[number].data) == self.entries[slot]["check"]
                sound[number] = self.checked[slot]
        damaged = there & ~sound
        if damaged.any():
            store.warn(f"{damaged.sum()} activation(s) in {self.data.name} are damaged; computing them again.")
            self.entries["filled"][slots[damaged]] = 0
        flat = torch.from_numpy(raw).view(self.dtype).view(len(slots), *self.stored)
        return (flat.permute(0, 3, 1, 2) if len(self.stored) == 3 else flat), sound

    def write(self, slots: np.ndarray, images: np.ndarray, activations: torch.Tensor) -> None:
        """Keep activations (N, ...). On a full disk: a warning once, and they are simply not kept."""
        if self.broken:
            return
        self._grow(slots)
        x = activations.to(self.dtype)
        x = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
        raw = x.contiguous().view(len(slots), -1).view(torch.uint8).numpy()
        entries = np.zeros(len(slots), dtype=_ENTRY)
        entries["image"], entries["filled"] = images, 1
        entries["check"] = [zlib.crc32(row.data) for row in raw]
        try:
            self.data.parent.mkdir(parents=True, exist_ok=True)
            with _opened(self.data) as data, _opened(self.index) as index:
                for slot, row in zip(slots, raw, strict=True):
                    _put(data, int(slot) * self.size, row.tobytes())
                for slot, entry in zip(slots, entries, strict=True):
                    _put(index, int(slot) * _ENTRY.itemsize, entry.tobytes())
        except OSError as error:
            self.broken = True
            store.warn(
                f"Activations at the freeze line are not kept ({error}). Training goes on without them; free some space "
                "or set TL_CACHE to a folder on another disk."
            )
            return
        self.entries[slots], self.checked[slots] = entries, True
        for line in store.least_used(self.data.parent.glob("*.act"), LIMIT_BYTES, keep=self.data):
            store.forget(line.with_suffix(".idx"))  # first: without it, what is left of a line is empty
            store.forget(line)

    def _grow(self, slots: np.ndarray) -> None:
        more = int(slots.max(initial=-1)) + 1 - len(self.entries)
        if more > 0:
            self.entries = np.concatenate([self.entries, np.zeros(more, dtype=_ENTRY)])
            self.checked = np.concatenate([self.checked, np.zeros(more, dtype=bool)])


def _opened(path: Path) -> io.RawIOBase:
    """A file to write into at any place, unbuffered; made where there is none."""
    path.touch()
    return path.open("r+b", buffering=0)


def _put(file: io.RawIOBase, offset: int, raw: bytes) -> None:
    file.seek(offset)
    if file.write(raw) != len(raw):
        raise OSError("the disk took only a part of it")
