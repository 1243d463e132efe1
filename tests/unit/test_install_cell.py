"""Every chapter begins with the cell that installs the book where the notebook is opened on its own."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
import types

import install_cell
import pytest
from IPython.core.interactiveshell import InteractiveShell

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_every_chapter_has_the_cell_with_the_address_of_the_configuration(capsys):
    assert install_cell.main(["--check"]) == 0, capsys.readouterr().out + "run: python book/_tools/install_cell.py"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_comes_before_the_first_import_and_not_into_the_site(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert first["id"] == f"c{path.name.partition('_')[0]}-install"
    assert first["metadata"]["tags"] == ["remove-cell"]


@pytest.fixture
def chapters(tmp_path):
    cells = [
        {"cell_type": "markdown", "id": "c01-000", "metadata": {}, "source": ["# Ö"]},
        {"cell_type": "code", "id": "c01-001", "metadata": {}, "source": ["import x"], "outputs": []},
    ]
    text = json.dumps({"cells": cells, "nbformat": 4}, indent=1, ensure_ascii=False) + "\n"
    (tmp_path / "01_one.ipynb").write_text(text, encoding="utf-8")
    return tmp_path


def test_it_is_written_once_and_follows_the_address(chapters, monkeypatch, capsys):
    path = chapters / "01_one.ipynb"
    before = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert install_cell.main(["--check"], chapters) == 1
    assert "without the cell: 01_one.ipynb" in capsys.readouterr().out
    assert install_cell.main([], chapters) == 0
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [cell["id"] for cell in cells] == ["c01-000", "c01-install", "c01-001"]
    assert [cells[0], cells[2]] == before
    monkeypatch.setattr(install_cell, "address", lambda: "https://example.org/mine")
    assert install_cell.main(["--check"], chapters) == 1
    assert install_cell.main([], chapters) == 0
    text = path.read_text(encoding="utf-8")
    assert text.count("https://example.org/mine") == 1
    assert "Ö" in text
    assert len(json.loads(text)["cells"]) == 3


@pytest.fixture
def asked(monkeypatch):
    """What the cell asks pip for, when it is run by IPython."""
    shell = InteractiveShell()
    lines: list[str] = []
    shell.register_magic_function(lines.append, "line", "pip")

    def run():
        return shell.run_cell(install_cell.SOURCE.format(address="https://example.org/book"))

    return run, lines


def without_the_book(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tl_helpers" else real(name))


def test_where_the_book_is_installed_it_does_nothing(asked, capsys):
    run, lines = asked
    assert run().success
    assert (lines, capsys.readouterr().out) == ([], "")


def test_in_colab_it_installs(asked, monkeypatch):
    run, lines = asked
    without_the_book(monkeypatch)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert run().success
    assert lines == ["install -q git+https://example.org/book"]


def test_elsewhere_it_says_how(asked, monkeypatch):
    run, lines = asked
    without_the_book(monkeypatch)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    with pytest.raises(ImportError, match=r"%pip install git\+https://example\.org/book"):
        run().raise_error()
    assert lines == []
