"""What the browser tests share: where the site is, which pages it has, how to wait for one and how to watch it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as BrowserTimeout

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
SCREENSHOTS = ROOT / "_build" / "screenshots"

LAPTOP = {"width": 1300, "height": 900}
PHONE = {"width": 390, "height": 844}

HANDLES = ".cell_output .noUi-handle, .cell_output input[type=range]"
AT_RIGHT_END = """handle => handle.matches('input') ? +handle.value >= +handle.max
    : +handle.getAttribute('aria-valuenow') >= +handle.getAttribute('aria-valuemax')"""
VIEWS = """() => [...document.querySelectorAll('[data-tl-view]')]
    .map(v => [v, ...v.querySelectorAll('*')].map(e => e.getAttribute('aria-label') || '').join('|') + v.textContent)
    .join('\\n')"""


FRONT_DOOR = "index.html"  # nothing but a redirect; leaving it at once aborts what the browser was still asking for


def built_pages() -> list[str]:
    """Every page of the built site as a path below it, or ["(nothing is built)"], so that a missing site fails."""
    pages = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts)
    return [page for page in pages if page != FRONT_DOOR] or ["(nothing is built)"]


def chapter_pages() -> list[str]:
    """The pages of the chapters, one for each notebook in the repository, built or not."""
    return [f"notebooks/{path.stem}.html" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]


@dataclass
class Watch:
    """What a page did that it should not do."""

    problems: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)
        page.on("requestfailed", lambda request: self.problems.append(f"failed request: {request.url}"))
        page.on("response", self._response)

    def _console(self, message) -> None:
        if message.type == "error":
            self.problems.append(f"console error: {message.text}")

    def _request(self, request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
            self.problems.append(f"request to another host: {request.url}")

    def _response(self, response) -> None:
        if response.status >= 400:
            self.problems.append(f"status {response.status}: {response.url}")


def settle(page: Page) -> None:
    """Wait until the page has loaded, the math is set and the widgets are drawn."""
    page.wait_for_load_state("networkidle")
    page.evaluate("async () => { if (window.MathJax?.startup?.promise) await MathJax.startup.promise; }")
    if page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count():
        page.wait_for_selector(".cell_output .jupyter-widgets, .cell_output .lm-Widget", state="attached")


# Two frames are drawn, and every movement that ends has ended (a side bar that slides out, a colour that fades).
STILL = """async () => {
    for (let k = 0; k < 2; k++) await new Promise(drawn => requestAnimationFrame(drawn));
    const ending = document.getAnimations().filter(a => Number.isFinite(a.effect.getComputedTiming().endTime));
    await Promise.allSettled(ending.map(a => a.finished));
}"""


def resize(page: Page, size: dict[str, int]) -> None:
    """Change the window's size, and wait until the page has followed."""
    page.set_viewport_size(size)
    page.wait_for_function("width => innerWidth === width", arg=size["width"])
    page.evaluate(STILL)


def screenshot(page: Page, name: str, full_page: bool = False) -> None:
    """Save what the browser shows, or the page from top to bottom, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)


def move(page: Page, handle: Locator) -> bool:
    """Press an arrow key on a slider's handle; True if the text of a linked view changes."""
    handle.scroll_into_view_if_needed()
    before = page.evaluate(VIEWS)
    handle.focus()
    page.keyboard.press("ArrowLeft" if handle.evaluate(AT_RIGHT_END) else "ArrowRight")
    try:
        page.wait_for_function(f"before => ({VIEWS})() !== before", arg=before)
    except BrowserTimeout:
        return False
    return True
