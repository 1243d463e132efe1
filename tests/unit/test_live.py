"""Live runs in the background: they stop wherever they are, nothing hangs, and the kernel's Interrupt reaches them."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time

import pytest

from tl_helpers.book.widgets import live
from tl_helpers.book.widgets.live import Background, Outcome


class Record:
    """A control's side of a run: what it was told."""

    def __init__(self, patience: float = 0.0):
        self.background = Background("tl-test-run", patience)
        self.begun, self.outcomes, self.at_work = 0, [], threading.Event()

    def begin(self):
        self.begun += 1
        self.at_work.clear()

    def start(self, work):
        return self.background.start(work, self.begin, self.outcomes.append)

    def endless(self):
        self.at_work.set()
        while True:
            pass

    @property
    def states(self):
        return [outcome.state for outcome in self.outcomes]


def ended(thread, seconds=10.0):
    thread.join(seconds)
    assert not thread.is_alive()


def test_a_run_ends_with_its_result_or_its_error():
    record = Record()
    ended(record.start(lambda: 7))
    ended(record.start(lambda: 1 / 0))
    ended(record.start(lambda: sys.exit(3)))
    assert record.states == ["done", "failed", "failed"]
    assert record.outcomes[0].result == 7
    assert isinstance(record.outcomes[1].error, ZeroDivisionError)
    assert isinstance(record.outcomes[2].error, SystemExit)
    assert not live._RUNNING


def test_stop_ends_work_that_does_not_look_and_the_next_run_starts():
    record = Record()
    thread = record.start(record.endless)
    assert record.at_work.wait(5)
    assert record.start(record.endless) is None
    start = time.perf_counter()
    record.background.stop()
    ended(thread)
    assert time.perf_counter() - start < 2
    assert record.states == ["stopped"]
    assert not record.background.busy
    ended(record.start(lambda: 7))
    assert record.states == ["stopped", "done"]
    record.background.stop()  # nothing goes on: nothing happens, and the next run is not stopped by it
    ended(record.start(lambda: 8))
    assert record.states[-1] == "done"


def test_an_interrupt_that_gets_lost_is_repeated(monkeypatch):
    monkeypatch.setattr(live, "AGAIN", 0.2)
    record, swallowed = Record(), []

    def stubborn():
        record.at_work.set()
        while len(swallowed) < 2:
            try:
                while True:
                    pass
            except KeyboardInterrupt:
                swallowed.append(1)
        while True:
            pass

    thread = record.start(stubborn)
    assert record.at_work.wait(5)
    record.background.stop()
    ended(thread)
    assert record.states == ["stopped"]
    assert len(swallowed) == 2


def test_an_error_that_a_library_makes_of_the_interrupt_is_no_failure():
    record = Record()

    def wrapped():
        try:
            record.endless()
        except KeyboardInterrupt:
            raise RuntimeError("worker died") from None

    thread = record.start(wrapped)
    assert record.at_work.wait(5)
    record.background.stop()
    ended(thread)
    assert record.states == ["stopped"]


def test_work_that_looks_itself_is_not_interrupted():
    record = Record(patience=5.0)
    seen = []

    def polite():
        record.at_work.set()
        try:
            while not record.background.stopping:
                time.sleep(0.001)
        except KeyboardInterrupt:
            seen.append("interrupted")
        return "clean"

    thread = record.start(polite)
    assert record.at_work.wait(5)
    record.background.stop()
    ended(thread)
    assert seen == []
    assert record.outcomes == [Outcome("done", record.outcomes[0].seconds, "clean")]


def test_many_stops_at_any_moment_leave_no_run_behind(monkeypatch):
    """Also in the middle of starting and of ending: the run ends, is told once, and frees the control."""
    monkeypatch.setattr(live, "LOOK", 0.001)
    escaped = []
    monkeypatch.setattr(threading, "excepthook", lambda args: escaped.append(args.exc_type))
    record = Record()
    for k in range(60):
        thread = record.start(lambda k=k: time.sleep(0.0002 * k))
        time.sleep(0.0001 * (k % 7))
        record.background.stop()
        ended(thread)
    assert len(record.outcomes) == 60
    assert set(record.states) <= {"done", "stopped"}
    assert "stopped" in record.states
    assert escaped == []
    assert not live._RUNNING


def test_runs_of_two_controls_stop_together_and_the_end_may_start_the_next():
    one, two = Record(), Record()
    again = []
    one.outcomes = type("Next", (list,), {})()

    def on_end(outcome):
        one.outcomes.append(outcome)
        if len(one.outcomes) == 1:  # what an observer of the control's state may do
            again.append(one.background.start(lambda: 7, one.begin, on_end))

    first = one.background.start(one.endless, one.begin, on_end)
    second = two.start(two.endless)
    assert one.at_work.wait(5)
    assert two.at_work.wait(5)
    live.stop_all()
    ended(first)
    ended(second)
    ended(again[0])
    assert one.states == ["stopped", "done"]
    assert two.states == ["stopped"]


def test_a_control_that_cannot_begin_stays_usable():
    record = Record()

    def no():
        raise KeyboardInterrupt  # the cell that starts a run is interrupted

    with pytest.raises(KeyboardInterrupt):
        record.background.start(lambda: 7, no, record.outcomes.append)
    ended(record.start(lambda: 7))
    assert record.states == ["done"]


def test_a_wrapped_handler_stops_the_runs_then_does_what_stood_there_before():
    record = Record()
    thread = record.start(record.endless)
    assert record.at_work.wait(5)
    before = signal.getsignal(signal.SIGINT)
    try:
        live._wrap()
        live._wrap()  # twice is once
        handler = signal.getsignal(signal.SIGINT)
        assert handler.before is before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        live._wrap()
        signal.raise_signal(signal.SIGINT)  # an idle kernel goes on
    finally:
        signal.signal(signal.SIGINT, before)
    ended(thread)
    assert record.states == ["stopped"]


# ---- a real kernel


SETUP = """
import signal, threading, time
import pandas as pd
from tl_helpers.book import widgets

at_work = threading.Event()

def live(labels):
    at_work.set()
    while True:
        time.sleep(0.001)

frame = pd.DataFrame({"method": "m", "labels": [1, 2], "accuracy": [50.0, 60.0]})
one, two = (widgets.explore(frame, {"labels": "labels"}, live=live) for _ in range(2))
"""


@contextlib.contextmanager
def kernel():
    """A fresh ipykernel; gives a function that runs a cell and returns what it printed, and the manager."""
    manager = pytest.importorskip("jupyter_client").manager.KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)

        def run(code, wait=True):
            number = client.execute(code)
            if not wait:
                return number
            return finish(number)

        def finish(number, seconds=120):
            said = []
            while True:
                message = client.get_iopub_msg(timeout=seconds)
                if message["parent_header"].get("msg_id") != number:
                    continue
                kind, content = message["msg_type"], message["content"]
                if kind == "stream":
                    said.append(content["text"])
                elif kind == "error":
                    said.append(content["ename"])
                elif kind == "status" and content["execution_state"] == "idle":
                    return "".join(said).strip()

        run.finish = finish
        yield run, manager
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_interrupt_stops_live_runs_of_an_idle_kernel_of_a_busy_one_and_leaves_the_rest_as_it_was():
    wait = "[t.join(10) for t in threads]; print(one.view.run['state'], two.view.run['state'])"
    with kernel() as (run, manager):
        run(SETUP)
        assert run("print(type(signal.getsignal(signal.SIGINT)).__name__)") == "_Handler"  # each cell is listened to

        # Idle: two runs go on, no cell does.
        run("threads = [one.run(), two.run()]; at_work.wait(10)")
        time.sleep(0.5)
        manager.interrupt_kernel()
        assert run(wait) == "stopped stopped"

        # A cell is running as well, an ordinary one and one that awaits: both end.
        for sleep in ("time.sleep(60)", "import asyncio; await asyncio.sleep(60)"):
            run("at_work.clear(); threads = [one.run(), two.run()]; at_work.wait(10)")
            number = run(sleep, wait=False)
            time.sleep(0.7)
            manager.interrupt_kernel()
            assert run.finish(number, 10) in ("KeyboardInterrupt", "CancelledError")
            assert run(wait) == "stopped stopped"

        # A run that is started while a cell runs.
        number = run("at_work.clear(); threads = [one.run(), two.run()]; time.sleep(60)", wait=False)
        time.sleep(0.7)
        manager.interrupt_kernel()
        assert run.finish(number, 10) == "KeyboardInterrupt"
        assert run(wait) == "stopped stopped"

        # No run: an idle kernel ignores an interrupt, as ever, and a cell is interrupted, as ever.
        time.sleep(0.5)
        manager.interrupt_kernel()
        time.sleep(0.3)
        assert run("print(get_ipython().kernel.saved_sigint_handler == signal.SIG_IGN)") == "True"
        number = run("time.sleep(60)", wait=False)
        time.sleep(0.5)
        manager.interrupt_kernel()
        assert run.finish(number, 10) == "KeyboardInterrupt"

        # And a run that is left alone ends by itself.
        run("one._live = lambda labels: 7.0")
        assert run("one.run().join(10); print(one.view.run['state'])") == "done"
