"""The mechanism of all exercises: registry, checks, feedback. Every chapter's exercise section uses it.

An exercise in a notebook is a markdown cell with the `{exercise}` directive and three code cells, found by
their metadata `{"exercise": {"id": ..., "role": "stub" | "check" | "solution"}}`:

- stub: the function for the reader to fill in, its body `...`; the docstring says what is given and wanted.
- check: `exercises.check("id", function)`. It never raises, so an open exercise does not stop a chapter.
- solution: the function under the name `<function>_solution` and a check of that. The other name matters: a
  reader who runs all cells keeps the own answer, and the check cell never judges the solution in its place.
  The cell carries the tag `hide-cell` (folded away in the book) and `jupyter.source_hidden` (in JupyterLab),
  and ends in a semicolon: a green box for the solution, below the reader's check, would look like the own.

An answer that does not end is the reader's to interrupt: after `HINT_AFTER` seconds a line says how, and the interrupted
check tells where it was. The clock decides about that line only, never about a verdict.

A check is a function registered by `@exercise("id")`; it gets the reader's answers and raises
`Hint("what is wrong and why")` or returns. Plausible mistakes, and the words that the message for exactly this mistake must
hold, stand in `tests/exercises/wrong_answers`, right answers unlike the solution in `tests/exercises/right_answers`; the
tests run stub, solution, and every one of both. A check compares what an answer does, whatever kind of sequence it returns.
"""

from __future__ import annotations

import contextvars
import functools
import html
import importlib
import pkgutil
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np
import torch
from IPython.display import HTML, display

from tl_helpers import runtime

HINT_AFTER = 10.0
"""Seconds until a check that is still going on says how to interrupt it."""

_STILL = "Still checking. If your loop does not end, press the square in the toolbar (Interrupt the kernel)."

Status = Literal["passed", "not yet", "wrong"]
_SIGNS: dict[str, tuple[str, str, str]] = {  # sign, edge and background colour
    "passed": ("✓", "#00785A", "#E9F6F1"),
    "not yet": ("◻", "#6B6B6B", "#F2F2F2"),
    "wrong": ("✗", "#B54A00", "#FDF1E8"),
}


class Hint(Exception):
    """Raised by a check: the answer is wrong; the message tells the reader why and what to think about."""


class _NotYet(Exception):
    """The answer is still a stub."""


class _AnswerRaised(Exception):
    """The reader's function raised; the original exception is the cause."""


@dataclass(frozen=True)
class Feedback:
    """What a check says about an answer; a notebook shows it as a coloured box."""

    id: str
    status: Status
    message: str

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        return f"{_SIGNS[self.status][0]} {self.id}: {self.message}"

    def _repr_markdown_(self) -> str:
        return f"**{_SIGNS[self.status][0]} {self.id}**: {self.message}"

    def _repr_html_(self) -> str:
        sign, edge, _ = _SIGNS[self.status]
        head = f'<strong style="color:{edge}">{sign} {html.escape(self.id)}</strong> '
        return _box(self.status, head + html.escape(self.message))


def _box(status: Status, content: str) -> str:
    # Own ink and paper: legible whatever the theme puts behind it.
    _, edge, paper = _SIGNS[status]
    return (
        f'<div class="tl-feedback" data-status="{status}" style="border-left:4px solid {edge};background:{paper};'
        f'color:#1A1A1A;padding:.5em .8em;border-radius:4px;max-width:46em">{content}</div>'
    )


@dataclass(frozen=True)
class Exercise:
    """One registered exercise; `judge(*answers)` returns on a right answer and raises Hint on a wrong one."""

    id: str
    judge: Callable[..., None]


_EXERCISES: dict[str, Exercise] = {}


def exercise(id: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the decorated function as the check of exercise `id`."""

    def register(judge: Callable[..., None]) -> Callable[..., None]:
        known = _EXERCISES.get(id)
        if known is not None and known.judge.__module__ != judge.__module__:
            raise ValueError(f"exercise {id!r} is registered twice: in {known.judge.__module__} and {judge.__module__}")
        _EXERCISES[id] = Exercise(id, judge)
        return judge

    return register


def registered() -> dict[str, Exercise]:
    """All exercises of the book by id; imports every chapter's checks."""
    package = importlib.import_module("tl_helpers.book.exercises")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("ch"):
            importlib.import_module(f"tl_helpers.book.exercises.{module.name}")
    return dict(_EXERCISES)


def check(id: str, *answers: Any) -> Feedback:
    """Check the reader's answers (functions or values) to exercise `id`; never raises for what they do.

    An answer that is, or returns, `...`, None or NotImplemented counts as "not yet", and so does one that is interrupted.
    The random generators of Python, NumPy and torch are left as they were: trying an answer changes nothing in the rest
    of the chapter. Everything is computed in float32, whatever ``TL_PRECISION`` says, so that no verdict depends on it.

    Raises
    ------
    KeyError : there is no such exercise
    """
    found = registered().get(id)
    if found is None:
        raise KeyError(f"there is no exercise {id!r}; there are {', '.join(sorted(_EXERCISES))}")
    start = time.perf_counter()
    try:
        with _hint_when_slow(), _same_random_state(), runtime.exact():
            status, message = _judge(found, answers)
    except KeyboardInterrupt as stop:  # the first one is the answer's; a second one, from here on, stops the cell
        status, message = "not yet", _stopped(stop, time.perf_counter() - start)
    return Feedback(id, status, message)


def _judge(found: Exercise, answers: tuple[Any, ...]) -> tuple[Status, str]:
    try:
        if any(_is_open(a) for a in answers):
            raise _NotYet("nothing filled in so far")
        found.judge(*[_guarded(a) if callable(a) else a for a in answers])
    except _NotYet as open_:
        return "not yet", f"Not yet: {open_}. Fill in the cell above, run it, then run this check again."
    except Hint as hint:
        return "wrong", str(hint)
    except _AnswerRaised as raised:
        return "wrong", _about(raised.__cause__)
    except Exception as error:  # a wrong kind of answer trips the check itself: say so, do not crash
        return "wrong", (
            f"The check could not use your answer ({_one_line(error)}). "
            "Compare what you return with what the text above asks for: type, shape and order."
        )
    return "passed", "Passed: this does what was asked for. There is often more than one good way."


def _is_open(value: Any) -> bool:
    return value is None or value is Ellipsis or value is NotImplemented


def _guarded(answer: Callable) -> Callable:
    """`answer` with its exceptions marked as the reader's own and a missing result as "not yet"."""

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = answer(*args, **kwargs)
        except NotImplementedError:  # the reader's own way to say that the function is not written yet
            raise _NotYet("your function raises NotImplementedError") from None
        except Exception as error:
            raise _AnswerRaised from error
        if _is_open(result):
            returned = "..." if result is Ellipsis else result
            raise _NotYet(f"your function returns {returned} (does it end with a return statement?)")
        return result

    return call


def _about(error: BaseException | None) -> str:
    """The exception of the reader's own code with the line it came from."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    own = next((f for f in frames if f.filename != __file__), None)
    line = "" if own is None else f", at “{own.line}”" if own.line else f", in line {own.lineno}"
    advice = "Call your function on a small example to see the whole traceback."
    return f"Your code raised {_one_line(error)}{line}. {advice}"


def _stopped(stop: KeyboardInterrupt, seconds: float) -> str:
    """Where the answer was when the reader interrupted it."""
    frame = _own_frame(stop.__traceback__)
    if frame is None:
        return f"Stopped after {seconds:.0f} s, before the check was through. Run it again."
    line = f" (“{frame.line}”)" if frame.line else ""
    return (
        f"Stopped after {seconds:.0f} s, in line {frame.lineno} of your code{line}. A loop there probably does not end: "
        "what is to end it, and what changes that on each round? Mend it, run its cell, then run this check again."
    )


def _own_frame(trace: TracebackType | None) -> traceback.FrameSummary | None:
    """The innermost line of the reader's code: of the file in which the answer stands; None if it was not called."""
    frames = traceback.extract_tb(trace)
    called = [k for k, f in enumerate(frames) if f.filename == __file__ and f.name == "call"]
    inside = frames[called[-1] + 1 :] if called else []
    own = [f for f in inside if f.filename == inside[0].filename]
    return own[-1] if own else None


def _one_line(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


@contextmanager
def _hint_when_slow() -> Iterator[None]:
    """Show how to interrupt, if the block takes long; the line goes when the block ends."""
    shown, over = [], threading.Event()

    def show() -> None:
        if not over.is_set():
            shown.append(display(_Line(_STILL), display_id=True))

    # With the context of this thread the line lands below this cell, whatever else the kernel answers meanwhile.
    timer = threading.Timer(HINT_AFTER, contextvars.copy_context().run, [show])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        over.set()
        timer.cancel()
        timer.join()
        for line in filter(None, shown):
            line.update(_Line(""))


class _Line(HTML):
    """One line of text, in a notebook a note of its own colours."""

    def __init__(self, text: str) -> None:
        super().__init__(_box("not yet", f'<span role="status">{html.escape(text)}</span>') if text else "")
        self.text = text

    def __repr__(self) -> str:
        return self.text


@contextmanager
def _same_random_state() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def same_every_time(call: Callable[[], Any]) -> tuple[Any, Any]:
    """Call twice, NumPy's global generator in different states: for checks of "same seed, same result"."""
    np.random.seed(1)
    first = call()
    np.random.seed(2)
    return first, call()


def leaves_global_generator(call: Callable[[], Any]) -> bool:
    """Whether `call` leaves NumPy's global random generator as it found it."""
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    position = np.random.get_state()[2]
    call()
    after = np.random.get_state()
    return bool(np.array_equal(before, after[1])) and position == after[2]


def refuses(call: Callable[[], Any], error: type[Exception] = ValueError) -> bool:
    """Whether the reader's function, called by `call`, raises this kind of error; other errors go on as the reader's own."""
    try:
        call()
    except _AnswerRaised as raised:
        if isinstance(raised.__cause__, error):
            return True
        raise
    return False
