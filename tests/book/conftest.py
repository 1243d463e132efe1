"""Fixtures for the tests of the built site: a local server, and Chromium with the network blocked."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator

import pytest
from builtsite import HTML, LAPTOP, PHONE, Watch
from labserver import lab  # noqa: F401 (a fixture)
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # the network is blocked, loopback is not
]


PATIENCE = 120_000  # milliseconds: what does not come at all must fail, what comes late on a busy machine must not


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built site, served on loopback."""
    if not (HTML / "index.html").exists():
        pytest.fail("there is no built book in _build/html: run `make book` first")
    handler = functools.partial(QuietHandler, directory=str(HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def chromium_path() -> str:
    """The system's Chromium: $CHROMIUM, or the first of the usual names on PATH."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome", "chrome"]
    for name in filter(None, names):
        if path := shutil.which(name):
            return path
    pytest.fail("no Chromium found: install the package `chromium`, or name the program in the variable CHROMIUM")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path(),
            args=CHROMIUM_FLAGS,
            ignore_default_args=["--hide-scrollbars"],  # as readers see it
        )
        yield chromium
        chromium.close()


@contextlib.contextmanager
def fresh_page(browser: Browser, **options) -> Iterator[Page]:
    """A page in a context of its own."""
    context = browser.new_context(**{"color_scheme": "light", "reduced_motion": "reduce"} | options)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page as wide as a small laptop, in light mode."""
    with fresh_page(browser, viewport=LAPTOP) as page:
        yield page


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """A page on a phone with a touch screen, in light mode."""
    with fresh_page(browser, viewport=PHONE, is_mobile=True, has_touch=True) as page:
        yield page


@pytest.fixture
def dark_phone(browser: Browser) -> Iterator[Page]:
    """The same, for a reader whose system is dark."""
    with fresh_page(browser, viewport=PHONE, is_mobile=True, has_touch=True, color_scheme="dark") as page:
        yield page


@pytest.fixture
def watch(page: Page) -> Watch:
    """The watch on `page`, attached before anything is loaded."""
    watch = Watch()
    watch.attach(page)
    return watch
