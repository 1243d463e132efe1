"""Where seeds come from, and what fresh ones said: one variable, ``TL_SEED_BASE``, moves those of all chapters and studies.

Chapters are written on seeds from 0 on, choices are made on seed 100. `make replicate` executes the chapters once more on
seeds from 1000 on and writes down, claim by claim, what held. The panel of claims and the status page read it. Used by
every chapter.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import warnings
from pathlib import Path

FRESH = 1000
"""The first of the fresh seeds."""

TUNING = 100
"""The seed that choices were made on. What is recorded for seeds from here on is not moved."""

FILE = Path(__file__).resolve().parent / "results" / "replication.json"
"""By chapter: when and with what code it was replicated, and each of its claims.

:meta hide-value:
"""

NOT_YET, HELD, FAILED = "not replicated yet", "held again with fresh seeds", "did not replicate"


def base() -> int:
    """The first seed, ``TL_SEED_BASE``; 0 by default.

    Raises
    ------
    ValueError
        If the variable holds no whole number from 0 to a billion.
    """
    text = os.environ.get("TL_SEED_BASE") or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= 10**9):
        raise ValueError(
            f"TL_SEED_BASE={text!r}: use a whole number from 0 to a billion ({FRESH} for fresh seeds), or unset it."
        )
    return int(text)


def seeds(count: int) -> tuple[int, ...]:
    """So many seeds, from `base` on.

    Raises
    ------
    ValueError
        For fewer than one.

    Examples
    --------
    >>> seeds(3)                                                               # doctest: +SKIP
    (0, 1, 2)
    """
    if count < 1:
        raise ValueError(f"seeds({count}): one seed or more.")
    return tuple(range(base(), base() + count))


def suffix() -> str:
    """What is added to the name of a recorded study's files: nothing for base 0, else such as ``.seeds1000``."""
    return f".seeds{base()}" if base() else ""


def load(file: Path | None = None) -> dict[str, dict]:
    """What `make replicate` found, by chapter; empty before its first run."""
    try:
        return json.loads((file or FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        warnings.warn(f"{FILE.name} is damaged ({error}): make replicate writes it anew.", stacklevel=2)
        return {}


def found(replicated: dict[str, dict], chapter: str, claim: dict) -> dict | None:
    """The same claim with fresh seeds: the same one by number in a cell of the same code. None if there is none yet."""
    known = replicated.get(chapter, {}).get("claims", [])
    place = claim.get("cell"), claim.get("number")
    return next((other for other in known if place[0] and (other["cell"], other["number"]) == place), None)


def cell_name(source: str) -> str:
    """A short name of a cell's code, without comments, docstrings and layout; empty for what is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [part for part in body if not _is_text(part)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def _is_text(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)
