"""A chapter reports on itself: `begin` in its first cell, `finish` in its last; one that an error stops leaves a record too.

The status page is made of these reports.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from IPython import get_ipython

from tl_helpers import ledger, runtime


def begin(name: str) -> None:
    """Start the clock of a chapter and set figures and seeds to the book's defaults.

    Parameters
    ----------
    name : str
        File name of the notebook without ending, such as ``01_first_transfer``.
    """
    from tl_helpers import plots  # here: figures sit above this module

    ledger.SESSION[0] = ledger.Session(chapter=name)
    runtime.seed_everything(0)
    plots.use_style()
    _watch(True)
    here = runtime.current()
    print(f"Chapter {name} on {here.device}, {here.threads} thread(s), hubs {'online' if here.online else 'offline'}.")


def finish() -> None:
    """Stop the clock, print what the chapter took and claimed, and record it in the ledger.

    Raises
    ------
    RuntimeError
        Without `begin`.
    """
    session = ledger.SESSION[0]
    if not session.chapter:
        raise RuntimeError("finish() without begin(): run the notebook's first code cell.")
    _watch(False)
    seconds = time.perf_counter() - session.started
    here = runtime.current()
    held = sum(claim["held"] for claim in session.claims)
    computed, reused = (session.count("runs", what) for what in ("computed", "reused"))
    features_computed, features_reused = (session.count("features", what) for what in ("computed", "reused"))
    ledger.default().append(
        "chapter",
        chapter=session.chapter,
        seconds=round(seconds, 1),
        computed=computed,
        reused=reused,
        cold=reused + features_reused <= computed + features_computed,
        saved_seconds=round(session.saved_seconds, 1),
        claims=session.claims,
        device=str(here.device),
        threads=here.threads,
        versions=runtime.versions(),
    )
    print(
        f"{session.chapter}: {seconds:.0f} s, {computed} runs computed and {reused} read from the store, "
        f"{held} of {len(session.claims)} claims held."
    )


def _watch(on: bool) -> None:
    """Have `_note_stop` called after each cell of the notebook, or no longer."""
    shell = get_ipython()
    if shell is None:  # a script or a test
        return
    with contextlib.suppress(ValueError):  # was not registered
        shell.events.unregister("post_run_cell", _note_stop)
    if on:
        shell.events.register("post_run_cell", _note_stop)


def _note_stop(result: Any) -> None:
    """Record that an error stopped the chapter, and where. An interrupt is the reader's own decision and is not recorded."""
    error = result.error_before_exec or result.error_in_exec
    if error is None or isinstance(error, KeyboardInterrupt):
        return
    said = next(iter(str(error).splitlines()), "")
    ledger.default().append(
        "stopped chapter",
        chapter=ledger.SESSION[0].chapter,
        error=f"{type(error).__name__}: {said}"[:300],
        cell=next(iter(str(result.info.raw_cell).strip().splitlines()), ""),
        claims=ledger.SESSION[0].claims,
    )
