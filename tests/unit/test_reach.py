"""What a chapter or a test reaches: an edit that can change what it shows or finds makes it run again, and no other."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import reach

FILES = {
    "pyproject.toml": "[tool.pytest.ini_options]\ntestpaths = ['tests']\n",
    "README.md": "Read me.\n",
    "tl_helpers/__init__.py": "",
    "tl_helpers/top.py": '"""On top."""\nfrom tl_helpers import middle\n\ndef f():\n    """F."""\n    return middle.g()\n',
    "tl_helpers/middle.py": "def g():\n    from tl_helpers.bottom import RATE\n    return RATE\n",
    "tl_helpers/bottom.py": 'RATE = 0.1  # of what\n"""A rate."""\n',
    "tl_helpers/other.py": "ELSE = 1\n",
    "tl_helpers/book/__init__.py": "",
    "tl_helpers/book/results/grid.csv": "depth,accuracy\n1,90\n",
    "tl_helpers/book/results/grid.json": '{"seconds": 90}',
    "tl_helpers/book/results/unread.csv": "depth,accuracy\n1,90\n",
    "tl_helpers/book/exercises/__init__.py": "",
    "tl_helpers/book/exercises/ch01.py": "MISTAKE = 1\n",
    "tl_helpers/book/exercises/ch02.py": "MISTAKE = 1\n",
    "tl_helpers/book/quizzes/ch01.toml": "ask = 'What?'\n",
    "tl_helpers/book/quizzes/ch02.toml": "ask = 'What?'\n",
    "tests/conftest.py": "import pytest\n",
    "tests/__init__.py": "",
    "tests/unit/__init__.py": "",
    "tests/unit/small.py": "LITTLE = 0.1\n",
    "tests/unit/test_top.py": (
        "from tl_helpers import top\nfrom .small import LITTLE\n\ndef test_f():\n    assert top.f() == LITTLE\n"
    ),
    "tests/unit/test_other.py": "from tl_helpers.other import ELSE\n\ndef test_else():\n    assert ELSE == 1\n",
    "tests/unit/test_pages.py": "import tl_helpers\n\ndef test_nothing():\n    assert tl_helpers.__file__\n",
    "tests/unit/test_like_pages.py": "from tests.unit.test_pages import test_nothing\n",
}
CHAPTER = ["%matplotlib inline\nfrom tl_helpers.top import f", "!ls", "f('grid')"]


@pytest.fixture
def repository(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    cells = [nbformat.v4.new_code_cell(source) for source in CHAPTER] + [nbformat.v4.new_markdown_cell("Words.")]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "01_one.ipynb")
    return tmp_path


def edit(root: Path, name: str, before: str, after: str) -> None:
    text = (root / name).read_text()
    assert before in text
    (root / name).write_text(text.replace(before, after))


EDITS = [  # file, before, after, and who has to run again
    ("tl_helpers/top.py", '"""F."""', '"""Another docstring."""', ""),
    ("tl_helpers/top.py", '"""On top."""', "", ""),
    ("tl_helpers/bottom.py", "# of what", "# of steps", ""),
    ("tl_helpers/bottom.py", "0.1", "0.2", "chapter top"),
    ("tl_helpers/middle.py", "return RATE", "return 2 * RATE", "chapter top"),
    ("tl_helpers/__init__.py", "", "X = 1", "chapter top other"),
    ("tl_helpers/other.py", "ELSE = 1", "ELSE = 2", "other"),
    ("tl_helpers/book/results/grid.csv", "90", "91", "chapter"),
    ("tl_helpers/book/results/unread.csv", "90", "91", ""),
    ("tl_helpers/book/exercises/ch01.py", "1", "2", "chapter"),
    ("tl_helpers/book/exercises/ch02.py", "1", "2", ""),
    ("tl_helpers/book/quizzes/ch01.toml", "What?", "Which?", "chapter"),
    ("tl_helpers/book/quizzes/ch02.toml", "What?", "Which?", ""),
    ("notebooks/01_one.ipynb", "Words.", "Other words.", ""),
    ("notebooks/01_one.ipynb", "!ls", "!pwd", "chapter"),
    ("tl_helpers/bottom.py", "A rate.", "The rate.", ""),
    ("tl_helpers/book/results/grid.json", "90", "91", "chapter"),
    ("pyproject.toml", "testpaths", "addopts = ''\ntestpaths", "chapter top other"),
    ("tests/unit/small.py", "0.1", "0.10001", "top"),
    ("tests/conftest.py", "import pytest", "import pytest, os", "top other"),
    ("tests/unit/test_other.py", "== 1", "<= 1", "other"),
    ("README.md", "Read me.", "Read it.", ""),
]


@pytest.mark.parametrize(("name", "before", "after", "again"), EDITS)
def test_an_edit_reaches_those_whose_results_it_can_change(repository, name, before, after, again):
    files = {
        "chapter": repository / "notebooks" / "01_one.ipynb",
        "top": repository / "tests" / "unit" / "test_top.py",
        "other": repository / "tests" / "unit" / "test_other.py",
    }
    first = {who: reach.reach(path, repository) for who, path in files.items()}
    assert first == {who: reach.reach(path, repository) for who, path in files.items()}
    wide = [repository / "tests" / "unit" / name for name in ("test_pages.py", "test_like_pages.py")]
    looking = [reach.reach(path, repository) for path in wide]
    edit(repository, name, before, after)
    changed = {who for who, path in files.items() if reach.reach(path, repository) != first[who]}
    assert changed == set(again.split())
    assert not set(looking) & {reach.reach(path, repository) for path in wide}  # they may read any file


def test_other_settings_and_other_versions_reach_a_chapter(repository, monkeypatch):
    chapter = repository / "notebooks" / "01_one.ipynb"
    found = {reach.reach(chapter, repository)}
    monkeypatch.setenv("TL_CLAIMS", "record")
    found.add(reach.reach(chapter, repository))
    monkeypatch.setenv("TL_SEED_BASE", "1000")
    found.add(reach.reach(chapter, repository))
    monkeypatch.setattr(reach, "_installed", lambda: "torch 99")
    found.add(reach.reach(chapter, repository))
    assert len(found) == 4


def test_fresh_seeds_and_what_they_said_reach_those_who_show_it(repository, monkeypatch):
    """Recorded fresh seeds reach a chapter that is replicated, and what came of it the chapter as it is read."""
    results, file = repository / "tl_helpers/book/results", repository / "notebooks/01_one.ipynb"
    edits = {
        "grid.seeds1000.csv": ("depth,accuracy\n1,90\n", {"1000"}),
        "unread.seeds1000.csv": ("depth,accuracy\n1,90\n", set()),
        "replication.json": ('{"02_two": {"claims": [{"held": true}]}}', set()),
        "./replication.json": ('{"01_one": {"date": "today", "claims": [{"held": true}]}}', {"0"}),
        ".//replication.json": ('{"01_one": {"date": "tomorrow", "claims": [{"held": true}]}}', set()),
        "grid.csv": ("depth,accuracy\n1,91\n", {"0", "1000"}),
    }

    def reached() -> dict[str, str]:
        found = {}
        for base in ("0", "1000"):
            monkeypatch.setenv("TL_SEED_BASE", base)
            found[base] = reach.reach(file, repository)
        return found

    for name, (text, again) in edits.items():
        before = reached()
        (results / name).write_text(text)
        after = reached()
        assert {base for base in before if before[base] != after[base]} == again, name


def test_a_file_that_is_not_added_yet_and_one_that_is_no_python_yet_are_reached(repository):
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    subprocess.run(["git", "add", "README.md"], cwd=repository, check=True)
    wide = repository / "tests" / "unit" / "test_pages.py"
    found = {reach.reach(wide, repository)}
    reach._all_files.cache_clear()
    (repository / "notes é.md").write_text("new")
    found.add(reach.reach(wide, repository))
    (repository / "tl_helpers" / "other.py").write_text("ELSE = (")
    found.add(reach.reach(repository / "tests" / "unit" / "test_other.py", repository))
    assert len(found) == 3
    reach._all_files.cache_clear()


def run_tests(root: Path, *arguments: str) -> tuple[int, str]:
    """pytest with the plugin, both tools lying in this repository."""
    path = os.pathsep.join([str(root / "book" / "_tools"), str(root)])
    plugins = ["-p", "xdist.plugin", "-p", "passed", "-p", "no:cacheprovider"]  # no others: they take seconds to load
    command = [sys.executable, "-m", "pytest", *plugins, *arguments]
    settings = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=root, env=settings, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_what_passed_runs_again_only_if_an_edit_reaches_it(repository, workers):
    (repository / "tests" / "unit" / "test_like_pages.py").unlink()
    for tool in ("reach.py", "passed.py"):
        (repository / "book" / "_tools").mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(reach.__file__).parent / tool, repository / "book" / "_tools")
    everything = ["tests", *workers]
    code, said = run_tests(repository, *everything)
    assert (code, "3 passed" in said) == (0, True), said
    code, said = run_tests(repository, *everything)
    assert code == 0, said
    assert "3 of 3 test files have passed" in said
    assert " passed in" not in said
    edit(repository, "tl_helpers/other.py", "ELSE = 1", "ELSE = 2")
    for _ in range(2):  # what fails is not remembered
        code, said = run_tests(repository, *everything)
        assert (code, "1 failed" in said) == (1, True), said
    assert run_tests(repository, *everything, "-k", "nothing_such")[0] in (0, 5)  # a part is not the whole
    code, said = run_tests(repository, *everything)
    assert (code, "1 failed" in said) == (1, True), said
    edit(repository, "tl_helpers/other.py", "ELSE = 2", "ELSE = 1")
    code, said = run_tests(repository, *everything)
    assert (code, "passed" in said, "failed" in said) == (0, True, False), said


def test_processes_started_in_different_ways_agree(tmp_path):
    """nbval's process has the checkout on its path and finds the package there, too; that of execute.py has not."""
    tools, checkout = Path(reach.__file__).parent, tmp_path / "checkout"
    mine = next(found for found in importlib.metadata.distributions() if found.name == "transfer-learning-book")
    (checkout / "transfer_learning_book.egg-info").mkdir(parents=True)
    (checkout / "transfer_learning_book.egg-info" / "PKG-INFO").write_text(
        f"Metadata-Version: 2.1\nName: {mine.name}\nVersion: {mine.version}\n"
    )
    code = "import sys; sys.path[:0] = sys.argv[1:]; import reach; print(reach._installed())"
    said = {
        subprocess.run([sys.executable, "-c", code, *path], capture_output=True, text=True, check=True).stdout
        for path in ([str(tools)], [str(tools), str(checkout)])
    }
    assert len(said) == 1
    assert mine.name in said.pop()
