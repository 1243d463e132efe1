"""A plugin of pytest: what nbval executes goes into the cache that the book is built from, so each chapter runs once.

    PYTHONPATH=book/_tools python -m pytest -p keep --nbval-lax --nbval-current-env notebooks

nbval hears everything that a chapter's kernel says, and drops all but the outputs that it compares. Here nbclient, which
`execute.py` uses, listens as well and makes of it what it always does: outputs, and the state of the widgets. A chapter
is kept when its last cell has passed; of one that fails nothing is kept. One that is there already, computed anew over code
and data as they are now, is left out.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator
from pathlib import Path

import execute
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbval.plugin import IPyNbCell, IPyNbFile
from reach import reach

LISTENER, DONE = pytest.StashKey["Listener"](), pytest.StashKey[set[Path]]()


class Listener:
    """Collects what the kernel of one chapter says, cell by cell.

    Attributes
    ----------
    notebook : nbformat.NotebookNode
        The chapter with the outputs heard so far.
    cells : list of (int, nbformat.NotebookNode)
        Place and content of each code cell.
    passed : int
        How many of them have run without an error.
    """

    def __init__(self, file: IPyNbFile) -> None:
        self.path = Path(file.path)
        self.notebook = copy.deepcopy(file.nb)  # what nbval runs, whatever the file holds by now
        self.reached = REACHED.get(self.path) or reach(self.path)  # a file named by itself is not asked about before
        self.cells = [(place, cell) for place, cell in enumerate(self.notebook.cells) if cell.cell_type == "code"]
        for _, cell in self.cells:
            cell.outputs, cell.execution_count = [], None
        self.passed = 0
        self.start = time.monotonic()
        self.client = NotebookClient(self.notebook, record_timing=False)  # starts no kernel
        self.client.reset_execution_trackers()
        self.speaker = file.kernel.kc
        self._get, file.get_kernel_message = file.get_kernel_message, self.get_kernel_message
        file.kernel.execute_cell_input = self.execute_cell_input
        info = self.speaker.kernel_info(reply=True, timeout=60)
        self.notebook.metadata["language_info"] = info["content"]["language_info"]

    def begin(self, number: int) -> None:
        """What is heard from now on belongs to this code cell."""
        self.place, self.cell = self.cells[number]
        self.client.clear_before_next_output = False  # as nbclient does before each cell

    def execute_cell_input(self, source: str, allow_stdin: bool | None = None) -> str:
        """As nbval does it, but with a history, or IPython would not know of the semicolon that hides a result."""
        return self.speaker.execute(source, allow_stdin=allow_stdin, stop_on_error=False)

    def get_kernel_message(self, timeout: float | None = None, stream: str = "iopub") -> dict:
        """nbval's own question to the kernel, whose answer nbclient hears as well."""
        message = self._get(timeout=timeout, stream=stream)
        with contextlib.suppress(CellExecutionComplete):
            self.client.process_message(message, self.cell, self.place)
        return message

    def keep(self) -> None:
        """Put the chapter into the cache."""
        self.client.set_widgets_metadata()
        execute.store(self.notebook, self.path, time.monotonic() - self.start, self.reached)


REACHED: dict[Path, str] = {}
"""What each chapter reached when it was read."""


def pytest_configure(config: pytest.Config) -> None:
    """The process that hands out the tests decides what is left out, so that all workers collect the same."""
    if hasattr(config, "workerinput"):
        config.stash[DONE] = {Path(name) for name in config.workerinput["done chapters"]}
        return
    folders = [Path(argument) for argument in config.args if Path(argument).is_dir()]
    chapters = {path.resolve() for folder in folders for path in folder.glob("*.ipynb")}
    cache = execute.get_cache(execute.CACHE) if execute.CACHE.exists() else None
    config.stash[DONE] = {path for path in chapters if cache and execute.is_cached(cache, path, anew=True)}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell a worker of xdist."""
    node.workerinput["done chapters"] = [str(path) for path in node.config.stash[DONE]]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is left out."""
    return [f"keep: {path.name} is done; nothing that it reaches has changed" for path in sorted(config.stash[DONE])]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is done."""
    if collection_path.suffix != ".ipynb":
        return None
    if collection_path.resolve() in config.stash[DONE]:
        return True
    REACHED[collection_path] = reach(collection_path)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Listen while a cell runs; after the last one, keep the chapter if all have passed."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    file = item.parent
    if LISTENER not in file.stash:
        file.stash[LISTENER] = Listener(file)
    listener = file.stash[LISTENER]
    listener.begin(item.cell_num)
    result = yield
    listener.passed += 1
    if listener.passed == len(listener.cells):
        listener.keep()
    return result
