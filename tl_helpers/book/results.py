"""Recorded results: grids of real runs that take too long for a chapter, made once by `make results` and kept with the book.

A `Study` is a grid and a function for one cell of it. Several processes or machines can share a grid, see
`tl_helpers.book.sharing`. Chapters read what was recorded with `load`; the page *recorded runs* lists what there is, and
whether the present code made it.
With ``TL_SEED_BASE=1000`` the cells that claims cite are recorded for fresh seeds, in files of their own, and read there.

`python -m tl_helpers.book.studies` is the command line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import itertools
import json
import math
import multiprocessing.connection
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tl_helpers import frozen, keys, runtime
from tl_helpers.book import replication
from tl_helpers.book.sharing import Cells

SAVE_EVERY = 5.0
"""Seconds between two savings of the results: at most about this much is lost to a killed run, and nothing of its cells."""

FOLDER = Path(__file__).resolve().parent / "results"
"""Where the book keeps what was recorded: within the package, so that an installed copy has it, too.

:meta hide-value:
"""

RESTORE = "Restore it from the repository, or install the book again."
ANOTHER_GRID = "it belongs to another grid. Raise the study's version to record it anew."

Value = int | float | str


class ResultsError(RuntimeError):
    """Recorded results are absent, damaged, or do not fit their study; the message says what to do."""


@dataclass(frozen=True)
class Study:
    """A grid of runs.

    Attributes
    ----------
    name : str
        Of its files: ``<name>.csv`` and ``<name>.json``.
    title : str
        One line for the page of recorded runs.
    grid : mapping of str to sequence
        Values of each parameter. A parameter ``seed`` is varied last: all cells of one seed come before the next.
    cell : callable
        Called with one value for each parameter, by keyword; returns metrics by name. Must be importable by its name.
    version : int
        Raise it when cells mean something else than before: recorded cells of another version are not taken over.
    cited : mapping of str to sequence, optional
        The part of the grid that claims rest on, by the parameters that it restricts: only these cells get fresh seeds.
        ``{}`` is the whole grid; None (the default) that no claim rests on it.
    """

    name: str
    title: str
    grid: Mapping[str, Sequence[Value]]
    cell: Callable[..., Mapping[str, float]]
    version: int = 1
    cited: Mapping[str, Sequence[Value]] | None = None

    def cells(self) -> list[dict[str, Value]]:
        """All combinations, by seed first."""
        names = sorted(self.grid, key=lambda name: name != "seed")
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*(self.grid[n] for n in names))]

    def read(self, column: str, text: str) -> Value:
        """The value of a parameter from its text in a file, where 1.0 may be written as 1."""
        for value in self.grid[column]:
            if str(value) == text or (not isinstance(value, str) and _number(text) == value):
                return value
        raise KeyError(text)


def asked_for(study: Study) -> Study | None:
    """The study as ``TL_SEED_BASE`` asks for it: the whole one, or with fresh seeds the part that claims cite, if any.

    Raises
    ------
    ValueError
        If it cites what is not in its grid.
    """
    if not replication.base():
        return study
    if study.cited is None:
        return None
    for name, values in study.cited.items():
        if not values or name == "seed" or not set(values) <= set(study.grid.get(name, ())):
            raise ValueError(f"{study.name} cites {name}={tuple(values)}, which is not in its grid.")
    within = {
        name: tuple(v for v in values if v in study.cited.get(name, values)) for name, values in study.grid.items()
    }
    return dataclasses.replace(study, grid=within)


def load(name: str, *, folder: Path | None = None) -> pd.DataFrame:
    """What was recorded of a study: one row a cell, parameters first, then metrics, then ``seconds``.

    With ``TL_SEED_BASE``: the cells of these seeds that claims cite. What was recorded to make choices (seed 100) stays.

    Raises
    ------
    ResultsError
        If nothing is recorded, the file is damaged, or fresh seeds are not recorded to the end.
    """
    suffix = _suffix(name, folder)
    frame = _table(name + suffix, folder)
    if suffix and (known := _facts(name + suffix, folder))["cells_done"] < known["cells_all"]:
        done = f"{known['cells_done']} of {known['cells_all']}"
        raise ResultsError(f"Only {done} cells of {name!r} are recorded with these seeds: {_how(name + suffix)}")
    return frame


def facts(name: str, *, folder: Path | None = None) -> dict:
    """How a study was recorded: command, commit, versions, machine, seconds, cells done and all.

    Raises
    ------
    ResultsError
        If nothing is recorded, or the file is damaged.
    """
    return _facts(name + _suffix(name, folder), folder)


def _suffix(name: str, folder: Path | None) -> str:
    """What `load` adds to a study's name: nothing for choices, which were made once and for all seeds."""
    if not replication.suffix():
        return ""
    with contextlib.suppress(ResultsError):
        if min(_facts(name, folder)["grid"].get("seed", (0,))) >= replication.TUNING:
            return ""
    return replication.suffix()


def _how(file: str) -> str:
    """The command that records what is missing."""
    name, _, base = file.partition(".seeds")
    return f"{f'TL_SEED_BASE={base} ' if base else ''}make results STUDIES={name}"


def _table(file: str, folder: Path | None) -> pd.DataFrame:
    path = (folder or FOLDER) / f"{file}.csv"
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise ResultsError(
            f"There are no recorded results for {file!r}. The book's own come with it; to make them yourself: {_how(file)}"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path.name} is damaged ({error}). {RESTORE}") from None
    if "seconds" not in frame.columns or frame.empty or frame.drop(columns="seconds").isna().all(axis=None):
        raise ResultsError(f"{path.name} is damaged: no rows, or no column 'seconds'. {RESTORE}")
    return frame


def _facts(file: str, folder: Path | None) -> dict:
    path = (folder or FOLDER) / f"{file}.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ResultsError(f"There are no recorded results for {file!r}: {_how(file)}") from None
    except ValueError as error:
        raise ResultsError(f"{path.name} is damaged ({error}). {RESTORE}") from None


def recorded(study: Study, *, folder: Path | None = None) -> dict[tuple[Value, ...], dict[str, float]]:
    """Metrics of the recorded cells of a study, by the values of the parameters in the grid's order.

    Empty if nothing is recorded, or only another version. Cells with a value that the grid no longer holds are kept out.

    Raises
    ------
    ResultsError
        If the file does not fit the study's grid.
    """
    return _recorded(study, folder)[0]


def _recorded(study: Study, folder: Path | None) -> tuple[dict[tuple[Value, ...], dict[str, float]], int]:
    """What is recorded, and how many cells of the file are kept out."""
    try:
        frame, known = (read(study.name + replication.suffix(), folder) for read in (_table, _facts))
    except ResultsError as error:
        if "no recorded results" in str(error):
            return {}, 0
        raise
    if known.get("version") != study.version:
        return {}, 0
    missing = [name for name in study.grid if name not in frame.columns]
    if missing:
        raise ResultsError(f"{study.name}.csv has no column {', '.join(missing)}: {ANOTHER_GRID}")
    _same_parameters(study, known["grid"], f"{study.name}.csv")
    metrics = [name for name in frame.columns if name not in study.grid]
    found = {}
    for row in frame.astype({name: str for name in study.grid}).to_dict("records"):
        if (key := _key(study, row)) is not None:
            found[key] = {name: row[name] for name in metrics if not _missing(row[name])}
    return found, len(frame) - len(found)


def _same_parameters(study: Study, names: Iterable[str], where: str) -> None:
    if set(names) != set(study.grid):
        theirs, own = (", ".join(sorted(each)) for each in (names, study.grid))
        raise ResultsError(f"{where} holds cells by {theirs}, the study {study.name!r} is by {own}: {ANOTHER_GRID}")


def _key(study: Study, texts: Mapping[str, str]) -> tuple[Value, ...] | None:
    """The values of a cell from their texts; None if the grid no longer holds one of them."""
    with contextlib.suppress(KeyError):
        return tuple(study.read(name, texts[name]) for name in study.grid)
    return None


def code_name(study: Study) -> str | None:
    """The name of the code that a study's cells run, see `tl_helpers.keys.code_name`; None where it cannot be named.

    It is the same on every machine, but for the version of Python: up to its second number it must be the same, too.
    """
    try:
        return keys.code_name(study.cell)
    except Exception:  # a name is no reason to lose hours of runs, or the page that lists them
        return None


def run_study(
    study: Study,
    *,
    storage: str | None = None,
    folder: Path | None = None,
    workers: int = 1,
    limit: int | None = None,
    command: str = "make results",
) -> list[dict[str, Value]]:
    """Run what is missing of a study; returns the cells that failed for good.

    With ``TL_SEED_BASE``: of those cells that claims cite, see `asked_for`. Recorded cells are taken over, not run again. A
    killed run goes on where it was: start it again. A cell that fails is tried three times; the others go on meanwhile.
    After a change of its code it is tried again.

    Parameters
    ----------
    study : Study
    storage : str, optional
        Database URL that several machines share; by default a file in the cache folder.
    folder : Path, optional
        For the results; the book's by default, which only a checkout of the repository may change.
    workers : int
        Processes on this machine, one torch thread each.
    limit : int, optional
        Run at most so many cells now.

    Raises
    ------
    ValueError
        For fewer than one worker, or an empty grid.
    ResultsError
        Before anything is computed, if the results could not be written, or what is there belongs to another grid.
    """
    if workers < 1:
        raise ValueError(f"workers={workers}: one process or more.")
    if not study.grid or not all(len(values) for values in study.grid.values()):
        raise ValueError(f"{study.name}: every parameter of the grid needs at least one value.")
    study = asked_for(study)
    if study is None:
        return []
    folder = _writable(folder)
    before, left_out = _recorded(study, folder)
    if left_out:
        _say(f"{study.name}: {left_out} recorded cells have values that the grid no longer holds; they are left out.")
    earlier = _facts(study.name + replication.suffix(), folder) if before else {}
    now = _circumstances(command)
    job = (study, storage or _default_storage(study), frozenset(before), code_name(study))
    shared = _shared(*job)
    everything = len(study.cells())
    bar = runtime.progress(iter(int, 1), total=everything, what=study.name)
    saved = [-math.inf]

    def save() -> int:
        saved[0] = time.monotonic()
        new = shared.finished()
        codes = {each["code"] for each in new.values()} | ({earlier.get("code")} if before else set())
        made = now | ({"code": codes.pop()} if len(codes) == 1 and None not in codes else {})
        if not new:  # nothing was run: what is there came about as it did
            made = {name: earlier[name] for name in (*now, "code") if name in earlier}
        rows = before | {key: each["metrics"] for key, each in new.items()}
        _write(study, rows, folder, made)
        if hasattr(bar, "refresh"):
            bar.n = len(rows)
            bar.refresh()
        return len(rows)

    save()
    if workers == 1:
        _work(*job, limit=limit, after=lambda: time.monotonic() - saved[0] < SAVE_EVERY or save())
    else:
        context = multiprocessing.get_context("spawn")
        shares = [None if limit is None else len(range(k, limit, workers)) for k in range(workers)]
        crew = [context.Process(target=_work, args=(*job, share)) for share in shares if share != 0]
        with _one_thread():
            for process in crew:
                process.start()
        try:
            while alive := [process.sentinel for process in crew if process.is_alive()]:
                multiprocessing.connection.wait(alive, timeout=SAVE_EVERY)
                save()
        finally:
            for process in crew:
                process.terminate() if process.is_alive() else None
                process.join()
    failed = shared.failed()
    left = everything - save() - len(failed)
    if hasattr(bar, "close"):
        bar.close()
    if left and limit is None:
        _say(
            f"{study.name}: {left} cells are at work in other processes, or in one that was killed. Start again for these."
        )
    return failed


def _say(words: str) -> None:
    print(words, file=sys.stderr)


# ---- work ------------------------------------------------------------------------------------------------------------


def _default_storage(study: Study) -> str:
    path = runtime.current().cache_dir / "studies" / f"{study.name}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(path)


def _shared(study: Study, url: str, recorded: Set[tuple[Value, ...]], code: str | None) -> Cells:
    """The cells that are not recorded yet."""

    def key(texts: Mapping[str, str]) -> tuple[Value, ...] | None:
        _same_parameters(study, texts, url.rpartition("@")[2])
        return _key(study, texts)

    cells = {tuple(cell[name] for name in study.grid): cell for cell in study.cells()}
    missing = {key: cell for key, cell in cells.items() if key not in recorded}
    return Cells(url, f"{study.name}-v{study.version}", missing, key, code)


def _work(
    study: Study,
    url: str,
    recorded: Set[tuple[Value, ...]],
    code: str | None,
    limit: int | None,
    after: Callable[[], object] = lambda: None,
) -> None:
    """One worker: runs cells until none is open, or so many are run."""
    shared = _shared(study, url, recorded, code)
    with shared.alive():
        for _ in itertools.count() if limit is None else range(limit):
            cell = shared.claim()
            if cell is None:
                return
            shared.attempt(functools.partial(_run_cell, study, cell))
            after()


def _run_cell(study: Study, cell: dict[str, Value]) -> dict[str, float]:
    start = time.perf_counter()
    try:
        found = {name: float(value) for name, value in study.cell(**cell).items()}
    except Exception:
        words = ", ".join(f"{name}={value}" for name, value in cell.items())
        print(f"{study.name} ({words}) failed:\n{traceback.format_exc(limit=-3)}", file=sys.stderr)
        raise
    return found | {"seconds": round(time.perf_counter() - start, 2)}


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    names = ("TL_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


# ---- files -----------------------------------------------------------------------------------------------------------


def _checkout() -> Path | None:
    """The root of the repository that this package lies in; None for an installed copy."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def _writable(folder: Path | None) -> Path:
    """Where results go, after an attempt to write there."""
    elsewhere = "name a folder of your own (--folder on the command line)"
    if folder is None and _checkout() is None:
        raise ResultsError(
            f"This copy of the book is installed ({FOLDER.parents[1]}); its recorded results stay as they are. "
            f"To add to them, clone the repository and call make results there; else {elsewhere}."
        )
    folder = folder or FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ResultsError(f"Nothing can be written to {folder} ({error.strerror}): {elsewhere}.") from None


def _circumstances(command: str) -> dict[str, object]:
    """How cells come about that are run now."""
    return {
        "command": command,
        "commit": _git("rev-parse", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "--", "tl_helpers", ":!tl_helpers/book/results")),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": runtime.versions(),
    }


def _write(
    study: Study, rows: Mapping[tuple, Mapping[str, float]], folder: Path, circumstances: Mapping[str, object]
) -> None:
    """Both files, each replaced in one step; the table in the order of the grid, so that two runs give the same file."""
    if not rows:
        return
    names = list(study.grid)
    order = {name: {value: k for k, value in enumerate(values)} for name, values in study.grid.items()}
    ordered = sorted(rows, key=lambda key: [order[name][value] for name, value in zip(names, key, strict=True)])
    frame = pd.DataFrame([dict(zip(names, key, strict=True)) | dict(rows[key]) for key in ordered])
    frame = frame[[name for name in frame.columns if name != "seconds"] + ["seconds"]]
    note = {
        "study": study.name,
        **({"seed_base": replication.base()} if replication.base() else {}),
        "title": study.title,
        "version": study.version,
        "grid": {name: list(values) for name, values in study.grid.items()},
        "cells_done": len(rows),
        "cells_all": len(study.cells()),
        "seconds": round(float(frame["seconds"].sum()), 1),
        **circumstances,
    }
    text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    name = study.name + replication.suffix()
    for path, content in (
        (folder / f"{name}.csv", text),
        (folder / f"{name}.json", json.dumps(note, indent=1) + "\n"),
    ):
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(content)
        beside.replace(path)


def machine() -> dict[str, str]:
    """The processor by name, its cores and its instruction set; no name of a host."""
    import torch

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    here = runtime.current()
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": here.device.type,
        "precision": str(here.precision).removeprefix("torch."),
        "frozen stages": frozen.engine(),
    }


def _git(*arguments: str) -> str:
    """What git says of the checkout; nothing for an installed copy, even one within another repository."""
    root = _checkout()
    if root is None:
        return ""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _missing(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
