"""What a chapter or a test reaches: an edit that can change what it shows or finds makes it run again, and no other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import reach

FILES = {
    "constraints.txt": "torch==2.14.1\n",
    "README.md": "Read me.\n",
    "tl_helpers/__init__.py": "",
    "tl_helpers/top.py": '"""On top."""\nfrom tl_helpers import middle\n\ndef f():\n    """F."""\n    return middle.g()\n',
    "tl_helpers/middle.py": "def g():\n    from tl_helpers.bottom import RATE\n    return RATE\n",
    "tl_helpers/bottom.py": "RATE = 0.1  # of what\n",
    "tl_helpers/other.py": "ELSE = 1\n",
    "tl_helpers/book/__init__.py": "",
    "tl_helpers/book/results/grid.csv": "depth,accuracy\n1,90\n",
    "tl_helpers/book/results/unread.csv": "depth,accuracy\n1,90\n",
    "tl_helpers/book/exercises/__init__.py": "",
    "tl_helpers/book/exercises/ch01.py": "MISTAKE = 1\n",
    "tl_helpers/book/exercises/ch02.py": "MISTAKE = 1\n",
    "tests/conftest.py": "import pytest\n",
    "tests/unit/test_top.py": "from tl_helpers import top\n\ndef test_f():\n    assert top.f() == 0.1\n",
    "tests/unit/test_other.py": "from tl_helpers.other import ELSE\n\ndef test_else():\n    assert ELSE == 1\n",
    "tests/unit/test_pages.py": "ROOT = __file__\n\ndef test_nothing():\n    pass\n",
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
    ("notebooks/01_one.ipynb", "Words.", "Other words.", ""),
    ("notebooks/01_one.ipynb", "!ls", "!pwd", "chapter"),
    ("constraints.txt", "2.14.1", "2.14.2", "chapter top other"),
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
    looking = reach.reach(repository / "tests" / "unit" / "test_pages.py", repository)
    edit(repository, name, before, after)
    changed = {who for who, path in files.items() if reach.reach(path, repository) != first[who]}
    assert changed == set(again.split())
    assert looking != reach.reach(repository / "tests" / "unit" / "test_pages.py", repository)  # it may read any file


def run_tests(root: Path, *arguments: str) -> tuple[int, str]:
    """pytest with the plugin, both tools lying in this repository."""
    path = os.pathsep.join([str(root / "book" / "_tools"), str(root)])
    command = [sys.executable, "-m", "pytest", "-p", "passed", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_what_passed_runs_again_only_if_an_edit_reaches_it(repository, workers):
    (repository / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
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
    edit(repository, "tl_helpers/other.py", "ELSE = 2", "ELSE = 1")
    assert run_tests(repository, "tests", "-k", "nothing_such")[0] in (0, 5)  # a part is not the whole
    code, said = run_tests(repository, *everything)
    assert (code, "passed" in said, "failed" in said) == (0, True, False), said
