"""A reader's way through JupyterLab: open a chapter, run it, move its control."""

from __future__ import annotations

import pytest
from builtsite import VIEWS, move, screenshot
from labserver import CELLS, RUN_ALL, Lab
from playwright.sync_api import Page

pytestmark = pytest.mark.slow

CHAPTER = "03_feature_extraction.ipynb"


def test_open_run_and_move_a_control(lab: Lab, page: Page):
    page.set_default_timeout(60_000)
    lab.open(page, CHAPTER)
    page.evaluate(RUN_ALL)

    cells = page.evaluate(CELLS)
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    errors = [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    assert errors == [], "\n".join(errors[0]["traceback"])
    assert all(cell["execution_count"] for cell in code), "some cells did not run"

    handle = page.locator(".jp-OutputArea .noUi-handle, .jp-OutputArea input[type=range]").first
    handle.wait_for()
    page.locator(".jp-OutputArea [data-tl-view]").first.wait_for()
    before = page.evaluate(VIEWS)
    assert move(page, handle), "the control changed nothing"
    assert page.evaluate(VIEWS) != before
    handle.scroll_into_view_if_needed()
    screenshot(page, "lab")
