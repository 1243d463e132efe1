"""A reader's way through JupyterLab: open a chapter, run it, move its control."""

from __future__ import annotations

import nbformat
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


LABEL_BOX = """
from tl_helpers import widgets, zeroshot

texts = ["two tickets for the cinema, please", "stir the soup and add salt"]
score = lambda names, place: zeroshot.embed_texts(texts[place : place + 1]) @ zeroshot.embed_texts(list(names)).T
widgets.label_box(lambda names, place: score(names, place)[0], ["a film", "a recipe"], texts)
"""


def test_type_class_names_into_the_label_box(lab: Lab, page: Page):
    """Names of one's own are ranked by the kernel; names that cannot be labels get a plain message, not a traceback."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LABEL_BOX)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.notebooks / "labels.ipynb")
    page.set_default_timeout(60_000)
    lab.open(page, "labels.ipynb")
    page.evaluate(RUN_ALL)

    output = page.locator(".jp-OutputArea")
    names, rank = output.locator("textarea"), output.get_by_role("button", name="Rank these names")
    names.wait_for()
    names.fill("a spoon\na train\na movie theatre")
    rank.click()
    output.get_by_text("a movie theatre").first.wait_for()
    answers = output.inner_text()
    assert answers.index("a movie theatre") < answers.index("a spoon")
    screenshot(page, "lab-labels")

    names.fill("a train\na train")
    rank.click()
    output.get_by_text("twice").first.wait_for()
    assert "Traceback" not in output.inner_text()
