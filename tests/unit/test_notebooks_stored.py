"""How the chapters are stored: stripped, with the parts that every chapter has, and with alt texts for figures."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HEADINGS = [
    "What you will be able to do",
    "Predict first",
    "When it fails",
    "Take-aways",
    "Exercises",
    "At scale",
    "References",
]
FIGURE = re.compile(r"\bplots\.(?!use_style|colours|result_table|number)\w+\(|\bplt\.(subplots|figure|imshow|plot)\(")
NOT_A_FIGURE = {"no-figure", "remove-output", "remove-cell"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> pathlib.Path:
    return request.param


@pytest.fixture
def notebook(path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def prose(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code_cells(notebook) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def code(notebook) -> str:
    return "\n".join(cell.source for cell in code_cells(notebook))


def test_there_are_chapters_and_each_is_in_the_table_of_contents():
    toc = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"file: notebooks/(\S+)", toc)
    assert yaml.safe_load(toc)["root"] == "book/index"
    assert listed == [notebook.stem for notebook in NOTEBOOKS]
    assert listed


def test_stored_without_outputs():
    """`nbstripout --keep-id notebooks/*.ipynb` puts it right."""
    command = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify", *map(str, NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: nbstripout --keep-id notebooks/*.ipynb"


def test_valid_and_for_the_python3_kernel(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))


def test_one_title_and_the_parts_of_a_chapter_in_order(notebook):
    text = re.sub(r"```.*?```", "", prose(notebook), flags=re.DOTALL)
    assert len(re.findall(r"^# ", text, flags=re.MULTILINE)) == 1
    found = [title.strip() for title in re.findall(r"^## (.*)$", text, flags=re.MULTILINE)]
    assert [title for title in found if title in HEADINGS] == HEADINGS


def test_reports_on_itself_under_its_own_name(path, notebook):
    cells = code_cells(notebook)
    first = cells[1].source + "\n" + cells[2].source  # after the installing cell; the imports may have one of their own
    assert re.search(rf"""\bbegin\(["']{path.stem}["']\)""", first), "one of the two code cells after the first"
    assert re.search(r"\bfinish\(\)", cells[-1].source), "last code cell"


def test_checks_a_claim(notebook):
    assert re.search(r"\bclaims\.check\w*\(|\bcheck(_at_least|_close)?\(", code(notebook))


def test_shows_a_live_control(notebook):
    assert re.search(r"\bwidgets\.(explore|FreezeExplorer)\(", code(notebook))


def test_has_exercises_each_with_a_folded_solution(notebook):
    """An exercise directive in prose for each exercise, and code cells marked stub, check and solution."""
    directives = re.findall(r"\{exercise(?:-start)?\}", prose(notebook))
    roles: dict[str, set[str]] = {}
    for cell in code_cells(notebook):
        if mark := cell.metadata.get("exercise"):
            roles.setdefault(mark["id"], set()).add(mark["role"])
            if mark["role"] == "solution":
                assert "hide-cell" in cell.metadata.get("tags", []), f"the solution of {mark['id']} is not folded away"
    assert roles
    assert set(map(frozenset, roles.values())) == {frozenset({"stub", "check", "solution"})}, roles
    assert len(directives) == len(roles)


def test_cites_and_links_terms(notebook):
    text = prose(notebook)
    assert re.search(r"\{cite(:\w+)?\}`", text)
    assert re.search(r"\{term\}`", text)


def test_figures_have_a_text_alternative(notebook):
    """Cells that look as if they drew a figure; the strict build catches those that do not look like it."""
    missing = []
    for cell in code_cells(notebook):
        if FIGURE.search(cell.source) and not NOT_A_FIGURE & set(cell.metadata.get("tags", [])):
            settings = cell.metadata.get("mystnb", {})
            alt = settings.get("image", {}).get("alt", "") or settings.get("figure", {}).get("alt", "")
            if len(alt.split()) < 4:
                missing.append(f"{cell.id}: {cell.source[:80]!r}")
    assert missing == [], "give these cells the metadata " + json.dumps({"mystnb": {"image": {"alt": "..."}}})


def test_no_verdict_is_shown_twice(notebook):
    """A cell that ends in a claim shows it once as its panel, and once more as its value unless a semicolon says no."""
    shown = TransformerManager().transform_cell
    for cell in code_cells(notebook):
        body = ast.parse(shown(cell.source)).body
        last = body[-1] if body else None
        if isinstance(last, ast.Expr) and ast.unparse(last).startswith("claims."):
            assert cell.source.rstrip().endswith(";"), f"{cell.id} ends in a claim: put ; behind it"


def test_no_number_of_a_result_is_typed_into_prose(notebook):
    """Measured percentages come from results; a published one stands next to its citation."""
    text = re.sub(r"```.*?```", "", prose(notebook), flags=re.DOTALL)
    typed = [
        line.strip()
        for line in text.splitlines()
        if re.search(r"\d+\.\d+ ?%", line) and "{cite" not in line and not line.lstrip().startswith("|")
    ]
    assert typed == []


# Comparisons of what two ways compute go through claims.check_same, which computes both in float32 or better.
COMPARISONS = re.compile(
    r"\b(allclose|assert_allclose|assert_array_equal|assert_equal|assert_close)\b|assert .*isclose"
)


def test_comparisons_are_exact_whatever_precision_is_asked_for(notebook):
    loose = [cell.id for cell in code_cells(notebook) if COMPARISONS.search(cell.source)]
    assert loose == [], "compare with claims.check_same(..., lambda: by_hand, lambda: packaged)"


def asserted(source: str) -> Iterator[str]:
    """The source of each assertion and each checked claim of a cell."""
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
        is_check = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("claims.check")
        if is_check or isinstance(node, ast.Assert):
            yield ast.unparse(node)


CLOCK = re.compile(r"seconds|perf_counter|process_time|\btime\.")


def test_no_clock_can_stop_a_chapter(notebook):
    """Other load on a machine must not fail a claim: what is claimed about cost is counted."""
    timed = [text for cell in code_cells(notebook) for text in asserted(cell.source) if CLOCK.search(text)]
    assert timed == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("claims.check_true('a', 3 * seconds[7] < seconds[0])", True),
        ("assert time.time() - start < 2", True),
        ("print(run.seconds)\nclaims.check('a', better=work, worse=other)", False),
    ],
)
def test_clocks_are_found(source, found):
    assert any(CLOCK.search(text) for text in asserted(source)) is found
