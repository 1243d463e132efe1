"""Cells of a grid that several processes and machines share: none is run twice, those that fail are tried again.

What was tried is kept in an Optuna storage: a file, or a database for several machines. Used by `tl_helpers.book.results`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage, RDBStorage, fail_stale_trials, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

ATTEMPTS = 3
"""How often a cell is tried before it counts as failed."""

BEAT = 60
"""Seconds between two signs of life to a database; a process that gave none for five times as long counts as dead."""

Cell = Mapping[str, Any]


class Cells:
    """Cells to run, and all attempts at them.

    A trial in the storage is one attempt, and knows its cell by the values as text. Nothing is planned ahead: a process adds
    a trial for a cell that is open, and goes on with it if the cell is still open after all trials with smaller numbers. As
    a storage numbers trials one after the other, no two processes run the same cell. The grid may grow and shrink.

    Parameters
    ----------
    url : str
        Of a database, or the path of a file.
    name : str
        Of what is shared there.
    cells : mapping
        Each with its key, in the order in which they are run.
    key : callable
        Gives the key of a cell from its values as text.
    code : str, optional
        The name of the code that runs. A cell that failed with other code is tried anew.
    """

    def __init__(
        self,
        url: str,
        name: str,
        cells: Mapping[Hashable, Cell],
        key: Callable[[Mapping[str, str]], Hashable],
        code: str | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.url, self.cells, self.key, self.code = url, cells, key, code
        self.database = "://" in url
        with _no_word_of_experiments():
            self.storage = get_storage(
                RDBStorage(url, heartbeat_interval=BEAT, grace_period=5 * BEAT)
                if self.database
                else JournalStorage(JournalFileBackend(url))
            )
        self.trials = optuna.create_study(study_name=name, storage=self.storage, load_if_exists=True)
        self.id = self.storage.get_study_id_from_name(name)
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.trial: int | None = None  # the one at work

    def attempts(self) -> dict[Hashable, list[FrozenTrial]]:
        """By cell, in the order of their numbers."""
        found = {key: [] for key in self.cells}
        for trial in self.trials.get_trials(deepcopy=False):
            found.get(self.key(trial.user_attrs["cell"]), []).append(trial)
        return found

    def finished(self) -> dict[Hashable, dict[str, Any]]:
        """Of each cell that is done, ``metrics`` and the ``code`` that gave them."""
        pairs = ((key, trial) for key, trials in self.attempts().items() for trial in trials)
        return {key: trial.user_attrs for key, trial in pairs if trial.state == TrialState.COMPLETE}

    def failed(self) -> list[Cell]:
        """Cells that failed too often."""
        return [
            self.cells[key] for key, trials in self.attempts().items() if not _busy(trials) and not self.is_open(trials)
        ]

    def failures(self, trials: Sequence[FrozenTrial]) -> int:
        """How many attempts at a cell failed with the present code."""
        return sum(trial.state == TrialState.FAIL and trial.user_attrs["code"] == self.code for trial in trials)

    def is_open(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether one more attempt is due after these."""
        return not _busy(trials) and self.failures(trials) < ATTEMPTS

    def claim(self) -> Cell | None:
        """A cell that is now this process's own; None if none is open. Those that failed come last."""
        while True:
            self.forget_the_dead()
            failures = {key: self.failures(trials) for key, trials in self.attempts().items() if self.is_open(trials)}
            if not failures:
                return None
            key = min(failures, key=failures.get)
            cell = {name: str(value) for name, value in self.cells[key].items()}
            known = {"cell": cell, "code": self.code, "worker": self.worker}
            template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=known)
            self.trial = self.storage.create_new_trial(self.id, template)
            number = self.storage.get_trial_number_from_id(self.trial)
            if self.database:
                self.storage.record_heartbeat(self.trial)
            if self.is_open([trial for trial in self.attempts()[key] if trial.number < number]):
                return self.cells[key]
            self.end(TrialState.PRUNED)

    def attempt(self, run: Callable[[], Mapping[str, float]]) -> None:
        """Runs the cell that was claimed, and keeps the metrics. An attempt that the reader stops does not count."""
        state, metrics = TrialState.PRUNED, None
        try:
            metrics = run()
            state = TrialState.COMPLETE
        except Exception:
            state = TrialState.FAIL
        finally:
            self.end(state, metrics)

    def end(self, state: TrialState, metrics: Mapping[str, float] | None = None) -> None:
        """Ends the attempt."""
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # it was taken for dead meanwhile
            if metrics is not None:
                self.storage.set_trial_user_attr(self.trial, "metrics", metrics)
            self.storage.set_trial_state_values(self.trial, state, [0.0] if state == TrialState.COMPLETE else None)

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Shows others that this process lives: by a lock beside the file, or by a word to the database each minute."""
        if not self.database:
            with self.lock(self.worker) as lock:
                try:
                    yield
                finally:
                    Path(lock.lock_file).unlink(missing_ok=True)
            return
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT):
                if self.trial is not None:
                    self.storage.record_heartbeat(self.trial)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def forget_the_dead(self) -> None:
        """Trials that a killed process left running count as failed, and are tried again."""
        if self.database:
            with _no_word_of_experiments():
                fail_stale_trials(self.trials)
            return
        for trial in self.trials.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = self.lock(trial.user_attrs["worker"])
            with contextlib.suppress(Timeout), lock.acquire(blocking=False):
                self.trials.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                Path(lock.lock_file).unlink(missing_ok=True)

    def lock(self, worker: str) -> FileLock:
        """That a worker holds while it lives."""
        return FileLock(f"{self.url}.{worker}.lock")


def _busy(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state in (TrialState.COMPLETE, TrialState.RUNNING) for trial in trials)


@contextlib.contextmanager
def _no_word_of_experiments() -> Iterator[None]:
    """Optuna calls its heartbeats an experiment, each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
