"""Seeds come from one place, and what fresh ones say of each claim reaches the file, the panel and the status page."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace

import elsewhere
import pytest
import replicate
import status_page
from docutils import nodes
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_book_tools import CLAIM, record, write_notebook
from tl_helpers import ledger
from tl_helpers.book import chapter, claims, replication, results
from tl_helpers.book.results import ResultsError, Study, run_study
from tl_helpers.book.studies import catalogue
from tl_helpers.book.studies.__main__ import main

# ---- seeds -----------------------------------------------------------------------------------------------------------


@given(count=st.integers(1, 50), first=st.none() | st.integers(0, 10**9))
def test_seeds_start_where_the_variable_says(count, first):
    with pytest.MonkeyPatch.context() as patch:
        if first is not None:
            patch.setenv("TL_SEED_BASE", str(first))
        assert replication.seeds(count) == chapter.seeds(count) == tuple(range(first or 0, (first or 0) + count))
        assert replication.seeds(count + 3)[:count] == chapter.seeds(count)


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "1e3", "٣", "1000000001", " "])
def test_a_base_that_is_no_seed_is_refused(text, monkeypatch):
    monkeypatch.setenv("TL_SEED_BASE", text)
    with pytest.raises(ValueError, match=r"TL_SEED_BASE=.*whole number from 0"):
        chapter.seeds(3)


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="one seed or more"):
        chapter.seeds(0)


# ---- recorded grids --------------------------------------------------------------------------------------------------


def cell(depth, lr, seed):
    return {"accuracy": 80.0 + depth + 10 * lr + seed / 1000}


def tiny(cited, seeds=None) -> Study:
    grid = {"depth": (0, 1, 2), "lr": (0.1, 0.2), "seed": seeds or replication.seeds(2)}
    return Study("tiny", "a tiny grid", grid, cell, cited=cited)


@pytest.fixture
def folder(tmp_path):
    """For results, and for nothing else."""
    return tmp_path / "results"


@pytest.fixture
def fresh(monkeypatch):
    """From here on, seeds are fresh ones."""
    return lambda: monkeypatch.setenv("TL_SEED_BASE", "1000")


def test_fresh_seeds_are_recorded_beside_for_what_claims_cite(folder, fresh):
    run_study(tiny({}), folder=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    fresh()
    study = tiny({"depth": (0, 2)})
    with pytest.raises(ResultsError, match=r"no recorded results.*TL_SEED_BASE=1000 make results STUDIES=tiny"):
        results.load("tiny", folder=folder)
    run_study(study, folder=folder, limit=3)
    with pytest.raises(ResultsError, match=r"Only 3 of 8 cells .*TL_SEED_BASE=1000 make results"):
        results.load("tiny", folder=folder)
    run_study(study, folder=folder)  # goes on
    frame, note = results.load("tiny", folder=folder), results.facts("tiny", folder=folder)
    assert set(frame["depth"]) == {0, 2}
    assert set(frame["seed"]) == {1000, 1001}
    assert len(frame) == 8 == note["cells_all"]
    assert note["seed_base"] == 1000
    assert {path.name for path in folder.iterdir()} - set(before) == {"tiny.seeds1000.csv", "tiny.seeds1000.json"}
    assert all((folder / name).read_bytes() == content for name, content in before.items())


def test_when_more_is_cited_the_rest_is_recorded(folder, fresh):
    fresh()
    run_study(tiny({"depth": (0, 2)}), folder=folder)
    calls = []

    def noted(**values):
        calls.append(values)
        return cell(**values)

    assert run_study(replace(tiny({}), cell=noted), folder=folder) == []
    assert [call["depth"] for call in calls] == [1] * 4
    assert len(results.load("tiny", folder=folder)) == 12


@pytest.mark.slow
def test_workers_share_a_database_for_fresh_seeds(folder, tmp_path, fresh):
    fresh()
    assert run_study(tiny({"lr": (0.2,)}), folder=folder, storage=f"sqlite:///{tmp_path}/studies.db", workers=2) == []
    assert len(results.load("tiny", folder=folder)) == 6


def test_the_first_seeds_are_read_whatever_lies_beside_them(folder, monkeypatch):
    run_study(tiny({}), folder=folder)
    with monkeypatch.context() as patch:
        patch.setenv("TL_SEED_BASE", "1000")
        run_study(tiny({}), folder=folder)
    assert set(results.load("tiny", folder=folder)["seed"]) == {0, 1}


def test_choices_are_the_same_for_all_seeds_and_are_not_made_anew(folder, fresh):
    run_study(tiny(None, (replication.TUNING,)), folder=folder)
    fresh()
    assert run_study(tiny(None, (replication.TUNING,)), folder=folder) == []
    assert set(results.load("tiny", folder=folder)["seed"]) == {replication.TUNING}
    assert results.facts("tiny", folder=folder)["cells_done"] == 6
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("cited", [{"width": (1,)}, {"depth": (7,)}, {"depth": ()}, {"seed": (1000,)}])
def test_what_is_not_in_the_grid_cannot_be_cited(cited, fresh):
    fresh()
    with pytest.raises(ValueError, match="not in its grid"):
        results.asked_for(tiny(cited))


@given(
    depths=st.sets(st.sampled_from((0, 1, 2)), min_size=1),
    rates=st.sets(st.sampled_from((0.1, 0.2)), min_size=1),
)
def test_the_cells_asked_for_are_those_of_the_grid_that_are_cited(depths, rates):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TL_SEED_BASE", "1000")
        study = tiny({"depth": tuple(depths), "lr": tuple(rates)})
        asked = results.asked_for(study)
        assert results.asked_for(asked) == asked
        assert asked.cells() == [c for c in study.cells() if c["depth"] in depths and c["lr"] in rates]


def test_the_books_studies_cite_what_they_have(fresh):
    fresh()
    for study in catalogue.STUDIES.values():
        asked = results.asked_for(study)
        assert (asked is None) == (study.cited is None)
        if min(study.grid["seed"]) >= replication.TUNING:
            assert asked is None, f"{study.name}: choices are not replicated"


def test_the_command_line_records_fresh_seeds(folder, fresh, monkeypatch, capsys):
    fresh()
    monkeypatch.setitem(catalogue.STUDIES, "tiny", tiny({"lr": (0.1,)}))
    monkeypatch.setitem(catalogue.STUDIES, "uncited", replace(tiny(None), name="uncited"))
    assert main(["tiny", "uncited", "--workers", "1", "--folder", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "tiny: 6 of 6 cells" in said
    assert "uncited: no claim cites it" in said
    assert results.facts("tiny", folder=folder)["command"] == "TL_SEED_BASE=1000 make results STUDIES=tiny,uncited"


# ---- the panel -------------------------------------------------------------------------------------------------------

PLACE = {"cell": "0123456789ab", "number": 0}
KNOWN = CLAIM | {"unit": "points"} | PLACE


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Where replications are written, for this test; empty."""
    monkeypatch.setattr(replication, "FILE", tmp_path / "replication.json")
    return replication.FILE


@pytest.fixture
def in_chapter(monkeypatch, file):
    """As if a chapter's cell made the next claim."""
    monkeypatch.setattr(claims, "_place", lambda: dict(PLACE))
    monkeypatch.setattr(ledger, "SESSION", [ledger.Session(chapter="01_a")])


def claimed() -> claims.Claim:
    return claims.check("a beats b", better=[3.0, 4.0], worse=[1.0, 2.1])


@pytest.mark.parametrize(
    ("entries", "words", "looks"),
    [
        ([], replication.NOT_YET, "tl-not-yet"),
        ([KNOWN], replication.HELD, "tl-again"),
        ([KNOWN | {"held": False}], f"{replication.FAILED}: +2.0 points [+1.0, +3.0]", "tl-not-again"),
        ([KNOWN | {"cell": "another"}], replication.NOT_YET, "tl-not-yet"),
        ([KNOWN | {"number": 1}], replication.NOT_YET, "tl-not-yet"),
    ],
)
def test_a_claim_shows_what_fresh_seeds_said(entries, words, looks, in_chapter, file, capsys):
    file.write_text(json.dumps({"01_a": {"claims": entries}}))
    claim = claimed()
    assert claim.fresh == words
    assert words in " ".join(capsys.readouterr().out.split())
    assert f'<span class="{looks}">{words}</span>' in claim._repr_html_()
    assert "fresh" not in ledger.default().records("claim")[-1]


def test_a_claim_without_seeds_says_nothing_until_it_is_replicated(in_chapter, file):
    assert claims.check_true("water is wet", True).fresh == ""
    file.write_text(json.dumps({"01_a": {"claims": [KNOWN | {"held": False, "difference": None}]}}))
    assert claims.check_true("water is wet", True).fresh == replication.FAILED


def test_with_fresh_seeds_the_panel_says_nothing_about_them(in_chapter, fresh):
    fresh()
    assert claimed().fresh == ""


def test_a_damaged_file_stops_nothing(in_chapter, file):
    file.write_text("{")
    with pytest.warns(UserWarning, match="damaged"):
        assert claimed().fresh == replication.NOT_YET


def test_a_cell_goes_by_its_code_alone():
    source = "def f(x):\n    return x + 1\n\n\nclaims.check('a', better=[1], worse=[0])"
    same = 'def f(x):\n    """One more."""\n    return (x + 1)  # one\nclaims.check("a",\n better=[1], worse=[0])'
    assert replication.cell_name(source) == replication.cell_name(same) != replication.cell_name(source + "\nx = 1")
    assert replication.cell_name("%%") == ""


# ---- a cell that stops -----------------------------------------------------------------------------------------------


def test_what_a_cell_that_stopped_would_have_made_is_taken_away():
    source = (
        "import numpy\nrows = [kept for kept in other]\nrows.append(1)\nfor step in rows:\n    total += step\n"
        "model.head.weight[0] = 1\ntable['x'] = 2\nlearner.learn(rows)\n(one, two), *more = 1\n\n\n"
        "def made():\n    inside = 1\n\n\nclaims.check('a')\nshow(rows)\nwith thing() as opened:\n    pass"
    )
    gone = ["rows", "step", "total", "model", "table", "learner", "one", "two", "more", "made", "opened"]
    stays = ["other", "kept", "inside", "show", "thing"]
    names = dict.fromkeys(gone + stays, 1) | {"claims": claims}
    chapter._forget(source, names)
    assert set(names) == {*stays, "claims"}
    chapter._forget("this is no Python", names)


# ---- make replicate --------------------------------------------------------------------------------------------------

BEGIN = (
    "from tl_helpers.book import chapter, claims, results\nchapter.begin('{}')\nSEEDS, known = chapter.seeds(3), 'old'"
)
FIRST = "claims.check_true('seeds are small', SEEDS[0] < 100)\nclaims.check_at_least('large', SEEDS, -1)"
MISSING = "known = results.load('split_mnist_of_nobody')"
CELLS = (FIRST, MISSING, "claims.check_true('rests on it', known is not None)", "claims.check_true('does not', True)")


@pytest.fixture
def chapters(tmp_path, monkeypatch, file):
    """One chapter: a claim that fails with fresh seeds, and a recorded grid that is not there."""
    for name, value in {"TL_SEED_BASE": "1000", "TL_CLAIMS": "record"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(elsewhere, "ROOT", tmp_path)
    monkeypatch.setattr(replicate, "LOGS", tmp_path / "logs")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "tl_helpers").mkdir()
    sources = (BEGIN.format("01_a"), *CELLS, "chapter.finish()")
    return [write_notebook(tmp_path / "notebooks" / "01_a.ipynb", *sources)]


@pytest.mark.slow
def test_a_replication_goes_on_after_what_fails_and_writes_all_of_it_down(chapters, file, capsys):
    assert asyncio.run(replicate.run_all(chapters, 1)) == []
    entry = json.loads(file.read_text())["01_a"]
    assert [(c["statement"], c["held"], c["seeds"]) for c in entry["claims"]] == [
        ("seeds are small", False, 0),
        ("large", True, 3),
        ("does not", True, 0),
    ]
    cells = [replication.cell_name(CELLS[0])] * 2 + [replication.cell_name(CELLS[3])]
    assert [(c["cell"], c["number"]) for c in entry["claims"]] == list(zip(cells, (0, 1, 0), strict=True))
    assert [error.split(":")[0] for error in entry["stopped_cells"]] == ["ResultsError", "NameError"]
    assert (entry["first_seed"], len(entry["date"])) == (1000, 10)
    told = replicate.told(chapters)
    assert f"{replication.FAILED}: seeds are small" in told
    assert f"{replication.HELD}: large" in told
    assert status_page.chapter_records()[0] == []  # the status page's own runs are those with the first seeds

    capsys.readouterr()
    written = file.stat().st_mtime_ns
    assert asyncio.run(replicate.run_all(chapters, 1)) == []
    assert "1 of 1 are known, 0 to execute" in capsys.readouterr().out
    assert file.stat().st_mtime_ns == written
    write_notebook(chapters[0], BEGIN.format("01_a"), CELLS[3], "chapter.finish()")  # edited: anew
    assert not replicate.known(chapters[0])
    assert "other code than today's" in replicate.told(chapters)
    asyncio.run(replicate.run_all(chapters, 1))
    assert [c["statement"] for c in json.loads(file.read_text())["01_a"]["claims"]] == ["does not"]


@pytest.mark.slow
def test_a_chapter_whose_kernel_dies_is_not_written_down(chapters, file):
    write_notebook(chapters[0], BEGIN.format("01_a"), "import os\nos._exit(1)", "chapter.finish()")
    (said,) = asyncio.run(replicate.run_all(chapters, 1))
    assert said.startswith("01_a: ")
    assert not file.exists()
    assert replicate.told(chapters) == f"01_a: {replication.NOT_YET}"


def test_chapters_are_written_one_by_one_beside_each_other(file, tmp_path, monkeypatch):
    monkeypatch.setattr(replicate, "LOGS", tmp_path / "logs")
    replicate.write("02_b", {"claims": []})
    replicate.write("01_a", {"claims": [KNOWN]})
    replicate.write("02_b", {"claims": [KNOWN]})
    assert list(replication.load()) == ["01_a", "02_b"]
    assert replication.found(replication.load(), "02_b", PLACE)["held"]
    assert [path.name for path in tmp_path.glob(".*")] == []


# ---- the status page -------------------------------------------------------------------------------------------------


def test_the_status_page_counts_what_held_again_and_names_what_did_not():
    own = [KNOWN | {"number": number} for number in range(3)] + [CLAIM]  # the last of a run before places were recorded
    statuses = status_page.summarise(
        ["notebooks/01_a", "notebooks/02_b"], [record("01_a", "2026-01-01T00:00:00", True, claims=own)]
    )
    said = {"date": "2026-02-03", "commit": "0123456789abcdef", "claims": [own[0], own[1] | {"held": False}]}
    table = status_page.replication_table(statuses, {"01_a": said})
    rows = [[cell.astext() for cell in row.findall(nodes.entry)] for row in table.findall(nodes.row)]
    assert rows[1][1:] == ["4", "4", "1", "1", "2", "2026-02-03, 0123456789"]
    assert rows[2][1:] == ["–", "–", "0", "0", "0", "not replicated yet"]
    table = status_page.claim_table(statuses, {"01_a": said})
    rows = [row.astext() for row in table.findall(nodes.row)][1:]
    ends = [
        replication.HELD,
        f"{replication.FAILED}: +2.00 [+1.00, +3.00] points",
        replication.NOT_YET,
        replication.NOT_YET,
    ]
    assert all(row.endswith(end) for row, end in zip(rows, ends, strict=True))


def test_runs_with_fresh_seeds_are_not_on_the_status_page(monkeypatch):
    for base in ("0", "1000"):
        monkeypatch.setenv("TL_SEED_BASE", base)
        chapter.begin("01_a")
        chapter.finish()
    found, _ = status_page.chapter_records()
    assert [r["seed_base"] for r in found] == [0]
    assert os.environ["TL_SEED_BASE"] == "1000"
    assert len(replicate._records("01_a")) == 1
