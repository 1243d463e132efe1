"""Predictions and quizzes: what they ask, keep and say, in Python and in the browser's script; the chapters' questions."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tl_helpers import ledger
from tl_helpers.book import predict, quiz
from tl_helpers.book.widgets import Asking
from tl_helpers.book.widgets.kernel import front_end

from .test_kernel_states import run_node

HERE = Path(__file__).parent
NOTEBOOKS = sorted((HERE.parents[1] / "notebooks").glob("*.ipynb"))
CHAPTERS = sorted(path.stem.removeprefix("ch") for path in quiz.FOLDER.glob("*"))


@pytest.fixture(autouse=True)
def chapter(monkeypatch):
    monkeypatch.setattr(ledger, "SESSION", [ledger.Session(chapter="99_test")])
    monkeypatch.setattr(predict, "_ASKED", {})


def plain(asked: Asking) -> str:
    return asked._repr_mimebundle_()[0]["text/plain"]


# ---- the script ------------------------------------------------------------------------------------------------------


def test_the_script_says_and_keeps_the_right_things(tmp_path):
    file = tmp_path / "asking.mjs"
    names = "marked, fitting, typed, verdict, judged, tally, standing, recall, keep, watchKept"
    file.write_text(f"{front_end('asking.js')}\nexport {{ {names} }};\n", encoding="utf-8")
    code, said = run_node("--no-warnings", str(HERE / "asking_states.mjs"), file.as_uri())
    assert (code, said) == (0, "")


# ---- predictions -----------------------------------------------------------------------------------------------------


def test_a_number_is_asked_for_and_answered():
    asked = predict.ask("accuracy", "What accuracy?", unit="%")
    assert asked.told == {
        "kind": "ask",
        "key": "tl-prediction:99_test/accuracy",
        "question": "What accuracy?",
        "unit": "%",
        "low": 0,
        "high": 100,
    }
    assert plain(asked) == "Your prediction: What accuracy? (from 0 to 100 %)"
    answered = predict.answer("accuracy", 81.68)
    told = answered.told
    assert (told["shown"], told["measured"], told["near"], told["said"]) == ("82", 82.0, 5.0, None)
    assert told["key"] == asked.told["key"]
    assert plain(answered) == "What accuracy? It was 82 %."
    asked.value = 70  # as the page tells it
    assert predict.said("accuracy") == 70
    assert plain(predict.answer("accuracy", 81.68, digits=1)) == "What accuracy? You said 70 %, it was 81.7 %."
    assert predict.answer("accuracy", 81.68, near=1).told["near"] == 1
    predict.ask("cost", "How much?", unit="points").value = 1
    assert plain(predict.answer("cost", 4)) == "How much? You said 1 point, it was 4 points."


def test_a_choice_is_asked_for_and_answered():
    asked = predict.ask("labels", "How many?", (20, 12_000, "all"))
    assert asked.told["options"] == ["20", "12,000", "all"]
    assert plain(asked) == "Your prediction: How many? (20 / 12,000 / all)"
    assert predict.answer("labels", 12_000).told["shown"] in asked.told["options"]
    asked.value = "all"
    assert plain(predict.answer("labels", 20)) == "How many? You said all, it was 20."


def test_two_chapters_may_ask_under_one_name(monkeypatch):
    predict.ask("accuracy", "Here?").value = 3
    ledger.SESSION[0] = ledger.Session(chapter="98_other")
    assert predict.said("accuracy") is None
    assert predict.ask("accuracy", "There?").told["key"] == "tl-prediction:98_other/accuracy"


def test_whoever_was_not_asked_sees_what_was_measured():
    assert predict.said("nothing") is None
    assert plain(predict.answer("nothing", 3)) == "It was 3."


def test_the_same_question_is_the_same_state():
    """Nothing in it is random, so an execution shows what the one before it showed."""
    first, again = (predict.ask("accuracy", "What?").get_state() for _ in range(2))
    for state in (first, again):
        del state["layout"], state["tooltip"]
    assert json.dumps(first, default=str) == json.dumps(again, default=str)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("", "What?"), "name"),
        (("a", " "), "text"),
        (("a", "What?", ["one"]), "two or more"),
        (("a", "What?", [1, 1.0]), "different"),
    ],
)
def test_questions_that_cannot_be(arguments, says):
    with pytest.raises(ValueError, match=says):
        predict.ask(*arguments)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_bounds_that_cannot_be(low, high):
    with pytest.raises(ValueError, match="low="):
        predict.ask("a", "What?", low=low, high=high)


def test_a_measured_value_that_is_no_number():
    predict.ask("a", "What?")
    with pytest.raises(ValueError, match="'a' is nan"):
        predict.answer("a", float("nan"))


# ---- quizzes ---------------------------------------------------------------------------------------------------------

RIGHT = ("yes", "because", True)
WRONG = (("no", "since"), ("maybe", "as"))


def question(*answers, ask="Is it?"):
    return quiz.Question(ask, tuple(quiz.Answer(*answer) for answer in answers))


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ((RIGHT, WRONG[0]), "three or more"),
        (((*WRONG[0],), *WRONG[1:], ("perhaps", "hm")), "exactly one"),
        ((RIGHT, *WRONG, ("also", "too", True)), "exactly one"),
        ((RIGHT, *WRONG, ("No ", "other")), "two answers are the same"),
        ((RIGHT, *WRONG, ("other", "Since")), "two reasons are the same"),
        ((RIGHT, *WRONG, ("other", "")), "need a text"),
    ],
)
def test_questions_that_are_not_well_formed(answers, says):
    assert question(RIGHT, *WRONG).answers[0].right
    with pytest.raises(ValueError, match=says):
        question(*answers)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a question has"),
        ('[[question]]\nask = "A?"', "a question has"),
        ('[[question]]\nask = "A?"\n[[question.answer]]\ntext = "x"\nbecause = "y"', "a question has"),
    ],
)
def test_files_that_are_not_well_formed(tmp_path, monkeypatch, text, says):
    monkeypatch.setattr(quiz, "FOLDER", tmp_path)
    (tmp_path / "ch99.toml").write_text(text)
    with pytest.raises(ValueError, match=says):
        quiz.load("99")
    with pytest.raises(FileNotFoundError):
        quiz.load("98")


def test_there_are_quizzes():
    assert {"01", "02"} <= set(CHAPTERS)


@pytest.mark.parametrize("chapter", CHAPTERS)
class TestQuizzes:
    def test_five_to_eight_questions_each_with_one_right_answer(self, chapter):
        questions = quiz.load(chapter)
        assert 5 <= len(questions) <= 8
        for each in questions:
            assert [answer.right for answer in each.answers].count(True) == 1
            assert len({answer.why for answer in each.answers}) == len(each.answers)

    def test_the_right_answer_is_not_given_away(self, chapter):
        """Neither by its place nor by its length."""
        questions = quiz.load(chapter)
        places = [[answer.right for answer in each.answers].index(True) for each in questions]
        assert max(places.count(place) for place in places) <= len(places) / 2
        longest = [max(each.answers, key=lambda answer: len(answer.text)).right for each in questions]
        assert sum(longest) <= len(longest) / 2

    def test_no_results_of_runs_and_only_simple_markup(self, chapter):
        for each in quiz.load(chapter):
            for text in (each.ask, *(part for answer in each.answers for part in (answer.text, answer.why))):
                assert not re.search(r"\d+\s*(%|percent|points?|seconds?|s\b|times)|\d[.,]\d|[$<>]", text), text
                assert text.count("`") % 2 == 0, text
                assert re.sub(r"`[^`]*`", "", text).count("*") % 2 == 0, text
                assert text == text.strip()

    def test_shown_as_a_widget_and_as_text_that_does_not_tell(self, chapter):
        shown, questions = quiz.show(chapter), quiz.load(chapter)
        assert shown.told["key"] == f"tl-quiz:{chapter}"
        assert [each["ask"] for each in shown.told["questions"]] == [each.ask for each in questions]
        for each in questions:
            assert each.ask in plain(shown)
            assert all(answer.text in plain(shown) and answer.why not in plain(shown) for answer in each.answers)


# ---- the chapters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_chapter_asks_it_answers_and_its_quiz_is_its_own(path):
    cells = nbformat.read(path, as_version=4).cells
    source = TransformerManager().transform_cell("\n".join(c.source for c in cells if c.cell_type == "code"))
    called: dict[str, list[str]] = {"predict.ask": [], "predict.answer": [], "quiz.show": []}
    order = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in called:
            called[name].append(ast.literal_eval(node.args[0]))
            order.append((node.lineno, name))
    assert sorted(called["predict.ask"]) == sorted(called["predict.answer"])
    assert len(set(called["predict.ask"])) == len(called["predict.ask"])
    number = path.stem.partition("_")[0]
    assert called["quiz.show"] == ([number] if number in CHAPTERS else [])
    names = [name for _, name in sorted(order)]
    assert names == sorted(names, key=["predict.ask", "predict.answer", "quiz.show"].index)
    if number in CHAPTERS:
        asking = [
            cell for cell in cells if cell.cell_type == "code" and re.search(r"^(predict|quiz)\.", cell.source, re.M)
        ]
        assert len(asking) == len(order)
        assert all("remove-input" in cell.metadata.get("tags", []) for cell in asking)  # the question once, not twice
        assert called["predict.ask"]
        headings = re.findall(r"^## (.*)$", "\n\n".join(c.source for c in cells if c.cell_type == "markdown"), re.M)
        assert headings.index("Your predictions") + 1 == headings.index("Take-aways")
        shows = next(k for k, c in enumerate(cells) if "quiz.show" in c.source)
        assert "\n## Exercises\n" in cells[shows - 1].source
