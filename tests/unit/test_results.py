"""tl_helpers.book.results: every cell is run once, failures are tried again, a killed run goes on, files are checked."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tests.unit.waiting import until
from tl_helpers import keys
from tl_helpers.book import results
from tl_helpers.book.results import ResultsError, Study, facts, load, recorded, run_study
from tl_helpers.book.studies import catalogue
from tl_helpers.book.studies.__main__ import main

CALLS: list[dict] = []


def cell(depth, lr, seed):
    CALLS.append({"depth": depth, "lr": lr, "seed": seed})
    return {"accuracy": 80 + depth + 10 * lr + seed}


def fragile(depth, lr, seed):
    """Fails twice at depth 1, always at depth 2."""
    found = cell(depth, lr, seed)
    tries = sum(call == CALLS[-1] for call in CALLS)
    if depth == 2 or (depth == 1 and tries < 3):
        raise RuntimeError("no luck")
    return found


def slow(depth, lr, seed):
    """Notes each call in a file of its process. The fifth call kills it; or the first waits for a second process."""
    notes = Path(os.environ["NOTES"])
    own = notes / f"{os.getpid()}.txt"
    with own.open("a") as file:
        file.write(f"{depth} {lr} {seed}\n")
    if os.environ.get("KILL") and len(own.read_text().splitlines()) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("TWO"):
        until(lambda: len(list(notes.iterdir())) == 2)
    return cell(depth, lr, seed)


def noted(notes: Path) -> list[list[str]]:
    """The cells that each process worked on."""
    return [path.read_text().splitlines() for path in sorted(notes.iterdir())]


GRID = {"depth": (0, 1, 2), "lr": (1e-4, 0.01), "seed": (0, 1)}
STUDY = Study("tiny", "a tiny grid", GRID, cell)


@pytest.fixture(autouse=True)
def forget():
    CALLS.clear()


def test_every_cell_once_and_by_seed_first(tmp_path):
    assert run_study(STUDY, folder=tmp_path) == []
    assert len(CALLS) == 12 == len({tuple(call.values()) for call in CALLS})
    assert [call["seed"] for call in CALLS] == [0] * 6 + [1] * 6
    frame = load("tiny", folder=tmp_path)
    assert list(frame.columns) == ["depth", "lr", "seed", "accuracy", "seconds"]
    assert frame[["depth", "lr", "seed"]].to_records(index=False).tolist() == list(itertools.product(*GRID.values()))
    assert (frame["accuracy"] - 80 - frame["depth"] - 10 * frame["lr"] - frame["seed"]).abs().max() < 1e-6
    note = facts("tiny", folder=tmp_path)
    assert (note["cells_done"], note["cells_all"], note["command"]) == (12, 12, "make results")
    assert set(note) >= {"commit", "versions", "machine", "seconds", "date", "grid"}


def test_recorded_cells_are_taken_over_even_without_the_study_file(tmp_path, own_cache):
    run_study(STUDY, folder=tmp_path, limit=5)
    assert len(CALLS) == 5
    first = load("tiny", folder=tmp_path)
    for file in (own_cache / "studies").iterdir():  # as on another machine
        file.unlink()
    CALLS.clear()
    run_study(STUDY, folder=tmp_path)
    assert len(CALLS) == 7
    both = load("tiny", folder=tmp_path)
    assert len(both) == 12
    assert len(both.merge(first)) == 5
    before = (tmp_path / "tiny.csv").read_bytes()
    CALLS.clear()
    run_study(STUDY, folder=tmp_path)
    assert CALLS == []
    assert (tmp_path / "tiny.csv").read_bytes() == before


def test_failed_cells_are_tried_three_times_and_named(tmp_path, capsys):
    study = Study("fragile", "fails", GRID, fragile)
    failed = run_study(study, folder=tmp_path)
    assert sorted((c["depth"], c["lr"], c["seed"]) for c in failed) == [(2, lr, s) for lr in GRID["lr"] for s in (0, 1)]
    assert {sum(call["depth"] == d for call in CALLS) for d in (1, 2)} == {12}
    assert len(load("fragile", folder=tmp_path)) == 8
    assert "no luck" in capsys.readouterr().err


KILLED = """
    import sys
    from pathlib import Path
    from tests.unit.test_results import GRID, slow
    from tl_helpers.book.results import Study, run_study
    run_study(Study("slow", "is killed", GRID, slow), folder=Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = os.environ | {"NOTES": str(notes), "KILL": "1"}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, env=environment, check=False).returncode == -signal.SIGKILL
    environment.pop("KILL")
    subprocess.run(command, cwd=root, env=environment, check=True)
    assert len(load("slow", folder=tmp_path)) == 12
    cells = [cell for own in noted(notes) for cell in own]
    assert len(cells) == 13  # only the cell that was killed ran twice
    assert len(set(cells)) == 12


@pytest.mark.slow
def test_two_workers_share_a_database(tmp_path, monkeypatch):
    """Each has at least one cell to do, as no cell ends before both have begun one; none is done twice."""
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.setenv("TWO", "1")
    study = Study("slow", "shared", GRID, slow)
    assert run_study(study, folder=tmp_path, storage=f"sqlite:///{tmp_path}/studies.db", workers=2) == []
    assert len(load("slow", folder=tmp_path)) == 12
    one, two = noted(notes)
    assert len({*one, *two}) == 12 == len(one) + len(two)


@pytest.mark.slow
def test_workers_share_a_limit(tmp_path):
    assert run_study(STUDY, folder=tmp_path, workers=2, limit=3) == []
    assert len(load("tiny", folder=tmp_path)) == 3


def test_another_version_is_not_taken_over(tmp_path):
    run_study(STUDY, folder=tmp_path)
    CALLS.clear()
    run_study(Study("tiny", "a tiny grid", GRID, cell, version=2), folder=tmp_path)
    assert len(CALLS) == 12


def test_a_grid_that_grew_keeps_what_it_has(tmp_path):
    run_study(STUDY, folder=tmp_path)
    CALLS.clear()
    run_study(Study("tiny", "larger", GRID | {"seed": (0, 1, 2)}, cell), folder=tmp_path)
    assert {call["seed"] for call in CALLS} == {2}
    assert len(load("tiny", folder=tmp_path)) == 18


@pytest.fixture(params=["file", "database"])
def storage(request, tmp_path):
    """Where cells are shared: by default a file in the cache."""
    return None if request.param == "file" else f"sqlite:///{tmp_path}/studies.db"


class Runs:
    """Runs of a study `tiny` in one storage; where they are `lost`, only the storage keeps what they found."""

    def __init__(self, folder: Path, storage: str | None, lost: bool):
        self.folder, self.storage, self.lost, self.table = folder, storage, lost, b""

    def __call__(self, grid: dict) -> list[dict]:
        """The calls that one more run needs."""
        CALLS.clear()
        run_study(Study("tiny", "a tiny grid", grid, cell), folder=self.folder, storage=self.storage)
        self.table = (self.folder / "tiny.csv").read_bytes()
        if self.lost:
            for file in self.folder.glob("tiny.*"):
                file.unlink()
        return list(CALLS)


@pytest.fixture(params=["recorded", "finished"])
def again(request, tmp_path, storage):
    """After a first run."""
    runs = Runs(tmp_path, storage, lost=request.param == "finished")
    assert len(runs(GRID)) == 12
    return runs


def test_each_new_value_of_a_grid_is_run_and_nothing_else(again):
    grown = GRID | {"depth": (0, 1, 2, 3), "lr": (1e-4, 0.001, 0.01)}
    calls = again(grown)
    assert {(call["depth"], call["lr"]) for call in calls} == {(d, 0.001) for d in range(4)} | {(3, 1e-4), (3, 0.01)}
    assert len(calls) == 12
    assert len(again.table.splitlines()) == 1 + 24
    assert again(grown) == []


def test_a_value_that_a_grid_no_longer_holds_is_kept_out_and_said(again, capsys):
    whole = again.table
    assert again(GRID | {"depth": (0, 2)}) == []
    assert {line.split(b",")[0] for line in again.table.splitlines()[1:]} == {b"0", b"2"}
    said = "4 recorded cells have values that the grid no longer holds; they are left out"
    assert (said in capsys.readouterr().err) is not again.lost
    assert again(GRID) == []  # the storage still knows them
    assert again.table == whole


def test_a_grid_with_other_parameters_needs_another_version(again):
    renamed = {"depth": GRID["depth"], "rate": GRID["lr"], "seed": GRID["seed"]}
    one_less = {"depth": GRID["depth"], "seed": GRID["seed"]}
    for grid in (renamed, one_less, GRID | {"width": (1, 2)}):
        with pytest.raises(ResultsError, match=r"it belongs to another grid\. Raise the study's version"):
            again(grid)
        assert CALLS == []


def test_another_version_may_have_other_parameters(tmp_path):
    run_study(STUDY, folder=tmp_path)
    run_study(Study("tiny", "other", {"where": ("a", "b")}, where, version=2), folder=tmp_path)
    assert list(load("tiny", folder=tmp_path)["where"]) == ["a", "b"]


def test_what_other_processes_work_on_is_said(tmp_path, own_cache, capsys):
    """A second `make results` beside the first leaves it its cell, and says that one is missing."""

    def nested(depth, lr, seed):
        if not CALLS:
            cell(depth, lr, seed)
            assert run_study(STUDY, folder=tmp_path) == []
            assert "tiny: 1 cells are at work in other processes" in capsys.readouterr().err
        return cell(depth, lr, seed)

    assert run_study(Study("tiny", "a tiny grid", GRID, nested), folder=tmp_path) == []
    assert len(CALLS) == 13  # this one notes its call twice
    assert len(load("tiny", folder=tmp_path)) == 12
    assert capsys.readouterr().err == ""
    assert [path.name for path in (own_cache / "studies").iterdir()] == ["tiny.journal"]


# ---- the code that recorded them -------------------------------------------------------------------------------------


def where(where):
    return {"accuracy": len(where)}


def there(where):
    return {"accuracy": len(where) + 1}


LOCK = threading.Lock()


def locked(where):
    with LOCK:
        return {"accuracy": len(where)}


def placed(cell, *values) -> Study:
    return Study("placed", "somewhere", {"where": values}, cell)


def test_a_study_notes_the_code_that_recorded_it(tmp_path):
    study = placed(where, "a", "b", "c")
    for limit in (1, None):  # a second run of the same code
        run_study(study, folder=tmp_path, limit=limit)
        assert facts("placed", folder=tmp_path)["code"] == results.code_name(study) == keys.code_name(where)
    assert results.code_name(placed(there, "a")) != results.code_name(study)


def test_cells_of_two_codes_have_no_name_in_common(tmp_path):
    run_study(placed(where, "a"), folder=tmp_path)
    run_study(placed(there, "a", "b"), folder=tmp_path)
    assert "code" not in facts("placed", folder=tmp_path)
    assert list(load("placed", folder=tmp_path)["accuracy"]) == [1, 2]


def test_also_where_only_the_storage_knows_the_first(tmp_path):
    run_study(placed(where, "a"), folder=tmp_path)
    for file in tmp_path.glob("placed.*"):
        file.unlink()
    run_study(placed(there, "a", "b"), folder=tmp_path)
    assert "code" not in facts("placed", folder=tmp_path)


def test_a_run_that_has_nothing_to_do_leaves_the_note_as_it_was(tmp_path):
    """A study that was recorded before code had names is given none, and its commit, date and machine stay."""
    run_study(placed(where, "a"), folder=tmp_path)
    path = tmp_path / "placed.json"
    note = json.loads(path.read_text()) | {"commit": "of long ago", "date": "1999-01-01", "command": "by hand"}
    del note["code"]
    path.write_text(json.dumps(note))
    run_study(dataclasses.replace(placed(there, "a"), title="elsewhere"), folder=tmp_path)
    assert facts("placed", folder=tmp_path) == note | {"title": "elsewhere"}


def test_code_that_cannot_be_named_runs_without_a_name(tmp_path):
    study = placed(locked, "a")
    with pytest.raises(keys.Unnameable):
        keys.code_name(locked)
    assert results.code_name(study) is None
    run_study(study, folder=tmp_path)
    assert "code" not in facts("placed", folder=tmp_path)


NAMES = """
    import json
    from tl_helpers.book import results
    from tl_helpers.book.studies.catalogue import STUDIES
    print(json.dumps([results.__file__, {name: results.code_name(study) for name, study in STUDIES.items()}]))
"""


@pytest.mark.slow
def test_the_books_studies_have_names_that_are_the_same_elsewhere(tmp_path):
    """In another process, folder and home, with other seeds."""
    package, root = Path(results.__file__).parents[1], tmp_path / "elsewhere"
    shutil.copytree(package, root / "tl_helpers", ignore=shutil.ignore_patterns("__pycache__"))
    settings = {"TL_SEED_BASE": "1000", "TL_CACHE": str(root), "HOME": str(root), "PYTHONHASHSEED": "5"}
    environment = os.environ | settings | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", textwrap.dedent(NAMES)]
    said = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True).stdout
    file, names = json.loads(said)
    assert Path(file).is_relative_to(root)
    assert None not in names.values()
    assert names == {name: results.code_name(study) for name, study in catalogue.STUDIES.items()}


@pytest.mark.parametrize("content", ["", "depth,lr\n1,2\n", 'a,"b\n1'])
def test_damaged_tables_are_refused(tmp_path, content):
    (tmp_path / "tiny.csv").write_text(content)
    with pytest.raises(ResultsError, match="damaged"):
        load("tiny", folder=tmp_path)


def test_what_is_not_there_says_how_to_make_it(tmp_path):
    for read in (load, facts):
        with pytest.raises(ResultsError, match="make results STUDIES=nothing"):
            read("nothing", folder=tmp_path)
    (tmp_path / "tiny.json").write_text("{")
    with pytest.raises(ResultsError, match="damaged"):
        facts("tiny", folder=tmp_path)


def test_a_table_of_another_grid_is_refused(tmp_path):
    run_study(STUDY, folder=tmp_path)
    with pytest.raises(ResultsError, match="no column width"):
        recorded(Study("tiny", "other", {"width": (1, 2)}, cell), folder=tmp_path)


def test_studies_that_cannot_run(tmp_path):
    with pytest.raises(ValueError, match="workers=0"):
        run_study(STUDY, folder=tmp_path, workers=0)
    with pytest.raises(ValueError, match="at least one value"):
        run_study(Study("empty", "no values", {"depth": ()}, cell), folder=tmp_path)


def test_the_command_line_knows_its_studies(capsys):
    assert main(["--list"]) == 0
    assert "freeze_grid" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "no study named nothing" in capsys.readouterr().err


def test_an_installed_copy_keeps_its_results_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_checkout", lambda: None)
    with pytest.raises(ResultsError, match=r"installed \(.*tl_helpers\).*clone the repository.*--folder"):
        run_study(STUDY)
    assert CALLS == []
    run_study(STUDY, folder=tmp_path / "mine", limit=1)
    assert len(load("tiny", folder=tmp_path / "mine")) == 1
    assert facts("tiny", folder=tmp_path / "mine")["commit"] == ""


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("nobody, not even root, writes below a file")
    with pytest.raises(ResultsError, match=r"Nothing can be written to .*file.inside .*--folder"):
        run_study(STUDY, folder=tmp_path / "file" / "inside")
    assert CALLS == []


def test_the_command_line_writes_where_it_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(catalogue.STUDIES, "tiny", STUDY)
    assert main(["tiny", "--workers", "1", "--limit", "3", "--folder", str(tmp_path)]) == 0
    assert len(load("tiny", folder=tmp_path)) == 3
    assert main(["--list", "--folder", str(tmp_path)]) == 0
    assert "tiny: 3 of 12 cells" in capsys.readouterr().out
    monkeypatch.setattr(results, "_checkout", lambda: None)
    with pytest.raises(SystemExit, match="This copy of the book is installed"):
        main(["tiny", "--workers", "1"])


def test_the_books_results_lie_in_the_package():
    assert results.FOLDER.is_relative_to(Path(results.__file__).parent)
    assert results._checkout() == Path(__file__).parents[2]


def test_a_change_of_the_results_alone_is_no_change_since_the_commit(tmp_path, monkeypatch):
    """Recording a study writes into the package: the next one's note must not say that its code had changed."""
    for name in ("pyproject.toml", "tl_helpers/book/results.py", "tl_helpers/book/results/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(results, "_checkout", lambda: tmp_path)
    (tmp_path / "tl_helpers/book/results/a.csv").write_text("2")
    run_study(STUDY, folder=tmp_path / "mine", limit=1)
    note = facts("tiny", folder=tmp_path / "mine")
    assert len(note["commit"]) == 40
    assert note["changed_since_commit"] is False
    (tmp_path / "tl_helpers/book/results.py").write_text("2")
    run_study(STUDY, folder=tmp_path / "mine", limit=1)
    assert facts("tiny", folder=tmp_path / "mine")["changed_since_commit"] is True


def test_no_name_of_a_host_is_recorded():
    import socket

    assert socket.gethostname() not in json.dumps(results.machine())


def test_whole_numbers_are_found_again_in_a_grid_of_floats():
    """A column of 1.0 is written as 1, and read back as an integer."""
    study = Study("floats", "whole floats", {"x": (0.0, 1.0), "who": ("a", "1")}, dict)
    assert [study.read("x", text) for text in ("0", "1", "1.0")] == [0.0, 1.0, 1.0]
    assert study.read("who", "1") == "1"
    with pytest.raises(KeyError):
        study.read("x", "2")
    with pytest.raises(KeyError):
        study.read("who", "b")
