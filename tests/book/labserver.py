"""JupyterLab for the tests: a server of its own over a copy of the notebooks, and how to wait for it.

Lab is driven through its own application object, as clicks on the menu can land before the kernel's session is ready.
"""

from __future__ import annotations

import contextlib
import json
import os
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
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address, and the folder of its notebooks (a copy)."""

    address: str
    notebooks: Path

    def open(self, page: Page, name: str) -> None:
        """Open a notebook and wait until its kernel is idle."""
        page.goto(f"{self.address}/lab/tree/notebooks/{name}?reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.evaluate(WAIT_READY)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    with serve(tmp_path_factory.mktemp("lab")) as running:
        yield running


@contextlib.contextmanager
def serve(home: Path) -> Iterator[Lab]:
    """JupyterLab on loopback, over a copy of the notebooks, with folders of its own for settings and runtime."""
    shutil.copytree(ROOT / "notebooks", home / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    # Draw cells that are out of sight too, so that the test can look at them; and do not offer news.
    for plugin, setting in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        file = home / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(setting))
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    port = free_port()
    with (home / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
                *(f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
                *(
                    f"--ServerApp.root_dir={home}",
                    "--LabApp.expose_app_in_browser=True",
                    "--LabApp.news_url=None",
                ),
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status", server, home / "lab.log")
        yield Lab(f"http://127.0.0.1:{port}", home / "notebooks")
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for(address: str, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    """Wait until the server answers; fail with its log if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
