"""JupyterLab for the tests: what `make lab` starts, over a copy of the book, and how to wait for it.

The settings are those of a reader who has just installed the book. Lab is driven through its own application object, as
clicks on the menu can land before the kernel's session is ready.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builtsite import ROOT
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as BrowserTimeout

WAIT_READY = """async () => {
  const app = window.jupyterapp; await app.restored;
  for (let k = 0; k < 300; k++) {
    const w = app.shell.currentWidget;
    if (w && w.sessionContext && w.context && w.context.isReady && w.sessionContext.session
        && w.sessionContext.session.kernel && w.sessionContext.session.kernel.status === 'idle') break;
    await new Promise(r => setTimeout(r, 100));
  }
  const w = app.shell.currentWidget;
  await w.context.ready; await w.sessionContext.ready; await w.sessionContext.session.kernel.info;
}"""
# Open a file in its own view, and have each of its text cells rendered: that happens when their turn comes, so bring each
# one into view and wait for its text.
SHOW = """async path => {
  const app = window.jupyterapp; await app.restored;
  const sleep = ms => new Promise(r => setTimeout(r, ms));
  await app.commands.execute('docmanager:open', { path });
  const shown = () => app.shell.currentWidget?.context?.path === path && app.shell.currentWidget.context.isReady;
  for (let k = 0; k < 600 && !shown(); k++) await sleep(100);
  for (const [place, cell] of app.shell.currentWidget.content.widgets?.entries() ?? []) {
    if (cell.model?.type !== 'markdown' || !cell.model.sharedModel.getSource().trim()) continue;
    await app.shell.currentWidget.content.scrollToItem(place);
    const text = () => cell.node.querySelector('.jp-MarkdownOutput')?.textContent.trim();
    for (let k = 0; k < 600 && !text(); k++) await sleep(50);
    if (!text()) throw new Error('not rendered: ' + cell.model.sharedModel.getSource().slice(0, 80));
  }
}"""
# Close it without the question whether to save it; a notebook's kernel ends, too.
CLOSE = """async () => {
  const { currentWidget } = window.jupyterapp.shell;
  await currentWidget.sessionContext?.ready;
  await currentWidget.sessionContext?.shutdown();
  currentWidget.dispose();
}"""
# The words on the open document as a reader sees them, less code; formulas that are set have no letters of their own.
WORDS = """() => {
  const words = [...window.jupyterapp.shell.currentWidget.node.querySelectorAll('.jp-RenderedMarkdown')].map(node => {
    const copy = node.cloneNode(true);
    copy.querySelectorAll('pre, code, mjx-container').forEach(part => part.remove());
    return copy.textContent;
  });
  return words.join('\\n');
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address, the folder it was started in (a copy of the book), and what it has logged."""

    address: str
    folder: Path
    log: Path

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def workspaces(self) -> Path:
        """Where Lab writes down which files are open."""
        return self.log.parent / "workspaces"

    def enter(self, page: Page, first: str = ".jp-MarkdownViewer h1") -> None:
        """Open JupyterLab as on the first day, and wait for what it shows first: the start page, where it has one."""
        page.goto(f"{self.address}/lab?reset")
        page.locator(f"{first}:visible").first.wait_for()

    def show(self, page: Page, path: str) -> None:
        """Open a chapter or page in the JupyterLab that is already there, with all its text rendered."""
        page.evaluate(SHOW, path)

    def words(self, page: Page) -> str:
        """The words of the open notebook's text cells, or of the open page, once their formulas are set."""
        with contextlib.suppress(BrowserTimeout):  # the test will say what was not
            page.wait_for_function(f"() => !({WORDS})().includes('$')", timeout=20_000)
        return page.evaluate(WORDS)

    def open(self, page: Page, name: str) -> None:
        """Open a notebook and wait until its kernel is idle."""
        page.goto(f"{self.address}/lab/tree/notebooks/{name}?reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.evaluate(WAIT_READY)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def make_lab() -> list[str]:
    """The command that `make lab` runs, as make itself says it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    said = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "lab", f"VENV={sys.prefix}"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return shlex.split(said.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[Lab]:
    with serve(tmp_path_factory.mktemp("lab")) as running:
        yield running


@contextlib.contextmanager
def serve(home: Path, start_in: str = ".") -> Iterator[Lab]:
    """What `make lab` starts, on loopback, in a copy of the book (or a folder of it) and for a reader with no settings.

    The only flags are about where it listens, and one that lets the tests reach the application. The server and its
    kernels may not open a connection that leaves this machine.
    """
    clone = home / "book"
    ours = shutil.ignore_patterns(".ipynb_checkpoints", "vendor", "__pycache__")
    for folder in ("notebooks", "book"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=ours)
    shutil.copy(ROOT / "_config.yml", clone)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "no_network"), os.environ.get("PYTHONPATH", "")]),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    port = free_port()
    with (home / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [
                *make_lab(),
                *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
                *("--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"),
            ],
            cwd=clone / start_in,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status", server, home / "lab.log")
        yield Lab(f"http://127.0.0.1:{port}", clone, home / "lab.log")
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for(address: str, server: subprocess.Popen, log: Path, seconds: float = 120) -> None:
    """Wait until the server answers; fail with its log if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
