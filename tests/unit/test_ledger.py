"""tl_helpers.ledger: append-only, whole lines, survives a killed process."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tl_helpers.ledger import Ledger, Run


def test_append_and_read_back(tmp_path):
    book = Ledger(tmp_path / "deep" / "ledger.jsonl")
    book.append("run", seed=1, metrics={"accuracy": 80.5}, history=[{"epoch": 1}], note="ü\nline")
    book.append("claim", held=np.bool_(True), difference=np.float64(1.5))
    assert [record["kind"] for record in book.records()] == ["run", "claim"]
    assert book.records("claim")[0]["held"] is True
    frame = book.frame("run")
    assert frame.loc[0, "metrics.accuracy"] == 80.5
    assert "history" not in frame
    assert book.frame("nothing").empty


def test_absent_ledger_is_empty(tmp_path):
    assert Ledger(tmp_path / "none.jsonl").records() == []


def test_half_a_line_is_passed_over_and_closed(tmp_path):
    book = Ledger(tmp_path / "ledger.jsonl")
    book.append("run", seed=1)
    with book.path.open("a") as file:
        file.write('{"kind": "run", "se')
    with pytest.warns(UserWarning, match="1 unfinished"):
        assert len(book.records()) == 1
    book.append("run", seed=2)
    with pytest.warns(UserWarning, match="1 unfinished"):
        assert [record["seed"] for record in book.records()] == [1, 2]


@pytest.mark.slow
def test_killed_writers_leave_whole_records(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom tl_helpers.ledger import Ledger\n"
        "book = Ledger(Path(sys.argv[1]))\nprint('go', flush=True)\n"
        "for n in range(10**6):\n    book.append('run', n=n, filler='x' * 500)\n"
    )
    path = tmp_path / "ledger.jsonl"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        process.stdout.readline()
    time.sleep(0.4)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    lines = path.read_bytes().split(b"\n")
    whole = [json.loads(line)["n"] for line in lines[:-1] if line]
    assert len(whole) > 10


def test_full_disk_warns(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left"):
        Ledger(tmp_path / "ledger.jsonl").append("run")


def test_what_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(TypeError, match="pass numbers"):
        Ledger(tmp_path / "ledger.jsonl").append("run", model=object())


def test_seconds_to_a_value():
    history = [{"epoch": e, "seconds": 2.0 * e, "validation_accuracy": 70 + e} for e in (1, 2, 3)]
    run = Run("a", "t", 0, {}, history, 6.0, 1, {}, "k", "cpu", "float32", 1)
    assert run.seconds_to(72) == 4.0
    assert math.isinf(run.seconds_to(90))
