"""The reader's predictions: `predict.ask` near the start of a chapter, `predict.answer` before its take-aways.

What the reader says is kept by the browser, so that it outlives the kernel and works in the built book, and is told to the
kernel where there is one. Nothing waits for it, and nothing that a chapter computes depends on it. Used by every
chapter.

Examples
--------
>>> predict.ask("accuracy", "What accuracy do you expect?", unit="%")          # doctest: +SKIP
>>> predict.answer("accuracy", 81.7)                                           # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tl_helpers import ledger, plots
from tl_helpers.book.widgets import Asking

_ASKED: dict[str, Asking] = {}


def ask(
    name: str,
    question: str,
    options: Sequence[Any] | None = None,
    *,
    low: float = 0,
    high: float = 100,
    unit: str = "",
) -> Asking:
    """Ask for a number from `low` to `high`, or for one of the `options`.

    Parameters
    ----------
    name : str
        By which `answer` finds it; once a chapter.
    question : str
        Plain text with `code` and *emphasis*.
    options : sequence of str or numbers, optional
        Two or more, all different when written out; `low`, `high` and `unit` do not matter then.
    low, high : float
        Bounds of a number, both allowed.
    unit : str
        Such as "%" or "cells".

    Returns
    -------
    Asking
        Shows the question where it is a cell's last value.

    Raises
    ------
    ValueError
        For no name or question, fewer than two options, options that are the same, or bounds that are not finite and
        ascending.
    """
    if not name.strip() or not question.strip():
        raise ValueError("a question needs a name and a text.")
    told: dict[str, Any] = {"kind": "ask", "key": _key(name), "question": question, "unit": unit}
    if options is None:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"low={low}, high={high}: two finite numbers, the lower one first.")
        told |= {"low": low, "high": high}
        hint = f"(from {plots.number(low)} to {plots.number(high)}{_after(unit)})"
    else:
        told["options"] = [plots.number(option) for option in options]
        if len(told["options"]) < 2 or len(set(told["options"])) < len(told["options"]):
            raise ValueError(f"options={list(options)}: two or more, all different.")
        hint = f"({' / '.join(told['options'])})"
    _ASKED[told["key"]] = asked = Asking(told, f"Your prediction: {question} {hint}")
    return asked


def answer(name: str, measured: Any, *, digits: int = 0, near: float | None = None) -> Asking:
    """Come back to a question: what the reader said, and what was measured. No prediction is no error, a friendly line.

    Parameters
    ----------
    name : str
        That of `ask`. Where that cell has not been run, the measured value stands alone.
    measured : float, or str for options
        What the chapter found.
    digits : int
        Decimals of a number.
    near : float, optional
        Up to this distance a number is "well predicted"; 5 % of the range by default.

    Returns
    -------
    Asking
        Shows the sentence where it is a cell's last value.

    Raises
    ------
    ValueError
        For a number that is not finite.
    """
    asked = _ASKED.get(_key(name))
    told = dict(asked.told) if asked else {"key": _key(name), "question": "", "unit": "", "options": []}
    told["kind"] = "answer"
    if "options" in told:
        told["shown"] = plots.number(measured)
    else:
        value = float(measured)
        if not math.isfinite(value):
            raise ValueError(f"the measured value of {name!r} is {value}: no number to compare with.")
        told |= {"shown": f"{value:.{digits}f}", "digits": digits}
        told["measured"] = float(told["shown"])  # what is printed and the difference fit
        told["near"] = 0.05 * (told["high"] - told["low"]) if near is None else near
    told["said"] = said(name)
    return Asking(told, f"{told['question']} {_words(told)}".strip())


def said(name: str) -> float | str | None:
    """What the reader has said in this chapter, as far as the page has told the kernel; None for nothing."""
    asked = _ASKED.get(_key(name))
    return None if asked is None else asked.value


def _key(name: str) -> str:
    """The name in the browser, which keeps those of all chapters together."""
    return f"tl-prediction:{ledger.SESSION[0].chapter}/{name}"


def _after(unit: str, shown: str = "") -> str:
    """The unit, behind a number: " %", and " point" behind "1"."""
    return f" {unit[:-1] if shown == '1' and unit[-2:].isalpha() and unit.endswith('s') else unit}" if unit else ""


def _words(told: dict[str, Any]) -> str:
    it = f"it was {told['shown']}{_after(told['unit'], told['shown'])}."
    if told["said"] is None:
        return f"I{it[1:]}"
    mine = plots.number(told["said"])
    return f"You said {mine}{_after(told['unit'], mine)}, {it}"
