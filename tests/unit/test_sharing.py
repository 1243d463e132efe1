"""tl_helpers.book.sharing: whatever processes do at once, a cell is run once; the dead are found."""

import collections
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.unit.waiting import until
from tl_helpers.book.sharing import ATTEMPTS, Cells


@pytest.fixture(params=["file", "database"])
def url(request, tmp_path):
    return str(tmp_path / "tiny.journal") if request.param == "file" else f"sqlite:///{tmp_path}/tiny.db"


def cells(url: str, count: int = 1, code: str | None = None) -> Cells:
    """As another process would open them."""
    return Cells(url, "tiny", {k: {"x": k} for k in range(count)}, key=lambda texts: int(texts["x"]), code=code)


def fail():
    raise RuntimeError("no luck")


def stop():
    raise KeyboardInterrupt


def one() -> dict[str, float]:
    return {"accuracy": 1.0}


def two() -> dict[str, float]:
    return {"accuracy": 2.0}


def test_cells_come_in_their_order_and_each_once(url):
    mine, others = cells(url, 4), cells(url, 4)
    with mine.alive(), others.alive():
        taken = [each.claim()["x"] for each in (mine, others, mine, others)]
        assert taken == [0, 1, 2, 3]
        assert mine.claim() is others.claim() is None


@pytest.mark.parametrize("rival", ["at work", "done", "failed", "failed too often"])
def test_of_two_that_choose_the_last_cell_one_gets_it(url, rival, monkeypatch):
    """The other one chooses the cell while it is open, too, and is overtaken before it says so."""
    fast, slow = cells(url), cells(url)
    create = slow.storage.create_new_trial

    def overtaken(*template):
        monkeypatch.undo()
        for _ in range(ATTEMPTS if rival == "failed too often" else 1):
            assert fast.claim() == {"x": 0}
            if rival != "at work":
                fast.attempt(one if rival == "done" else fail)
        return create(*template)

    monkeypatch.setattr(slow.storage, "create_new_trial", overtaken)
    with fast.alive(), slow.alive():
        assert slow.claim() == ({"x": 0} if rival == "failed" else None)
        assert len(fast.attempts()[0]) == (ATTEMPTS if rival == "failed too often" else 1) + 1


@pytest.mark.parametrize("chosen", ["before", "after"])
def test_of_two_the_first_keeps_its_cell_whatever_the_second_does(url, chosen, monkeypatch):
    """The second one may have chosen it before the first one said so, and say so itself before the first one looks again."""
    first, second = cells(url), cells(url)
    create = first.storage.create_new_trial

    def followed(*template):
        monkeypatch.undo()
        made = create(*template)
        if chosen == "before":
            second.storage.create_new_trial(*template)
        else:
            assert second.claim() is None
        return made

    monkeypatch.setattr(first.storage, "create_new_trial", followed)
    with first.alive(), second.alive():
        assert first.claim() == {"x": 0}
        first.attempt(one)
    assert second.finished()[0]["metrics"] == {"accuracy": 1.0}


RACE = """
    import sys
    from pathlib import Path
    from tests.unit.test_sharing import cells, one
    from tests.unit.waiting import until
    url, notes, count, name = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    mine = cells(url, count)
    (notes / f"{name}.ready").touch()
    until((notes / "start").exists)
    with mine.alive(), (notes / f"{name}.txt").open("w") as said:
        while (cell := mine.claim()) is not None:
            print(cell["x"], file=said, flush=True)
            mine.attempt(one)
"""


@pytest.mark.slow
def test_processes_race_for_the_last_cells(url, tmp_path):
    cells(url, 2)
    command = [sys.executable, "-c", textwrap.dedent(RACE), url, str(tmp_path), "2"]
    crew = [subprocess.Popen([*command, str(k)], cwd=Path(__file__).parents[2]) for k in range(3)]
    until(lambda: len(list(tmp_path.glob("*.ready"))) == 3, *crew)
    (tmp_path / "start").touch()
    assert [process.wait() for process in crew] == [0, 0, 0]
    ran = collections.Counter(line for path in tmp_path.glob("*.txt") for line in path.read_text().split())
    assert ran == {"0": 1, "1": 1}
    assert set(cells(url, 2).finished()) == {0, 1}


# ---- those who stop --------------------------------------------------------------------------------------------------


def test_one_that_fails_comes_last_and_is_tried_three_times(url):
    mine = cells(url, 2)
    order = []
    with mine.alive():
        while (cell := mine.claim()) is not None:
            order.append(cell["x"])
            mine.attempt(fail if cell["x"] == 0 else one)
    assert order == [0, 1, 0, 0]
    assert mine.failed() == cells(url, 2).failed() == [{"x": 0}]
    assert set(mine.finished()) == {1}


def test_with_other_code_what_failed_is_tried_anew(url):
    old, new = cells(url, code="old"), cells(url, code="new")
    with old.alive():
        for _ in range(ATTEMPTS):
            old.claim()
            old.attempt(fail)
    assert old.failed() == [{"x": 0}]
    assert new.failed() == []
    with new.alive():
        assert new.claim() == {"x": 0}
        new.attempt(one)
    assert old.failed() == []
    assert old.finished()[0]["code"] == "new"


def test_what_the_reader_stops_is_no_failure(url):
    mine = cells(url)
    with mine.alive():
        for _ in range(ATTEMPTS + 1):
            assert mine.claim() == {"x": 0}
            with pytest.raises(KeyboardInterrupt):
                mine.attempt(stop)


def die(dead: Cells, tmp_path: Path) -> None:
    """What is left of a killed process: a lock that nobody holds; the last word to the database long ago."""
    if dead.database:
        with sqlite3.connect(tmp_path / "tiny.db") as database:
            database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")


def test_the_cell_of_a_killed_process_is_tried_again(url, tmp_path):
    dead, mine = cells(url), cells(url)
    with mine.alive():
        with dead.alive():
            assert dead.claim() == {"x": 0}
            assert mine.claim() is None
        die(dead, tmp_path)
        assert mine.claim() == {"x": 0}
        dead.attempt(two)  # it was only asleep: what it brings now comes too late
        mine.attempt(one)
    assert mine.finished()[0]["metrics"] == {"accuracy": 1.0}


def test_a_cell_that_kills_its_process_is_given_up(url, tmp_path):
    for _ in range(ATTEMPTS):
        dead = cells(url)
        assert dead.claim() == {"x": 0}
        die(dead, tmp_path)
    assert cells(url).claim() is None
    assert cells(url).failed() == [{"x": 0}]


def test_nothing_stays_beside_the_file(tmp_path):
    dead, mine = (cells(str(tmp_path / "tiny.journal")) for _ in range(2))
    dead.claim()
    with mine.alive():
        mine.claim()
        assert len(list(tmp_path.glob("*.lock"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.journal"]


# ---- another grid ----------------------------------------------------------------------------------------------------


def test_the_grid_may_grow_and_shrink(url):
    for count, runs in ((2, [0, 1]), (4, [2, 3]), (1, []), (5, [4])):
        mine = cells(url, count)
        order = []
        with mine.alive():
            while (cell := mine.claim()) is not None:
                order.append(cell["x"])
                mine.attempt(one)
        assert order == runs
        assert set(mine.finished()) == set(range(count))
