"""An installed copy of the book, as in Colab: a wheel in an environment of its own, used far from the repository.

The environment borrows the packages that are installed here, but not the book: a path in a `.pth` file brings packages,
not the editable installation, whose own `.pth` file is only read in the folder where it lies.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tl_helpers import data, runtime
from tl_helpers.data import sentiment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHAPTER = "08_when_transfer_hurts.ipynb"  # reads recorded grids, and is quick for a chapter
GUARD = ROOT / "tests" / "no_network" / "sitecustomize.py"


@dataclass(frozen=True)
class Installed:
    """An environment with the book in it, and a folder to work in."""

    python: Path
    packages: Path
    desk: Path

    def environment(self, **more: str) -> dict[str, str]:
        """This process's, without a way back to the repository or to what the reader of this machine has set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TL_", "JUPYTER"))}
        kept |= {"TL_CACHE": str(self.desk / "cache"), "TL_THREADS": "1", "OMP_NUM_THREADS": "1", "TL_PROGRESS": "0"}
        for name in ("CONFIG", "DATA", "RUNTIME"):
            kept[f"JUPYTER_{name}_DIR"] = str(self.desk / "jupyter" / name)
        return kept | {"IPYTHONDIR": str(self.desk / "ipython")} | more

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Call its Python."""
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=self.desk,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )

    def answer(self, code: str, **environment: str) -> dict:
        """What `code` leaves in `found`, handed over in a file."""
        script, answer = self.desk / "script.py", self.desk / "answer.json"
        answer.unlink(missing_ok=True)
        script.write_text(
            f"import json\nfrom pathlib import Path\n{textwrap.dedent(code)}\n"
            f"Path({str(answer)!r}).write_text(json.dumps(found))\n"
        )
        done = self.run(str(script), **environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return json.loads(answer.read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built with no network from a copy of the sources (a build leaves folders behind)."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    for folder in ROOT.glob("tl_*"):
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(built), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Installed:
    home, desk = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("desk")
    venv.create(home, with_pip=False)
    paths = sysconfig.get_paths(scheme="venv", vars={"base": str(home), "platbase": str(home)})
    python, packages = Path(paths["scripts"], Path(sys.executable).name), Path(paths["purelib"])
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (packages / "borrowed.pth").write_text("\n".join(dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))))
    shutil.copy(GUARD, packages)  # every socket that leaves this machine is refused there, too
    return Installed(python, packages, desk)


def test_it_is_the_installed_copy_that_is_tested(installed):
    found = installed.answer("import tl_helpers, sitecustomize; found = [tl_helpers.__file__, sitecustomize.__file__]")
    assert all(Path(file).is_relative_to(installed.packages) for file in found), found
    assert not Path(found[0]).is_relative_to(ROOT)


def test_every_recorded_study_is_there(installed):
    """With its notes, every cell in its grid, the same bytes as in the repository."""
    found = installed.answer("""
        from tl_helpers.book import results
        from tl_helpers.book.studies.catalogue import STUDIES
        found = {name: [len(results.load(name)), len(results.recorded(study)), results.facts(name)["cells_done"]]
                 for name, study in STUDIES.items()}
    """)
    from tl_helpers.book.studies.catalogue import STUDIES

    assert set(found) == set(STUDIES)
    assert all(rows == cells == noted > 0 for rows, cells, noted in found.values()), found
    here = {path.name: path.read_bytes() for path in (ROOT / "tl_helpers/book/results").iterdir()}
    there = {path.name: path.read_bytes() for path in (installed.packages / "tl_helpers/book/results").iterdir()}
    assert there == here


def test_every_backbone_and_exercise_is_there_and_the_widgets_have_their_files(installed):
    found = installed.answer("""
        import tl_helpers
        from tl_helpers import models
        from tl_helpers.book import exercises, quiz, widgets
        loaded = {}
        for name in models.PACKAGED:
            try:
                loaded[name] = bool(models.load_backbone(name))
            except ValueError as problem:  # these have none
                assert "no pre-trained weights" in str(problem), problem
                loaded[name] = not models.load_backbone(name, pretrained=False)
        front = {path.name for path in (Path(tl_helpers.__file__).parent / "book" / "_widgets").iterdir()}
        found = {"backbones": loaded, "exercises": sorted(exercises.registered()), "front": sorted(front),
                 "quizzes": sorted(path.name for path in quiz.FOLDER.iterdir()),
                 "imagenet": len(models.load_imagenet_classifier().state_dict())}
    """)
    from tl_helpers import models
    from tl_helpers.book import exercises, quiz

    assert found["quizzes"] == sorted(path.name for path in quiz.FOLDER.iterdir())
    assert set(found["backbones"]) == set(models.PACKAGED)
    assert [name for name, trained in found["backbones"].items() if trained] == ["efficientnet_lite0", "minilm"]
    assert found["imagenet"] > 100
    assert found["exercises"] == sorted(exercises.registered())
    assert len(found["exercises"]) > 13
    assert found["front"] == sorted(path.name for path in (ROOT / "tl_helpers" / "book" / "_widgets").iterdir())
    assert {".js", ".css"} <= {Path(name).suffix for name in found["front"]}


def test_every_packaged_task_loads(installed):
    """With the sentences, as after the one command."""
    found = installed.answer(
        """
        from tl_helpers.data import PACKAGED, load_meta_task, load_task
        found = {name: len(load_task(name, seed=0).splits["train"]) for name in PACKAGED}
        found["glyphs"] = len(load_meta_task("glyphs").splits["test"])
        """,
        TL_SENTIMENT=str(sentiment.archive()),
    )
    assert set(found) == {*data.PACKAGED, "glyphs"}
    assert all(number > 10 for number in found.values()), found


def test_without_the_sentences_their_tasks_name_the_one_command(installed):
    found = installed.answer("""
        from tl_helpers.data import TaskError, load_task, sentiment
        found = {}
        for name in sentiment.FILES:
            try:
                load_task(name, seed=0)
            except TaskError as problem:
                found[name] = str(problem)
    """)
    assert set(found) == set(sentiment.FILES)
    for message in found.values():
        assert re.search(r"python -m tl_helpers\.data\.sentiment$", message)


def test_the_one_command_keeps_the_sentences_where_the_installed_copy_finds_them(installed):
    """pip is pointed at a folder that has the file, as if it had a network."""
    shelf = installed.desk / "shelf"
    shelf.mkdir()
    shutil.copy(sentiment.archive(), shelf / f"{sentiment.PACKAGE}-{sentiment.VERSION}.tar.gz")
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_NO_BUILD_ISOLATION": "0"}
    done = installed.run("-m", "tl_helpers.data.sentiment", **index)
    assert done.returncode == 0, done.stderr
    kept = installed.packages.parents[2] / "share" / "tl_helpers"
    try:
        assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in kept.iterdir()] == [sentiment.SHA256]
        code = "from tl_helpers.data import load_task; found = len(load_task('film').splits['train'])"
        assert installed.answer(code) > 10
    finally:
        shutil.rmtree(kept)


def test_recording_says_that_this_is_no_checkout(installed):
    before = {path.name: path.stat().st_mtime_ns for path in (installed.packages / "tl_helpers/book/results").iterdir()}
    done = installed.run("-m", "tl_helpers.book.studies", "freeze_grid", "--workers", "1", "--limit", "1")
    assert done.returncode == 1
    assert "This copy of the book is installed" in done.stderr
    assert "--folder" in done.stderr
    assert "Traceback" not in done.stderr
    after = {path.name: path.stat().st_mtime_ns for path in (installed.packages / "tl_helpers/book/results").iterdir()}
    assert after == before


def test_a_chapter_with_recorded_grids_runs_from_top_to_bottom(installed):
    """Downloaded alone, in a kernel of the environment; every claim holds. It reads the store of this machine."""
    shutil.copy(ROOT / "notebooks" / CHAPTER, installed.desk)
    found = installed.answer(
        f"""
        import nbformat
        from nbclient import NotebookClient
        notebook = nbformat.read({CHAPTER!r}, as_version=4)
        assert any("results." in cell.source for cell in notebook.cells if cell.cell_type == "code")
        notebook.cells.append(nbformat.v4.new_code_cell("print(__import__('tl_helpers').__file__)"))
        NotebookClient(notebook, timeout=3000, startup_timeout=600, kernel_name="python3").execute()
        said = [output.get("text", "") for cell in notebook.cells[-2:] for output in cell.outputs]
        found = {{"chapter": said[0], "file": said[-1].strip()}}
        """,
        TL_CACHE=str(runtime.current().cache_dir),
        TL_SENTIMENT=str(sentiment.archive()),
    )
    assert Path(found["file"]).is_relative_to(installed.packages)
    held, claims = map(int, re.search(r"(\d+) of (\d+) claims held", found["chapter"]).groups())
    assert held == claims > 0
