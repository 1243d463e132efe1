"""A chapter reports on itself: `begin` in its first cell, `finish` in its last; one that an error stops leaves a record too.

The status page is made of these reports. `seeds` is where a chapter's seeds come from.
"""

from __future__ import annotations

import ast
import contextlib
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from IPython import get_ipython

from tl_helpers import ledger, runtime
from tl_helpers.book import replication


def seeds(count: int) -> tuple[int, ...]:
    """So many seeds: 0, 1, 2, ... by default, or from ``TL_SEED_BASE`` on.

    Parameters
    ----------
    count : int
        One or more.

    Returns
    -------
    tuple of int
        All seeds of a chapter come from here, so that `make replicate` can move them.
    """
    return replication.seeds(count)


def begin(name: str) -> None:
    """Start the clock of a chapter and set figures and seeds to the book's defaults.

    Parameters
    ----------
    name : str
        File name of the notebook without ending, such as ``01_first_transfer``.
    """
    from tl_helpers import plots  # here: figures sit above this module

    ledger.SESSION[0] = ledger.Session(chapter=name)
    runtime.seed_everything(replication.base())
    plots.use_style()
    _watch(True)
    here = runtime.current()
    print(f"Chapter {name} on {here.device}, {here.threads} thread(s), hubs {'online' if here.online else 'offline'}.")
    if replication.base():
        print(f"Seeds from {replication.base()} on.")


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
        seed_base=replication.base(),
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
        seed_base=replication.base(),
    )
    if replication.base():  # whoever replicates goes on after this cell
        _forget(str(result.info.raw_cell), get_ipython().user_ns)


def _forget(source: str, names: dict[str, Any]) -> None:
    """Take away what a cell that stopped was to make or to change: nothing after it may compute with something older."""
    with contextlib.suppress(SyntaxError):
        for name in set(_made(ast.parse(source))):
            if not isinstance(names.get(name), ModuleType):
                names.pop(name, None)


def _made(node: ast.AST) -> Iterator[str]:
    """Names that code assigns, defines, or calls a method of and lets go of the result (``rows.append(...)``)."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
        return
    if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
        yield from _root(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _root(node.value.func)
    for part in ast.iter_child_nodes(node):
        yield from _made(part)


def _root(node: ast.AST) -> Iterator[str]:
    """``model`` for ``model.head.weight[0]``; nothing for a plain name."""
    inner = node
    while isinstance(inner, (ast.Attribute, ast.Subscript)):
        inner = inner.value
    if inner is not node and isinstance(inner, ast.Name):
        yield inner.id
