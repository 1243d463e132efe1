"""The book's own tools: timing of phases, execution of chapters, the status page, alt texts, scripts on the pages."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import alt_text
import elsewhere
import execute
import nbformat
import offline_pages
import phase
import pytest
import recorded_runs
import scaling
import status_page
import visible
from docutils import nodes

CLAIM = {"statement": "a beats b", "rule": "mean at least +0", "seeds": 3}
CLAIM |= {"held": True, "difference": 2.0, "low": 1.0, "high": 3.0}


def record(chapter: str, time: str, cold: bool, seconds: float = 10.0, claims=(CLAIM,)) -> dict:
    fields = {
        "kind": "chapter",
        "chapter": chapter,
        "time": time,
        "cold": cold,
        "seconds": seconds,
        "claims": list(claims),
    }
    return fields | {"device": "cpu", "threads": 1, "versions": {"python": "3.11"}}


# ---- phases ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setattr(phase, "TABLE", tmp_path / "phases.tsv")
    monkeypatch.setattr(phase, "LOGS", tmp_path / "logs")
    return tmp_path


def test_a_phase_is_timed_logged_and_its_exit_code_handed_on(build, capfd):
    good = phase.run("good", [sys.executable, "-c", "print('hello')"])
    bad = phase.run("bad", [sys.executable, "-c", "import sys; print('oh', file=sys.stderr); sys.exit(3)"])
    assert (good, bad) == (0, 3)
    assert (build / "logs" / "good.log").read_text() == "hello\n"
    assert (build / "logs" / "bad.log").read_text() == "oh\n"
    rows = phase.latest()
    assert rows["good"][1] == "0"
    assert rows["bad"][1] == "3"
    assert "hello" in capfd.readouterr().out


def test_summary_ends_with_the_last_line_of_each_pytest(build, capsys):
    phase.run("unit", [sys.executable, "-c", "print('==== 3 passed, 1 skipped in 0.12s ====\\nbye')"])
    capsys.readouterr()
    phase.summary(["install", "unit"])
    out = capsys.readouterr().out
    assert "not run on this machine" in out
    assert out.rstrip().endswith("==== 3 passed, 1 skipped in 0.12s ====")


# ---- execution -------------------------------------------------------------------------------------------------------


def write_notebook(path, *sources: str):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


@pytest.mark.slow
def test_chapters_run_in_their_folder_and_only_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(execute, "CACHE", tmp_path / "cache")
    path = write_notebook(tmp_path / "a.ipynb", "from pathlib import Path", "Path('seen').touch(); 1 + 1")
    assert asyncio.run(execute.execute_all([path], jobs=2, timeout=600)) == []
    assert (tmp_path / "seen").exists()
    assert execute.is_cached(execute.get_cache(execute.CACHE), path)
    capsys.readouterr()
    assert asyncio.run(execute.execute_all([path], jobs=2, timeout=600)) == []
    assert "1 of 1 chapters are in the cache" in capsys.readouterr().out
    cache = execute.get_cache(execute.CACHE)
    assert not execute.is_cached(cache, path, anew=True)  # it could have taken a stored run
    monkeypatch.setattr(execute, "reach", lambda path: "something else")
    assert not execute.is_cached(cache, path)
    monkeypatch.undo()
    assert not execute.is_cached(cache, path)  # forgotten, or the book build would show it
    write_notebook(path, "2 + 2")
    assert not execute.is_cached(cache, path)


@pytest.mark.slow
def test_a_failing_chapter_is_reported_with_its_traceback_and_the_others_still_run(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "CACHE", tmp_path / "cache")
    bad = write_notebook(tmp_path / "bad.ipynb", "def broken():\n    return 1 / 0", "broken()")
    good = write_notebook(tmp_path / "good.ipynb", "1 + 1")
    errors = asyncio.run(execute.execute_all([bad, good], jobs=2, timeout=600))
    assert len(errors) == 1
    assert "bad.ipynb" in errors[0]
    assert "ZeroDivisionError" in errors[0]
    assert "broken()" in errors[0]
    cache = execute.get_cache(execute.CACHE)
    assert execute.is_cached(cache, good)
    assert not execute.is_cached(cache, bad)


KEEPING = """
import sys
from pathlib import Path
import execute, pytest
execute.CACHE = Path(sys.argv[1])
sys.exit(pytest.main(["-p", "keep", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env", *sys.argv[2:]]))
"""


def kept(cache_folder, path):
    """An executed notebook as the book build would read it: outputs and widgets, ids of models taken out."""
    cache = execute.get_cache(cache_folder)
    _, found = cache.merge_match_into_notebook(execute.read(path))
    states = found.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    outputs = [output for cell in found.cells for output in cell.outputs]
    for output in outputs:
        output.pop("execution_count", None)
    text = re.sub(r"[0-9a-f]{32}", lambda found: states[found[0]]["model_name"], json.dumps([outputs, states]))
    return json.loads(text), found.metadata["language_info"]


@pytest.mark.slow
def test_what_nbval_executes_is_kept_for_the_book_as_if_it_had_been_executed_for_it(tmp_path, monkeypatch):
    sources = (
        "import ipywidgets\nslider = ipywidgets.IntSlider(description='k')\nslider",
        "print('one'); print('two')",
        "from IPython.display import display\nhandle = display('old', display_id=True)\nslider.value = 3",
        "handle.update('new')\nopen('runs', 'a').write('x');",
        "1 + 1",
    )
    folder = tmp_path / "notebooks"
    folder.mkdir()
    path = write_notebook(folder / "a.ipynb", *sources)
    bad = write_notebook(folder / "bad.ipynb", "1 / 0", "2")
    tools = os.pathsep.join([str(Path(execute.__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", KEEPING, str(tmp_path / "kept"), str(folder)]
    settings = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": tools, "TL_FRESH": "1"}, **settings)
    assert done.returncode == 1, done.stdout + done.stderr  # the bad one
    assert "1 failed, 6 passed" in done.stdout, done.stdout + done.stderr
    alone = [*command[:-1], str(path)]  # named by itself, it runs again, and is kept again
    again = subprocess.run(alone, env={**os.environ, "PYTHONPATH": tools, "TL_FRESH": "1"}, **settings)
    assert again.returncode == 0, again.stdout + again.stderr
    (folder / "runs").write_text("x")
    again = subprocess.run(command, env={**os.environ, "PYTHONPATH": tools, "TL_FRESH": "1"}, **settings)
    assert "a.ipynb is done; nothing that it reaches has changed" in again.stdout, again.stdout + again.stderr
    assert "1 failed, 1 passed" in again.stdout, again.stdout + again.stderr  # of the bad one
    monkeypatch.setattr(execute, "CACHE", tmp_path / "kept")
    assert not execute.is_cached(execute.get_cache(execute.CACHE), bad)
    assert asyncio.run(execute.execute_all([path], jobs=1, timeout=600)) == []
    assert (folder / "runs").read_text() == "x", "it was executed again for the book"
    monkeypatch.setattr(execute, "CACHE", tmp_path / "executed")
    assert asyncio.run(execute.execute_all([path], jobs=1, timeout=600)) == []
    assert kept(tmp_path / "kept", path) == kept(tmp_path / "executed", path)


# ---- status page -----------------------------------------------------------------------------------------------------


def test_chapters_come_from_the_table_of_contents_in_its_order(tmp_path):
    toc = tmp_path / "_toc.yml"
    toc.write_text(
        "root: book/index\nparts:\n- chapters:\n  - file: notebooks/02_b\n    sections:\n    - file: notebooks/03_c.ipynb\n"
        "- chapters:\n  - file: book/glossary\n  - file: notebooks/01_a\n"
    )
    assert status_page.chapters_in(toc) == ["notebooks/02_b", "notebooks/03_c", "notebooks/01_a"]


def test_a_chapter_that_stopped_after_its_last_run_says_so_until_it_runs_again():
    stop = {"kind": "stopped chapter", "chapter": "01_a", "time": "2026-01-02T10:20:00", "error": "ClaimFailed: a < b"}
    records = [record("01_a", "2026-01-01T00:00:00", cold=True), stop]
    (status,) = status_page.summarise(["notebooks/01_a"], records)
    assert not status.passed
    assert "stopped: ClaimFailed: a < b (2026-01-02 10:20)" in status_page.chapter_table([status]).astext()
    (status,) = status_page.summarise(["notebooks/01_a"], [stop])  # never finished at all
    assert "stopped: ClaimFailed" in status_page.chapter_table([status]).astext()
    again = record("01_a", "2026-01-03T00:00:00", cold=False)
    (status,) = status_page.summarise(["notebooks/01_a"], [*records, again])
    assert status.passed
    assert "stopped" not in status_page.chapter_table([status]).astext()


@pytest.mark.slow
def test_a_chapter_that_an_error_stops_leaves_a_record(tmp_path, monkeypatch):
    """In a real kernel: a claim that fails; then an interrupt, which is nobody's failure; then a finish."""
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "store"))
    begin = "from tl_helpers.book import chapter, claims\nchapter.begin('01_a')"
    endings = {
        "stops": "claims.check_true('water flows uphill', False)",
        "interrupted": "raise KeyboardInterrupt",
        "finishes": "chapter.finish()",
    }
    for name, ending in endings.items():
        monkeypatch.setattr(execute, "CACHE", tmp_path / name)
        asyncio.run(execute.execute_all([write_notebook(tmp_path / f"{name}.ipynb", begin, ending)], 1, 60))
    found, _ = status_page.chapter_records()
    assert [(r["kind"], r["chapter"]) for r in found] == [("stopped chapter", "01_a"), ("chapter", "01_a")]
    assert found[0]["error"] == "ClaimFailed: ✗ water flows uphill: checked"
    assert found[0]["cell"] == endings["stops"]
    assert found[0]["claims"][0]["held"] is False


def test_newest_cold_and_warm_run_are_shown_and_unknown_chapters_ignored():
    records = [
        record("01_a", "2026-01-02T00:00:00", cold=True, seconds=200),
        record("01_a", "2026-01-01T00:00:00", cold=True, seconds=300),
        record("01_a", "2026-01-03T00:00:00", cold=False, seconds=20),
        record("99_z", "2026-01-03T00:00:00", cold=False),
    ]
    (status,) = status_page.summarise(["notebooks/01_a"], records)
    assert (status.cold["seconds"], status.warm["seconds"]) == (200, 20)
    assert status.newest is status.warm
    assert status.passed


def test_a_chapter_without_a_record_says_so_and_did_not_pass():
    (status,) = status_page.summarise(["notebooks/01_a"], [])
    assert not status.passed
    assert status_page.NOT_RUN in status_page.chapter_table([status]).astext()


def test_a_failed_claim_and_a_missed_budget_show():
    failed = CLAIM | {"held": False}
    runs = [record("01_a", "2026-01-01T00:00:00", cold=True, seconds=241, claims=[CLAIM, failed])]
    statuses = status_page.summarise(["notebooks/01_a"], runs)
    text = status_page.chapter_table(statuses).astext()
    assert not statuses[0].passed
    assert "claim failed" in text
    assert "1/2" in text
    assert "241 s, over budget" in text


def cell(source: str, *tags: str, kind: str = "code") -> dict:
    return {"cell_type": kind, "metadata": {"tags": list(tags)} if tags else {}, "source": source.splitlines(True)}


def test_visible_cells_and_lines(tmp_path):
    """Blank lines are no lines; folded code is none either, though what it showed is seen."""
    cells = [
        cell("# Title\n\nWords", kind="markdown"),
        cell("import book", "remove-cell"),
        cell("import this\n\n\nx = 1\n# a comment\n    \n", "imports"),
        cell("quiz.show('01')", "remove-input"),
        cell("figure()\nfigure()", "hide-input"),
        cell("def solution():\n    return 1", "hide-cell"),
        cell("def stub():\n    ..."),
    ]
    path = tmp_path / "01_a.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert visible.visible(path) == (5, 5)
    row = status_page.length_table([path]).astext().split()
    assert row[-2:] == ["5", "5"]


def test_the_length_of_a_chapter_is_printed():
    script = Path(visible.__file__)
    chapter = sorted((script.parents[2] / "notebooks").glob("01_*.ipynb"))[0]
    done = subprocess.run([sys.executable, script, chapter], capture_output=True, text=True, check=True)
    found = visible.visible(chapter)
    assert done.stdout.split() == [chapter.stem, str(found.cells), "cells", str(found.lines), "lines"]


def test_claims_without_seeds_show_no_number():
    runs = [record("01_a", "2026-01-01T00:00:00", cold=True, claims=[CLAIM])]
    bare = CLAIM | {"difference": None, "low": None, "high": None, "seeds": 0}
    runs[0]["claims"].append(bare)
    table = status_page.claim_table(status_page.summarise(["notebooks/01_a"], runs), {})
    rows = [row.astext() for row in table.findall(nodes.row)]
    assert "+2.00" in rows[1]
    assert "+1.00 to +3.00" in rows[1]
    assert "–" in rows[2]


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_pictures_without_alt_text_are_warned_about(monkeypatch):
    said = []
    monkeypatch.setattr(alt_text, "LOGGER", SimpleNamespace(warning=lambda message, **_: said.append(message)))
    page = nodes.section()
    page += [nodes.image(uri="a.png", alt="A rising line"), nodes.image(uri="b.png"), nodes.image(uri="c.png", alt=" ")]
    alt_text.check(None, page, "page")
    assert len(said) == 2


def test_thebe_and_doubled_inline_scripts_are_left_out():
    def script(filename, body=""):
        return SimpleNamespace(filename=filename, attributes={"body": body})

    own, thebe = script("_static/a.js"), script("_static/sphinx-thebe.js")
    loader, once, twice = script(None, "const THEBE_JS_URL = 1"), script(None, "let x"), script(None, "let x")
    context = {"script_files": [own, thebe, loader, once, twice], "css_files": [script("_static/sphinx-thebe.css")]}
    offline_pages.keep_own_scripts(None, "p", "t", context, None)
    assert context == {"script_files": [own, once], "css_files": []}


# ---- recorded runs ---------------------------------------------------------------------------------------------------


def test_recorded_runs_are_listed_from_their_files(tmp_path, monkeypatch):
    from tl_helpers.book.results import Study, run_study

    def cell(depth):
        return {"accuracy": 80.0 + depth}

    run_study(Study("tiny", "a tiny grid", {"depth": (0, 1)}, cell), folder=tmp_path)
    (tmp_path / "replication.json").write_text('{"01_a": {"claims": []}}')  # lies beside them
    (row,) = recorded_runs.rows(tmp_path, {})
    assert row[0] == "tiny: a tiny grid"
    assert row[1] == "2 of 2"
    assert row[6] == "make results"
    assert recorded_runs.rows(tmp_path / "nothing", {}) == []
    monkeypatch.setenv("TL_SEED_BASE", "1000")
    run_study(Study("tiny", "a tiny grid", {"depth": (0, 1)}, cell, cited={"depth": (1,)}), folder=tmp_path)
    first, fresh = recorded_runs.rows(tmp_path, {})
    assert (first, fresh[:2]) == (row, ["tiny: a tiny grid (fresh seeds, from 1000 on)", "1 of 1"])


def test_costs_are_computed_from_the_benchmarks():
    seconds = {"plain": 8.0, "ours with decoding, torch": 4.0, "ours with decoding, onnxruntime": 5.0}
    (row,) = scaling.features_rows({"cells": 800, "seconds": {"64 px": seconds, "sentences": {}}})
    assert row == ["64 px", "100", "200", "50 s", "8.3 min", "1.4 h"]
    runs = [{"method": "ours", "depth": 3, "training": 2.0}, {"method": "plain", "depth": 3, "training": 9.0}]
    assert scaling.training_rows({"labels": 100, "epochs": 2, "rows": runs}) == [["3", "100", "17 min", "1.4 h"]]


def test_recorded_runs_say_whether_the_present_code_made_them(tmp_path):
    from tl_helpers.book.results import Study, code_name, run_study

    def cell(depth):
        return {"accuracy": 80.0 + depth}

    def said(name: str | None) -> str:
        return recorded_runs.rows(tmp_path, {"tiny": name})[0][5]

    study = Study("tiny", "a tiny grid", {"depth": (0, 1)}, cell)
    run_study(study, folder=tmp_path)
    assert said(code_name(study)) == "the present code"
    assert said("another") == "an earlier version of the code"
    assert said(None) == "not known: its code has no name now"
    path = tmp_path / "tiny.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps(note | {"versions": {"python": "3.4.10"}}))
    assert said("another") == "not known: recorded with Python 3.4"
    del note["code"]  # as it was before code was named
    path.write_text(json.dumps(note))
    assert {said(name) for name in (None, code_name(study))} == {"an earlier version of the code"}


def test_the_page_of_recorded_runs_compares_all_of_the_books_studies():
    from tl_helpers.book.studies.catalogue import STUDIES

    code = recorded_runs.present_code()
    assert set(code) == set(STUDIES)
    assert None not in code.values()
    assert len(recorded_runs.rows(recorded_runs.FOLDER, code)) >= len(STUDIES)


# ---- other machines --------------------------------------------------------------------------------------------------


@pytest.fixture
def two_chapters(tmp_path, monkeypatch):
    """Two chapters: one whose claim holds with one thread only, one that stops."""
    monkeypatch.setattr(elsewhere, "ROOT", tmp_path)
    monkeypatch.setattr(elsewhere, "FOLDER", tmp_path / "elsewhere")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "tl_helpers").mkdir()
    begin = "from tl_helpers import runtime\nfrom tl_helpers.book import chapter, claims\nchapter.begin('{}')"
    claim = "claims.check_true('one thread', runtime.current().threads == 1)"
    write_notebook(tmp_path / "notebooks" / "01_claims.ipynb", begin.format("01_claims"), claim, "chapter.finish()")
    write_notebook(tmp_path / "notebooks" / "02_stops.ipynb", begin.format("02_stops"), "1 / 0", "chapter.finish()")
    return elsewhere.chapters()


MACHINES = [elsewhere.Machine("one"), elsewhere.Machine("two", {"TL_NOTHING": "1"}, threads=2)]


@pytest.mark.slow
def test_chapters_run_as_other_machines_and_a_second_call_goes_on(two_chapters, capsys):
    first = elsewhere.run_all([(two_chapters[0], machine) for machine in MACHINES], 2)
    one, two = asyncio.run(first)
    assert (one.executed, one.held, one.claims, one.failed) == (True, 1, 1, [])
    assert (two.executed, two.held, two.claims) == (True, 0, 1)  # it failed, and the chapter went on
    assert two.failed == ["one thread: checked"]
    stores = [(elsewhere.FOLDER / machine.name / "ledger.jsonl").exists() for machine in MACHINES]
    assert stores == [True, True]

    capsys.readouterr()
    pairs = [(path, MACHINES[0]) for path in two_chapters]
    again, stopped = asyncio.run(elsewhere.run_all(pairs, 1))
    assert "1 of 2 are known, 1 to execute" in capsys.readouterr().out
    assert again == one
    assert not stopped.executed
    assert "ZeroDivisionError" in stopped.error
    shown = elsewhere.table(two_chapters, MACHINES)
    assert "0/1 in" in shown
    assert "CLAIM FAILED" in shown
    assert "STOPPED" in shown
    assert shown.count("not run") == 1

    write_notebook(two_chapters[0], "2 + 2")  # other code: what is known no longer counts
    assert " *" in elsewhere.table(two_chapters, MACHINES)


def test_the_commit_chooses_a_machine_that_this_one_is_not(two_chapters, monkeypatch):
    monkeypatch.setattr(elsewhere, "QUICK", ("02",))
    chosen = {}
    for native in ("AVX2", "AVX512"):
        monkeypatch.setattr(elsewhere, "native", lambda name=native: name)
        chosen[native] = set()
        for commit in range(40):
            done = SimpleNamespace(stdout=f"{commit}\n")
            monkeypatch.setattr(elsewhere.subprocess, "run", lambda *_, answer=done, **__: answer)
            path, machine = elsewhere.picked()
            assert (path, machine) == elsewhere.picked()
            chosen[native].add((path.stem[:2], machine.name))
    assert chosen == {"AVX2": {("02", "sse41")}, "AVX512": {("02", "sse41"), ("01", "avx2"), ("02", "avx2")}}


def test_bfloat16_is_left_out_where_it_would_be_emulated(monkeypatch):
    machine = next(machine for machine in elsewhere.MACHINES if machine.name == "bfloat16")
    for has, said in ((True, ""), (False, "no bfloat16")):
        monkeypatch.setattr(elsewhere.runtime, "has_bfloat16", lambda device, answer=has: answer)
        assert said in elsewhere.usable(machine)
        assert bool(elsewhere.usable(machine)) is not has


def test_chapters_and_machines_are_asked_for_by_their_beginnings():
    names = ["01_first", "04_fine", "13_continual"]
    assert elsewhere.chosen("13,04", names, "chapter") == ["04_fine", "13_continual"]
    assert elsewhere.chosen("", names, "chapter") == names
    with pytest.raises(SystemExit, match="no chapter 99"):
        elsewhere.chosen("04,99", names, "chapter")
