"""Live runs in the background that can be stopped: by a control's *Stop* button and by the kernel's *Interrupt*.

Work that reports its progress ends at its next report. Other work gets KeyboardInterrupt raised in its thread, which is
what an interrupted cell gets: what is safe there is safe here, and the work need not know of it. A second thread watches
the first and says how it ended, so that nothing can interrupt the saying. Both controls with a run button use it.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from IPython import get_ipython

LOOK = 0.05
"""Seconds between two looks of the watching thread: how late a wish to stop may be noticed."""

PATIENCE = 0.5
"""Seconds that work which looks at `Background.stopping` has for ending in good order, before it is interrupted."""

AGAIN = 2.0
"""Seconds until an interrupt is repeated: one that arrives in a destructor, for instance, is lost."""

_RUNNING: set[Background] = set()
_IDLE_LOOK = 0.2
_holding = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended, after how many seconds, and with what."""

    state: Literal["done", "stopped", "failed"]
    seconds: float
    result: Any = None
    error: BaseException | None = None


class Background:
    """Runs one piece of work at a time for a control, in a thread of its own.

    Parameters
    ----------
    name : str
        Of the watching thread.
    patience : float
        Seconds that the work has for ending by itself before it is interrupted.
    """

    def __init__(self, name: str, patience: float = PATIENCE) -> None:
        self.name, self.patience = name, patience
        self._change = threading.RLock()  # an observer of the end may start the next run
        self._busy, self._asked, self._at_work = False, False, False
        self._gate = threading.Lock()
        _listen()

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self._busy

    @property
    def stopping(self) -> bool:
        """Whether the run that is going on has been asked to stop."""
        return self._asked

    def start(
        self, work: Callable[[], Any], begin: Callable[[], None], end: Callable[[Outcome], None]
    ) -> threading.Thread | None:
        """Call `begin`, then `work` in the background, then `end` with its outcome.

        Returns the thread that lives until `end` has returned, or None while another run is going on.
        """
        with self._change:
            if self._busy:
                return None
            self._busy, self._asked = True, False
        try:
            begin()
            watcher = threading.Thread(target=self._watch, args=(work, end), daemon=True, name=self.name)
            watcher.start()
        except BaseException:
            self._busy = False
            raise
        return watcher

    def stop(self) -> None:
        """Ask the run that is going on to stop; it does so within a step. Takes no lock: a signal handler may call it."""
        self._asked = self._busy

    def _watch(self, work: Callable[[], Any], end: Callable[[Outcome], None]) -> None:
        start, found = time.perf_counter(), {}
        worker = threading.Thread(target=self._work, args=(work, found), daemon=True, name=f"{self.name}-work")
        self._at_work = True
        _RUNNING.add(self)
        try:
            worker.start()
        except RuntimeError as error:  # no further thread to be had
            found["error"] = error
        _hold()
        interrupt_at = None
        while worker.is_alive():
            worker.join(LOOK)
            now = time.monotonic()
            if self._asked and interrupt_at is None:
                interrupt_at = now + self.patience
            if interrupt_at is not None and now >= interrupt_at:
                self._interrupt(worker)
                interrupt_at = now + AGAIN
        _RUNNING.discard(self)
        seconds = round(time.perf_counter() - start, 2)
        error = found.get("error")
        if "result" in found:
            outcome = Outcome("done", seconds, found["result"])
        elif error is None or isinstance(error, KeyboardInterrupt) or self._asked:
            outcome = Outcome("stopped", seconds)
        else:
            outcome = Outcome("failed", seconds, error=error)
        with self._change:
            self._busy = False
            end(outcome)

    def _work(self, work: Callable[[], Any], found: dict[str, Any]) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # one that arrives while the work is ending
            try:
                found["result"] = work()
            except BaseException as error:
                found["error"] = error
            with self._gate:
                self._at_work = False

    def _interrupt(self, worker: threading.Thread) -> None:
        """Raise KeyboardInterrupt in the worker, at its next line of Python; nothing where it is through already."""
        with self._gate:
            if self._at_work and worker.is_alive():
                where = ctypes.c_ulong(worker.ident)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(where, ctypes.py_object(KeyboardInterrupt))


def stop_all() -> None:
    """Ask every live run of this kernel to stop."""
    for run in tuple(_RUNNING):
        run.stop()


# ---- the kernel's Interrupt ------------------------------------------------------------------------------------------
#
# Interrupt is SIGINT, and Python hears it in the main thread only. There, ipykernel sets a handler around each cell and
# ignores the signal in between, which is when most live runs go on. So each cell's handler is wrapped as the cell starts,
# and the idle kernel's is replaced while a run goes on; ipykernel and `_look` put back what was there.


def _listen() -> None:
    """Wrap the handler of this cell and of those to come; nothing outside of a kernel."""
    if _loop() is not None:
        get_ipython().events.register("pre_execute", _wrap)  # once, however often it is asked for
        _wrap()


def _hold() -> None:
    """Listen in the idle kernel, as long as a run goes on; called by the thread that watches it."""
    loop = _loop()
    if loop is not None:
        loop.add_callback(_look, loop)


def _look(loop: Any, again: bool = False) -> None:
    """In the main thread: make sure that we hear a SIGINT while a run goes on; afterwards, put back what was there."""
    global _holding
    if _holding and not again:
        return
    _holding = bool(_RUNNING)
    here = signal.getsignal(signal.SIGINT)
    if _holding:
        _wrap()
        loop.call_later(_IDLE_LOOK, _look, loop, True)
    elif isinstance(here, _Handler):
        signal.signal(signal.SIGINT, here.before)


class _Handler:
    """Stops all live runs, then does what stood there before (for a cell: raise KeyboardInterrupt)."""

    def __init__(self, before: Any) -> None:
        self.before = before

    def __call__(self, number: int, frame: Any) -> None:
        stop_all()
        if callable(self.before):
            self.before(number, frame)


def _wrap() -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # a subshell: Python lets the main thread only set handlers
    here = signal.getsignal(signal.SIGINT)
    if here is not None and not isinstance(here, _Handler):  # None: not set from Python, so it could not be put back
        signal.signal(signal.SIGINT, _Handler(here))


def _loop() -> Any:
    """The event loop of the kernel's main thread, or None."""
    return getattr(getattr(get_ipython(), "kernel", None), "io_loop", None)
