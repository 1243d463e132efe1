"""tl_helpers.ledger: append-only, whole lines, survives a killed process."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.unit.waiting import until
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
    """Two processes write to one ledger and are killed, whatever they are at: all but the last line of each is there."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom tl_helpers.ledger import Ledger\n"
        "book = Ledger(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n    book.append('run', who=sys.argv[2], n=n, filler='x' * 500)\n"
    )
    path = tmp_path / "ledger.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in "ab"]

    def both_wrote() -> bool:
        text = path.read_text() if path.exists() else ""
        return all(f'"who": "{who}", "n": 20,' in text for who in "ab")

    try:
        until(both_wrote, *writers)
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    # A writer that saw the other's record half on the disk began with a line end of its own: an empty line, no loss.
    book, lines = Ledger(path), [line for line in path.read_bytes().splitlines() if line]
    written = [json.loads(line) for line in lines if line.endswith(b"}")]
    assert len(lines) - len(written) <= 2  # each may have been killed within its last line
    for who in "ab":
        own = [record["n"] for record in written if record["who"] == who]
        assert own == list(range(len(own)))
        assert len(own) > 20
    book.append("run", who="c", n=0)
    with pytest.warns(UserWarning, match="unfinished") if len(lines) > len(written) else contextlib.nullcontext():
        assert book.records()[:-1] == written
        assert book.records()[-1]["who"] == "c"


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
