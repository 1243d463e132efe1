"""Every exercise of every notebook: the stub is open, solution and right answers pass, each mistake gets its hint."""

from __future__ import annotations

import builtins
import json
import pathlib
from dataclasses import dataclass, field

import pytest

from tl_helpers.book import exercises
from tl_helpers.book.exercises import Feedback

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ROLES = ("stub", "check", "solution")
CLOSELY = tuple(f"{number:02d}" for number in (*range(1, 14), 16))
"""Chapters whose exercises all have right answers beside the solution, and four mistakes each."""


@dataclass
class InNotebook:
    """One exercise as a notebook has it: sources by role, and the source of the notebook's `imports` cell."""

    id: str
    notebook: str
    imports: str
    sources: dict[str, list[str]] = field(default_factory=lambda: {role: [] for role in ROLES})
    solution_tags: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.notebook}-{self.id}"


def collect(path: pathlib.Path) -> list[InNotebook]:
    """Exercises of one notebook, found by cell metadata."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    imports = "\n".join(_source(c) for c in code if "imports" in c["metadata"].get("tags", []))
    found: dict[str, InNotebook] = {}
    for cell in code:
        mark = cell["metadata"].get("exercise")
        if mark is not None:
            here = found.setdefault(mark["id"], InNotebook(mark["id"], path.stem, imports))
            here.sources[mark["role"]].append(_source(cell))
            if mark["role"] == "solution":
                here.solution_tags += cell["metadata"].get("tags", [])
    return list(found.values())


def _source(cell: dict) -> str:
    """Source without IPython's magic lines, which plain `exec` does not know."""
    lines = "".join(cell["source"]).splitlines()
    return "\n".join(line for line in lines if not line.startswith(("%", "!")))


def run(here: InNotebook, *sources: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Feedback], dict]:
    """Run sources after the imports in a fresh namespace; returns the feedback of every check, and the namespace."""
    feedback: list[Feedback] = []
    original = exercises.check

    def recording(id: str, *answers: object) -> Feedback:
        feedback.append(original(id, *answers))
        return feedback[-1]

    namespace: dict = {"__name__": "__main__", "__builtins__": builtins}
    exec(compile(here.imports, f"<imports of {here.notebook}>", "exec"), namespace)
    with monkeypatch.context() as patch:
        patch.setattr(exercises, "check", recording)
        for source in sources:
            exec(compile(source, f"<{here.id}>", "exec"), namespace)
    return feedback, namespace


def only(feedback: list[Feedback], here: InNotebook) -> Feedback:
    assert [f.id for f in feedback] == [here.id], f"the cell has to call exercises.check({here.id!r}, ...) once"
    return feedback[0]


@dataclass(frozen=True)
class Wrong:
    """A plausible mistake: a name for people, code that replaces the stub, words that its message must hold."""

    id: str
    name: str
    caught_by: str
    source: str


@dataclass(frozen=True)
class Right:
    """A right answer unlike the hidden solution: a name for people, code that replaces the stub."""

    id: str
    name: str
    source: str


def mistakes() -> list[Wrong]:
    """All of `wrong_answers`, where each begins with ``# %% exercise | the mistake | words``."""
    return [Wrong(*head, source) for head, source in _answers("wrong_answers")]


def right_answers() -> list[Right]:
    """All of `right_answers`, where each begins with ``# %% exercise | the way``."""
    return [Right(*head, source) for head, source in _answers("right_answers")]


def _answers(folder: str) -> list[tuple[list[str], str]]:
    found = []
    for path in sorted((pathlib.Path(__file__).parent / folder).glob("*.py")):
        for part in path.read_text(encoding="utf-8").split("\n# %% ")[1:]:
            head, _, source = part.partition("\n")
            found.append(([word.strip() for word in head.split("|")], source))
    return found


IN_NOTEBOOKS = [e for path in NOTEBOOKS for e in collect(path)]
each = pytest.mark.parametrize("here", IN_NOTEBOOKS, ids=str)
WRONG = mistakes()
MISTAKES = [(here, wrong) for here in IN_NOTEBOOKS for wrong in WRONG if wrong.id == here.id]
RIGHT = right_answers()
VARIANTS = [(here, right) for here in IN_NOTEBOOKS for right in RIGHT if right.id == here.id]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_chapter_has_exercises(path):
    assert collect(path), f"{path.name} has no cell with exercise metadata"


def test_notebooks_and_checks_name_the_same_exercises():
    ids = [e.id for e in IN_NOTEBOOKS]
    assert len(ids) == len(set(ids)), "an exercise id is used in two notebooks"
    if NOTEBOOKS:
        assert set(ids) == set(exercises.registered()), "notebooks and tl_helpers/book/exercises disagree"


def test_every_exercise_has_a_mistake_that_its_check_must_catch():
    """A check that catches nothing teaches nothing."""
    assert {wrong.id for wrong in WRONG} == set(exercises.registered())


def test_right_answers_belong_to_exercises_and_have_distinct_names():
    assert {right.id for right in RIGHT} <= set(exercises.registered())
    names = [(right.id, right.name) for right in RIGHT]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("here", [e for e in IN_NOTEBOOKS if e.notebook[:2] in CLOSELY], ids=str)
def test_two_other_ways_and_four_mistakes(here):
    """A check that knows one way only refuses the next reader's right answer."""
    assert sum(right.id == here.id for right in RIGHT) >= 2
    assert sum(wrong.id == here.id for wrong in WRONG) >= 4


@each
def test_one_stub_one_check_one_solution(here):
    assert {role: len(s) for role, s in here.sources.items()} == dict.fromkeys(ROLES, 1)
    assert "hide-cell" in here.solution_tags, "the solution has to be folded away in the book: tag hide-cell"
    assert here.imports, f"{here.notebook} has no cell tagged 'imports'"


@each
def test_stub_is_open(here, monkeypatch):
    sources = here.sources
    feedback, _ = run(here, *sources["stub"], *sources["check"], monkeypatch=monkeypatch)
    assert only(feedback, here).status == "not yet", str(feedback[0])


@each
def test_solution_passes_and_spares_the_readers_answer(here, monkeypatch):
    _, before = run(here, *here.sources["stub"], monkeypatch=monkeypatch)
    feedback, after = run(here, *here.sources["stub"], *here.sources["solution"], monkeypatch=monkeypatch)
    assert only(feedback, here).passed, str(feedback[0])
    names = set(before) - {"__builtins__"}
    # Same code object name and same source line: the solution has not replaced what the stub defined.
    changed = [
        n
        for n in names
        if callable(before[n]) and getattr(before[n], "__code__", 0) != getattr(after[n], "__code__", 0)
    ]
    assert not changed, f"the solution replaces the reader's {', '.join(changed)}: name it ..._solution"


@pytest.mark.parametrize(("here", "right"), VARIANTS, ids=lambda p: getattr(p, "name", None) or str(p))
def test_right_answer_passes_however_it_is_written(here, right, monkeypatch):
    feedback, _ = run(here, *here.sources["stub"], right.source, *here.sources["check"], monkeypatch=monkeypatch)
    assert only(feedback, here).passed, str(feedback[0])


@pytest.mark.parametrize(("here", "wrong"), MISTAKES, ids=lambda p: getattr(p, "name", None) or str(p))
def test_mistake_is_caught_with_its_own_message(here, wrong, monkeypatch):
    feedback, _ = run(here, *here.sources["stub"], wrong.source, *here.sources["check"], monkeypatch=monkeypatch)
    got = only(feedback, here)
    assert got.status == "wrong"
    assert wrong.caught_by in got.message
    # A hint about the exercise, not what happened to trip the check or the answer.
    assert not [
        words for words in ("could not use your answer", "Your code raised", "Traceback") if words in got.message
    ]
    # Another mistake's message would also "catch" it, but explain the wrong thing.
    others = [w.caught_by for w in WRONG if w.id == here.id and w.caught_by != wrong.caught_by]
    assert not [o for o in others if o in got.message], f"the message also fits another mistake: {got.message}"
