"""The ledger: one line for every run, claim and chapter, appended to a file that survives a killed process.

Also `Run`, the record that `training.fit` returns. Every chapter reads its result table from here.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tl_helpers import runtime, store


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes
    ----------
    name, task : str
        What was trained (free text) and on which samples.
    metrics : dict of str to float
        On the validation samples, for the weights that were kept; empty without validation.
    history : list of dict
        One record for each epoch: ``epoch``, ``seconds`` (training only, cumulative), ``lr``, ``train_loss`` (with what
        a method adds), and ``validation_...`` where there is validation.
    seconds : float
        Training only, without validation.
    trainable : int
        Parameters that were trained.
    config : dict
        The recipe, and the settings of the method if there is one.
    key : str
        Names code, data, configuration and seed; equal keys mean the same run.
    measured : list of dict
        What watchers measured along the way, such as `tl_helpers.training.Retention`.
    reused : bool
        True where the run was read from the store instead of computed.
    """

    name: str
    task: str
    seed: int
    metrics: dict[str, float]
    history: list[dict[str, float]]
    seconds: float
    trainable: int
    config: dict
    key: str
    device: str
    precision: str
    threads: int
    measured: list[dict[str, float]] = field(default_factory=list)
    reused: bool = False

    def seconds_to(self, value: float, metric: str = "validation_accuracy") -> float:
        """Training seconds until a metric first reached a value; infinite if it never did."""
        return next((epoch["seconds"] for epoch in self.history if epoch.get(metric, -math.inf) >= value), math.inf)


@dataclass(frozen=True)
class Ledger:
    """An append-only file of JSON lines."""

    path: Path

    def append(self, kind: str, **fields: object) -> dict:
        """Add one record and flush it to the disk; returns it. Never changes what is there.

        On a full or read-only disk the record is lost with a warning, the work goes on.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = {"kind": kind, "time": now, **fields}
        line = json.dumps(record, default=store.plain) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # a killed process left half a line: close it, so that ours is whole
                        line = "\n" + line
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            warnings.warn(
                f"Not written to the ledger ({error}): {kind}. Free some space or set TL_CACHE.", stacklevel=2
            )
        return record

    def holds(self, kind: str, key: str) -> bool:
        """Whether there is a record of this kind with this ``key``; never without a key."""
        try:
            if not key or key.encode() not in self.path.read_bytes():  # quick, as nearly always
                return False
        except OSError:
            return False
        return any(record.get("key") == key for record in self.records(kind))

    def records(self, kind: str | None = None) -> list[dict]:
        """All records, oldest first; of one kind if given. Lines that a killed process cut off are passed over."""
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:  # not there yet, or its folder cannot be read
            return []
        found, broken = [], 0
        for line in filter(None, lines):
            try:
                record = json.loads(line)
            except ValueError:
                broken += 1
                continue
            if kind is None or record.get("kind") == kind:
                found.append(record)
        if broken:
            warnings.warn(f"{broken} unfinished line(s) in {self.path.name} passed over.", stacklevel=2)
        return found

    def frame(self, kind: str = "run") -> pd.DataFrame:
        """The records of one kind as a table; nested fields become columns such as ``metrics.accuracy``."""
        records = [
            {key: value for key, value in row.items() if key not in ("history", "measured")}
            for row in self.records(kind)
        ]
        return pd.json_normalize(records, max_level=1)


@dataclass
class Session:
    """What this process has done since `started`, a ``time.perf_counter`` value: so that a chapter can report on itself.

    `before` are the cache counts at that time, `saved_seconds` the training time that stored runs spared, `overlap` how
    much the chapter's seeds have in common (`tl_helpers.stats.interval`).
    """

    chapter: str = ""
    started: float = field(default_factory=time.perf_counter)
    before: dict = field(default_factory=lambda: dict(store.TALLY))
    saved_seconds: float = 0.0
    overlap: float = 0.0
    claims: list[dict] = field(default_factory=list)

    def count(self, kind: str, what: str) -> int:
        """Cache entries ``computed`` or ``reused`` since the start."""
        return store.TALLY[kind, what] - self.before.get((kind, what), 0)


SESSION = [Session()]
"""Holds the current session; `chapter.begin` replaces it."""


def default() -> Ledger:
    """The ledger in the runtime's cache folder."""
    return Ledger(runtime.current().cache_dir / "ledger.jsonl")
