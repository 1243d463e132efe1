"""The freeze explorer: recorded runs answer in the built site, by keyboard alone; live runs train and stop in JupyterLab."""

from __future__ import annotations

import re

import nbformat
import pytest
from builtsite import Watch, screenshot, settle
from labserver import RUN_ALL, Lab
from playwright.sync_api import Page, expect

from tl_helpers.book import results

pytestmark = pytest.mark.slow

PAGE = "notebooks/05_how_deep_to_freeze.html"

NOTEBOOK = """
import itertools
import numpy as np, pandas as pd
from tl_helpers.book import widgets
from tl_helpers.data import load_task
rows = [{"depth": d, "lr": lr, "labels": n, "seed": s, "validation_accuracy": 60 + d + s}
        for d, lr, n, s in itertools.product(range(10), (1e-4, 1e-3, 1e-2), (600, 1200), (0, 1))]
widgets.FreezeExplorer(pd.DataFrame(rows), load_task("elpv"), size=64)
"""


def tab_to(page: Page, name: str, most: int = 400) -> None:
    """Press Tab until the control with this accessible name has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.getAttribute('aria-label')") == name:
            return
    pytest.fail(f"no way to {name!r} with the Tab key")


def said(page: Page) -> str:
    return page.locator(".tl-map .tl-read").first.text_content()


def test_recorded_runs_answer_without_kernel_network_or_mouse(site: str, page: Page, watch: Watch):
    page.goto(f"{site}/{PAGE}")
    settle(page)
    view = page.locator(".tl-map")
    view.wait_for(timeout=20_000)
    expect(page.get_by_label("freeze depth", exact=True).first).to_be_attached(timeout=10_000)
    assert page.locator(".tl-map button:visible").count() == 0  # nobody there to train: no dead buttons

    frame = results.load("freeze_grid")
    frame = frame[frame["labels"].astype(str) == str(frame["labels"].iloc[0])]
    view.scroll_into_view_if_needed()
    page.evaluate("() => document.querySelector('.tl-explorer .noUi-handle').focus()")
    page.keyboard.press("Shift+Tab")
    for control, key in (("freeze depth", "ArrowRight"), ("learning rate", "ArrowLeft")):
        before = said(page)
        tab_to(page, control)
        page.keyboard.press(key)
        page.wait_for_function(
            "before => document.querySelector('.tl-map .tl-read').textContent !== before", arg=before
        )
        text = said(page)
        depth, rate = int(re.search(r"depth (\d+)", text)[1]), float(re.search(r"rate ([\d.]+),", text)[1])
        cell = frame[(frame["depth"] == depth) & (frame["lr"] == rate)]["validation_accuracy"]
        assert f"{cell.mean():.1f}" in text, text
    screenshot(page, "freeze-explorer")
    assert watch.problems == []


@pytest.fixture
def explorer(lab: Lab, page: Page) -> Page:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK.strip())])
    # Without it, JupyterLab asks which kernel to use, and waits.
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, lab.notebooks / "explorer.ipynb")
    page.set_default_timeout(60_000)
    lab.open(page, "explorer.ipynb")
    page.evaluate(RUN_ALL)
    page.locator(".tl-map button.start").wait_for()
    return page


def test_train_and_stop_in_jupyterlab(explorer: Page):
    page = explorer
    before = said(page)
    for control, key in (("freeze depth", "ArrowRight"), ("learning rate", "ArrowLeft")):
        handle = page.get_by_label(control, exact=True).first
        handle.focus()
        page.keyboard.press(key)
        page.wait_for_function(
            "before => document.querySelector('.tl-map .tl-read').textContent !== before", arg=before
        )
        before = said(page)
    assert page.locator("[data-tl-live]").count() == 0
    assert page.evaluate("() => location.hash") == ""  # the address is JupyterLab's

    page.locator(".tl-map button.start").click()  # benchmarks/live_explorer.py measures how soon it answers
    page.wait_for_function("() => !/trains this setting/.test(document.querySelector('.tl-map .tl-state').textContent)")
    page.locator("[data-tl-points]").wait_for()
    page.locator("[data-tl-live]").wait_for()
    assert re.search(r"Live: \d", said(page))
    screenshot(page, "freeze-explorer-lab")

    # A long run, stopped: nothing is added, and the next one may start.
    page.get_by_label("epochs (live)", exact=True).first.focus()
    page.keyboard.press("End")
    page.locator(".tl-map button.start").click()
    page.wait_for_function("() => /step/.test(document.querySelector('.tl-map .tl-state').textContent)")
    page.locator(".tl-map button.stop").click()
    page.wait_for_function("() => /stopped after \\d/.test(document.querySelector('.tl-map .tl-state').textContent)")
    assert page.locator("[data-tl-live]").count() == 1


def test_the_same_with_the_keyboard_alone(explorer: Page):
    page = explorer
    page.locator(".tl-explorer .noUi-handle").first.focus()
    page.keyboard.press("End")  # only the head trains: quick
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.classList.contains('start')"):
            break
    else:
        pytest.fail("no way to the button with the Tab key")
    page.keyboard.press("Enter")
    page.locator("[data-tl-live]").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.classList.contains('stop')")
