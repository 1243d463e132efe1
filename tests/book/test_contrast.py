"""Texts in the outputs of chapters, above all in controls, can be read in light and in dark mode: contrast 4.5 : 1 at least.

`contrast.js` looks up what lies behind each text on the screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builtsite import DESKTOP, chapter_pages, screenshot, settle
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
CONTROLS = ".cell_output .tl-control"
BOXES = ".cell_output :is(.tl-feedback, .tl-claim, table)"


@pytest.fixture(params=["light", "dark"])
def themed(request, browser: Browser) -> Iterator[Page]:
    """A page in one of the two modes, as the reader's system asks for it."""
    context = browser.new_context(viewport=DESKTOP, color_scheme=request.param, reduced_motion="reduce")
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.mode = request.param
    yield page
    context.close()


def told(found: list[dict]) -> list[str]:
    return [f"{one['text']!r}: {one['ratio']} ({one['ink']} on {one['paper']}, {one['where']})" for one in found]


@pytest.mark.parametrize("path", chapter_pages())
def test_outputs_can_be_read_in_both_modes(site: str, themed: Page, path: str):
    page = themed
    page.goto(f"{site}/{path}")
    settle(page)
    page.locator("[data-tl-view]").first.wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.tl-control')].every(c => c.querySelector('.widget-label, .tl-figure svg'))"
    )
    assert page.evaluate("() => document.documentElement.dataset.theme") == page.mode
    controls = page.evaluate(CONTRAST, CONTROLS)
    assert controls["looked"] > 5, "no text was found in any control"
    boxes = page.evaluate(CONTRAST, BOXES)
    page.locator(CONTROLS).first.scroll_into_view_if_needed()
    screenshot(page, f"contrast-{page.mode}-{path.removeprefix('notebooks/').removesuffix('.html')}")
    assert told(controls["found"] + boxes["found"]) == []


UNREADABLE = """
<div class="cell_output" style="background:#ced6dd"><p style="color:#ced6dd">same</p><p style="color:#000">fine</p>
<svg width="200" height="40"><rect width="200" height="40" fill="#222"/><text x="10" y="25" fill="#000">on a bar</text></svg>
<svg width="200" height="40"><rect width="200" height="40" fill="#222"/><text x="10" y="25" fill="#fff">white</text></svg>
<div style="opacity:.4"><p style="color:#000;background:#fff">faint</p></div><p style="display:none;color:#ced6dd">none</p>
<select style="color:#999;background:#aaa"><option>chosen</option></select></div>
"""


def test_what_cannot_be_read_would_be_found(page: Page):
    page.set_content(UNREADABLE)
    found = page.evaluate(CONTRAST, ".cell_output")
    assert {one["text"] for one in found["found"]} == {"same", "on a bar", "faint", "chosen"}
    assert found["looked"] == 6
