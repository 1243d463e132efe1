"""Each chapter's controls answer in the built book: no kernel, no network."""

from __future__ import annotations

import pytest
from builtsite import HANDLES, Watch, chapter_pages, move, screenshot
from playwright.sync_api import Page

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", chapter_pages())
def test_every_slider_changes_its_view(site: str, page: Page, watch: Watch, path: str):
    page.goto(f"{site}/{path}")
    page.locator("[data-tl-view]").first.wait_for(timeout=20_000)
    handles = page.locator(HANDLES)
    handles.first.wait_for(timeout=20_000)
    dead = [k for k in range(handles.count()) if not move(page, handles.nth(k))]
    # Nobody there to compute: no button that would do nothing, and no talk of a kernel that is gone.
    assert page.locator(".tl-run button:visible, .tl-kernel:visible").count() == 0
    handles.first.scroll_into_view_if_needed()
    screenshot(page, f"control-{path.removeprefix('notebooks/').removesuffix('.html')}")
    assert dead == [], f"sliders (counted from 0) that move nothing, of {handles.count()}"
    assert watch.problems == []
