"""The exercise mechanism itself, on made-up exercises and a made-up notebook."""

from __future__ import annotations

import json
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch
from test_exercises import collect, mistakes, run

from tl_helpers import runtime
from tl_helpers.book import exercises
from tl_helpers.book.exercises import Hint, checking


@pytest.fixture
def double(monkeypatch):
    """A small exercise, registered for one test only."""
    monkeypatch.setattr(checking, "_EXERCISES", dict(exercises.registered()))

    @exercises.exercise("double")
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


def test_id_used_in_two_chapters_is_refused(double):
    def other(answer):
        return None

    other.__module__ = "tl_helpers.book.exercises.ch99"
    with pytest.raises(ValueError, match="registered twice"):
        exercises.exercise(double)(other)


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
            ("%matplotlib inline\nfrom tl_helpers.book import exercises", {"tags": ["imports"]}),
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
    wrong = "def double(x):\n    return 2 * x + 1"
    (caught,) = run(here, stub, wrong, check, monkeypatch=monkeypatch)[0]
    assert "one too many" in caught.message
    # The reader's own answer is judged by the check cell, also after the solution has been run.
    assert [f.status for f in run(here, stub, solution, check, monkeypatch=monkeypatch)[0]] == [
        "passed",
        "not yet",
    ]


def test_every_registered_exercise_is_fast_on_an_open_answer_and_has_distinct_mistakes():
    for id in exercises.registered():
        start = time.process_time()  # not the clock on the wall, which other load on the machine would move
        assert exercises.check(id, lambda *args: None).status == "not yet"
        assert time.process_time() - start < 1
    names = [(wrong.id, wrong.name) for wrong in mistakes()]
    assert len(names) == len(set(names))


def test_an_error_that_is_asked_for_counts_and_others_are_the_readers_own(monkeypatch):
    monkeypatch.setattr(checking, "_EXERCISES", dict(exercises.registered()))

    @exercises.exercise("careful")
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


# ---- answers that do not end


@pytest.fixture(autouse=True)
def sigint_is_heard():
    """Also where these tests were started in the background of a shell, which lets its children ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupts(*seconds):
    """SIGINT after so many seconds each, as the square in JupyterLab's toolbar sends it."""
    for wait in seconds:
        timer = threading.Timer(wait, signal.raise_signal, [signal.SIGINT])
        timer.daemon = True
        timer.start()


def test_an_endless_loop_is_interrupted_with_the_exercises_own_words(double):
    def endless(x):
        low = 0
        while low < 1:
            np.ones(3).sum()  # it stops in a library, most of the time; the reader's line is what counts
        return x

    interrupts(0.3)
    feedback = exercises.check(double, endless)
    assert feedback.status == "not yet"
    assert feedback.message.startswith("Stopped after 0 s, in line ")
    assert "while low < 1" in feedback.message or "np.ones(3).sum()" in feedback.message
    assert "probably does not end" in feedback.message
    assert "KeyboardInterrupt" not in feedback.message
    assert exercises.check(double, lambda x: 2 * x).passed  # and nothing is left over


def test_an_interrupt_that_hits_the_check_itself_blames_nobody(monkeypatch):
    monkeypatch.setattr(checking, "_EXERCISES", dict(exercises.registered()))

    @exercises.exercise("slow")
    def judge(answer):
        answer(1)
        for _ in range(3000):
            time.sleep(0.01)

    interrupts(0.3)
    feedback = exercises.check("slow", lambda x: x)
    assert (feedback.status, feedback.message) == (
        "not yet",
        "Stopped after 0 s, before the check was through. Run it again.",
    )


def test_a_second_interrupt_stops_what_the_first_one_left(double):
    def stubborn(x):
        try:
            while True:
                pass
        finally:
            while True:
                pass

    interrupts(0.2, 0.6)
    start = time.perf_counter()
    assert exercises.check(double, stubborn).status == "not yet"
    assert time.perf_counter() - start < 10


def test_random_generators_are_put_back_after_an_interrupt(double):
    def endless(x):
        while True:
            np.random.rand(), random.random(), torch.rand(1)

    before = np.random.get_state()[1].copy(), random.getstate(), torch.random.get_rng_state()
    interrupts(0.2)
    assert exercises.check(double, endless).status == "not yet"
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_a_slow_check_says_how_to_interrupt_and_its_verdict_is_the_same(double, monkeypatch):
    shown = []

    class Handle:
        def update(self, line):
            shown.append(line.text)

    def display(line, display_id):
        shown.append(line.text)
        return Handle()

    monkeypatch.setattr(checking, "display", display)
    assert exercises.check(double, lambda x: 2 * x).passed
    assert shown == []  # quick enough: not a word
    monkeypatch.setattr(checking, "HINT_AFTER", 0.1)

    def slow(x):
        time.sleep(0.3)
        return 2 * x

    quick = exercises.check(double, lambda x: 2 * x)
    assert exercises.check(double, slow) == quick
    assert "Interrupt" in shown[0]
    assert shown[1:] == [""]  # and the line goes


def test_checks_compute_in_float32_whatever_was_asked_for(monkeypatch):
    monkeypatch.setattr(checking, "_EXERCISES", dict(exercises.registered()))
    monkeypatch.setenv("TL_PRECISION", "bfloat16")
    runtime.current.cache_clear()

    @exercises.exercise("exact")
    def judge(answer):
        x = torch.full((4, 4), 1 / 3)
        with runtime.current().autocast():
            if answer(x).dtype is not torch.float32:
                raise Hint("Not exact.")

    try:
        with runtime.current().autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16  # so the next line tests something
        assert exercises.check("exact", lambda x: x @ x).passed
    finally:
        runtime.current.cache_clear()
