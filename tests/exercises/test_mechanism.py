"""The exercise mechanism itself, on made-up exercises and a made-up notebook."""

from __future__ import annotations

import json
import random
import time

import numpy as np
import pytest
import torch
from test_exercises import collect, run

from tl_helpers import exercises
from tl_helpers.exercises import Hint, Wrong, checking

WRONG = Wrong("off by one", "def double(x):\n    return 2 * x + 1", caught_by="one too many")


@pytest.fixture
def double(monkeypatch):
    """A small exercise, registered for one test only."""
    monkeypatch.setattr(checking, "_EXERCISES", dict(exercises.registered()))

    @exercises.exercise("double", wrong=[WRONG])
    def judge(answer):
        if answer(2) == 5:
            raise Hint("That is one too many.")
        if answer(3) != 6:
            raise Hint("Not twice the number.")

    return "double"


def test_right_answer_passes(double):
    feedback = exercises.check(double, lambda x: 2 * x)
    assert feedback.passed
    assert str(feedback).startswith("✓ double")


def test_wrong_answer_gets_the_hint(double):
    feedback = exercises.check(double, lambda x: 2 * x + 1)
    assert (feedback.status, feedback.message) == ("wrong", "That is one too many.")


@pytest.mark.parametrize("result", [..., None, NotImplemented])
def test_stub_is_not_yet_whether_a_value_or_returned(double, result):
    assert exercises.check(double, result).status == "not yet"
    assert exercises.check(double, lambda x: result).status == "not yet"


def test_not_implemented_error_is_not_yet(double):
    def stub(x):
        raise NotImplementedError  # what a reader may leave in the stub; the check must understand it

    assert exercises.check(double, stub).status == "not yet"


def test_exception_in_the_answer_is_told_not_raised(double):
    def broken(x):
        return x / 0

    feedback = exercises.check(double, broken)
    assert feedback.status == "wrong"
    assert "ZeroDivisionError" in feedback.message
    assert "return x / 0" in feedback.message


def test_answer_of_the_wrong_kind_does_not_crash_the_check(double):
    feedback = exercises.check(double, 7)  # not callable: the check itself trips
    assert feedback.status == "wrong"
    assert "could not use your answer" in feedback.message


def test_wrong_number_of_arguments_is_told(double):
    assert "argument" in exercises.check(double, lambda: 1).message


def test_unknown_exercise_lists_the_known_ones():
    with pytest.raises(KeyError, match="freeze-the-backbone"):
        exercises.check("freeze-the-backbon", None)


def test_random_generators_are_left_alone(double):
    def drawing(x):
        random.random(), np.random.rand(), torch.rand(1)
        return 2 * x

    def draw():
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        return lambda: (random.random(), np.random.rand(), float(torch.rand(1)))

    expected = draw()()
    now = draw()
    assert exercises.check(double, drawing).passed
    assert now() == expected


def test_feedback_is_escaped_and_says_its_status(double):
    def broken(x):
        raise ValueError("<script>")

    feedback = exercises.check(double, broken)
    assert "<script>" not in feedback._repr_html_()
    assert 'data-status="wrong"' in feedback._repr_html_()
    assert feedback._repr_markdown_().startswith("**✗ double**")


def test_exercise_without_a_mistake_is_refused():
    with pytest.raises(ValueError, match="no wrong answer"):
        exercises.exercise("empty", wrong=[])


def test_id_used_in_two_chapters_is_refused(double):
    def other(answer):
        return None

    other.__module__ = "tl_helpers.exercises.ch99"
    with pytest.raises(ValueError, match="registered twice"):
        exercises.exercise(double, wrong=[WRONG])(other)


def _notebook(tmp_path, cells):
    path = tmp_path / "99_made_up.ipynb"
    made = [
        {"cell_type": "code", "source": source, "metadata": meta, "outputs": [], "execution_count": None}
        for source, meta in cells
    ]
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def _mark(role, **more):
    return {"exercise": {"id": "double", "role": role}, **more}


def test_harness_runs_stub_solution_and_mistake_of_a_notebook(tmp_path, double, monkeypatch):
    path = _notebook(
        tmp_path,
        [
            ("%matplotlib inline\nfrom tl_helpers import exercises", {"tags": ["imports"]}),
            ("def double(x):\n    ...", _mark("stub")),
            ("exercises.check('double', double)", _mark("check")),
            (
                "def double_solution(x):\n    return 2 * x\nexercises.check('double', double_solution)",
                _mark("solution", tags=["hide-cell"]),
            ),
        ],
    )
    (here,) = collect(path)
    stub, check, solution = (here.sources[role][0] for role in ("stub", "check", "solution"))
    assert [f.status for f in run(here, stub, check, monkeypatch=monkeypatch)[0]] == ["not yet"]
    assert [f.status for f in run(here, stub, solution, monkeypatch=monkeypatch)[0]] == ["passed"]
    (caught,) = run(here, stub, WRONG.source, check, monkeypatch=monkeypatch)[0]
    assert WRONG.caught_by in caught.message
    # The reader's own answer is judged by the check cell, also after the solution has been run.
    assert [f.status for f in run(here, stub, solution, check, monkeypatch=monkeypatch)[0]] == [
        "passed",
        "not yet",
    ]


def test_every_registered_exercise_is_fast_on_an_open_answer_and_has_distinct_mistakes():
    for id, found in exercises.registered().items():
        start = time.process_time()  # not the clock on the wall, which other load on the machine would move
        assert exercises.check(id, lambda *args: None).status == "not yet"
        assert time.process_time() - start < 1
        names = [w.name for w in found.wrong]
        assert len(names) == len(set(names))


def test_an_error_that_is_asked_for_counts_and_others_are_the_readers_own(monkeypatch):
    monkeypatch.setattr(checking, "_EXERCISES", dict(exercises.registered()))

    @exercises.exercise("careful", wrong=[WRONG])
    def judge(answer):
        if not checking.refuses(lambda: answer(-1)):
            raise Hint("Refuse negative numbers.")

    def refusing(x):
        raise ValueError("negative")

    def stumbling(x):
        raise KeyError("oops")

    assert exercises.check("careful", refusing).passed
    assert "Refuse negative numbers" in exercises.check("careful", lambda x: 2 * x).message
    assert "KeyError" in exercises.check("careful", stumbling).message
