"""Quizzes: `quiz.show("01")` at the start of a chapter's exercises; the questions lie in `quizzes/ch01.toml`.

The package jupyterquiz is kept, but its answers cannot be reached with the keyboard, and its output differs at each run.
These questions are real forms with spoken feedback, alive without kernel and network. Used by every chapter.

A question is one entry of the file, of markup it may have `code` and *emphasis*:

.. code-block:: toml

    [[question]]
    ask = "What is frozen?"

    [[question.answer]]
    text = "The backbone"
    why = "Its weights and its statistics stay as they are."
    right = true

    [[question.answer]]
    text = "The head"
    why = "It is new and knows nothing: it has to learn."
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from tl_helpers.book.widgets import Asking

FOLDER = Path(__file__).parent / "quizzes"


@dataclass(frozen=True)
class Answer:
    """One answer, and why it is right or wrong."""

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question and its answers, one of which is right.

    Raises
    ------
    ValueError
        For an empty text, fewer than three answers, not exactly one right answer, or two equal answers or reasons.
    """

    ask: str
    answers: tuple[Answer, ...]

    def __post_init__(self) -> None:
        texts, reasons = ([getattr(answer, part) for answer in self.answers] for part in ("text", "why"))
        if not all(text.strip() for text in (self.ask, *texts, *reasons)):
            raise ValueError(f"{self.ask!r}: the question, each answer and each reason need a text.")
        if len(texts) < 3:
            raise ValueError(f"{self.ask!r} has {len(texts)} answers: three or more.")
        if sum(answer.right for answer in self.answers) != 1:
            raise ValueError(f"{self.ask!r}: exactly one answer has to be right.")
        for kind, some in (("answers", texts), ("reasons", reasons)):
            if len({text.strip().casefold() for text in some}) < len(some):
                raise ValueError(f"{self.ask!r}: two {kind} are the same.")


def load(chapter: str) -> tuple[Question, ...]:
    """The questions of a chapter, such as "01", in their order.

    Raises
    ------
    FileNotFoundError
        For a chapter that has no quiz.
    ValueError
        For a question that is not well formed (`Question`), or that is asked twice.
    """
    text = (FOLDER / f"ch{chapter}.toml").read_text(encoding="utf-8")
    try:
        found = tuple(
            Question(ask=entry["ask"], answers=tuple(Answer(**answer) for answer in entry["answer"]))
            for entry in tomllib.loads(text)["question"]
        )
    except (KeyError, TypeError) as problem:
        raise ValueError(
            f"ch{chapter}.toml: a question has `ask` and answers with `text`, `why`, `right`."
        ) from problem
    if len({question.ask for question in found}) < len(found):
        raise ValueError(f"ch{chapter}.toml asks a question twice.")
    return found


def show(chapter: str) -> Asking:
    """The quiz of a chapter, such as "01"; shown where it is a cell's last value.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load` does.
    """
    questions = load(chapter)
    lines = []
    for number, question in enumerate(questions, start=1):
        lines += [f"{number}. {question.ask}", *(f"   - {answer.text}" for answer in question.answers)]
    told = {"kind": "quiz", "key": f"tl-quiz:{chapter}", "questions": [asdict(question) for question in questions]}
    return Asking(told, "\n".join(lines))
