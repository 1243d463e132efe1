"""Stopping in JupyterLab: live runs, controls whose kernel is busy, interrupted or gone, an exercise that does not end."""

from __future__ import annotations

import re
import time

import nbformat
import pytest
from builtsite import STILL, screenshot
from labserver import RUN_ALL, Lab
from measures import faint
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.slow

GRID = """
import itertools, os, time
import pandas as pd
from tl_helpers.book import widgets
from tl_helpers.data import load_task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, fit

task = load_task("optdigits").few_labels(200)
epochs = 500

def live(labels):  # tells nothing on its way
    model = Classifier(load_backbone("efficientnet_lite0"), len(task.classes))
    fit(model, task.samples("train", 64), None, Recipe(epochs=epochs, batch_size=16), name="live", fresh=True)
    return 50.0

frame = pd.DataFrame({"method": "m", "labels": [10, 20, 30], "accuracy": [50.0, 60.0, 70.0]})
widgets.explore(frame, {"labels": "labels"}, live=live)
"""
FREEZE = """
rows = [{"depth": d, "lr": lr, "labels": n, "seed": s, "validation_accuracy": 60 + d + s}
        for d, lr, n, s in itertools.product(range(10), (1e-4, 1e-3, 1e-2), (1000, 1200), (0, 1))]
widgets.FreezeExplorer(pd.DataFrame(rows), load_task("elpv"), size=64, recipe=Recipe(epochs=8, batch_size=8))
"""
BOX = """
widgets.label_box(lambda names, place: [len(name) for name in names], ["cat", "horse"], ["which is longer?"])
"""
RUNNING = re.compile(r"epoch \d|labels = ")
RESTARTED = "The kernel was restarted: run this cell again."
SESSION = "window.jupyterapp.shell.currentWidget.sessionContext"
KERNEL = f"{SESSION}.session.kernel"
EXECUTE = f"code => {{ window.tlDone = {KERNEL}.requestExecute({{ code }}).done.then(() => true); }}"


class Control:
    """The buttons and the line of one view."""

    def __init__(self, page: Page, view: str) -> None:
        self.page, self.view = page, page.locator(view)
        self.start, self.stop = self.view.locator("button.start"), self.view.locator("button.stop")
        self.line, self.read = self.view.locator(".tl-state"), self.view.locator(".tl-read")

    def says(self, words: str | re.Pattern[str], seconds: float = 30) -> float:
        """Wait until the line holds these words; the seconds that took."""
        began = time.monotonic()
        expect(self.line).to_contain_text(words, timeout=1000 * seconds)
        return time.monotonic() - began

    def run(self) -> None:
        """Start a run and wait until the kernel has begun it."""
        expect(self.start).to_have_attribute("aria-disabled", "false", timeout=60_000)
        self.start.click()
        expect(self.stop).to_have_attribute("aria-disabled", "false", timeout=60_000)
        self.says(RUNNING, 60)

    def is_dead(self, words: str) -> None:
        self.says(words)
        for button in (self.start, self.stop):
            expect(button).to_have_attribute("aria-disabled", "true")
        expect(self.view.locator("progress:visible")).to_have_count(0)
        before = self.line.text_content()
        self.start.dispatch_event("click")  # the browser's driver itself would wait until the button works
        self.page.wait_for_timeout(1500)
        assert self.line.text_content() == before  # neither a clock that runs on nor a promise


@pytest.fixture
def opened(lab: Lab, page: Page) -> Page:
    """The three controls in one notebook, each answered by its kernel."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in (GRID, FREEZE, BOX)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, lab.notebooks / "controls.ipynb")
    page.set_default_timeout(240_000)
    lab.open(page, "controls.ipynb")
    page.evaluate(RUN_ALL)
    for view in (".tl-bars", ".tl-map"):
        page.locator(f"{view} button.start").wait_for()
    page.locator(".tl-label-box textarea").wait_for()
    return page


def controls(page: Page) -> tuple[Control, Control, Locator]:
    return Control(page, ".tl-bars"), Control(page, ".tl-map"), page.locator(".tl-label-box")


def test_stop_interrupt_and_restart(opened: Page):
    page = opened
    grid, freeze, box = controls(page)

    # Stop: within a step, nothing kept, and the next run may start.
    for control in (grid, freeze):
        control.run()
        control.stop.click()
        took = control.says("stopped after")
        print(f"stopped within {took:.1f} s")
        assert took < 5, took  # 2 s on a machine that does nothing else
        assert "nothing was kept" in control.line.text_content()
        assert page.locator("[data-tl-live]").count() == 0

    # Interrupt reaches both runs, although no cell is running.
    grid.run()
    freeze.run()
    began = time.monotonic()
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    for control in (grid, freeze):
        control.says("stopped after")
    print(f"interrupted within {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 8
    expect(grid.start).to_have_attribute("aria-disabled", "false")

    # A run that is left alone ends by itself.
    page.evaluate(EXECUTE, "epochs = 1")
    grid.run()
    grid.says("done in", 240)
    assert page.locator(".tl-bars [data-tl-live]").count() == 1
    page.evaluate(EXECUTE, "epochs = 500")

    # Restart during a run.
    grid.run()
    page.evaluate(f"() => {{ {KERNEL}.restart(); }}")
    for control in (grid, freeze):
        control.is_dead(RESTARTED)
    expect(box.locator(".tl-kernel")).to_have_text(RESTARTED)
    expect(box.locator("textarea")).to_be_disabled()
    expect(box.get_by_role("button", name="Rank these names")).to_be_disabled()
    screenshot(page, "kernel-restarted")

    # Recorded results answer on.
    for name, control in (("labels", grid), ("freeze depth", freeze)):
        before = control.read.text_content()
        page.get_by_label(name, exact=True).first.focus()
        page.keyboard.press("ArrowLeft")
        expect(control.read).not_to_have_text(before)

    # And the cells, run again, give controls that work.
    page.evaluate(RUN_ALL)
    expect(page.locator(".tl-bars .tl-state")).to_have_text("computes this setting now, on your machine")
    expect(box.locator(".tl-kernel")).to_be_hidden()
    expect(box.locator("textarea")).to_be_enabled()
    grid.run()
    grid.stop.click()
    grid.says("stopped after")


def test_texts_can_be_read_in_both_themes(opened: Page):
    """Contrast 4.5 : 1 at least: at rest, with the curve of a run, and when the kernel is gone."""
    page = opened
    grid, freeze, _ = controls(page)

    def assert_readable(state: str) -> None:
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
            page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
            page.evaluate(STILL)
            lines, looked = faint(page, ".jp-OutputArea .tl-control")
            assert looked > 50
            assert lines == [], theme
            screenshot(page, f"lab-{state}-{theme.split()[1].lower()}")

    assert_readable("controls")
    freeze.run()
    page.locator("[data-tl-points]").wait_for()
    freeze.stop.click()
    freeze.says("stopped after")
    assert_readable("run")
    page.evaluate(f"() => {{ {KERNEL}.restart(); }}")
    grid.says(RESTARTED)
    freeze.says(RESTARTED)
    assert_readable("restarted")


def test_a_busy_kernel_is_not_dead(opened: Page):
    """While a cell runs, a click waits or starts at once, and names that are typed are ranked afterwards."""
    page = opened
    grid, freeze, box = controls(page)
    page.evaluate(EXECUTE, "epochs = 1")
    page.evaluate("() => window.tlDone")
    page.evaluate(EXECUTE, "time.sleep(12)")
    page.wait_for_function(f"() => {KERNEL}.status === 'busy'")
    heard = []
    box.locator("textarea").fill("elephant\nbee\nant")
    grid.start.click()
    for _ in range(16):
        page.wait_for_timeout(500)
        heard += [grid.line.text_content(), freeze.line.text_content(), box.locator(".tl-kernel").text_content()]
    assert not [text for text in heard if "again" in text], set(heard)
    waited = any("waits until the running cell is done" in text for text in heard)
    running = any("labels = " in text for text in heard)
    assert waited or running, set(heard)
    page.evaluate("() => window.tlDone")
    grid.says("done in", 240)
    expect(box).to_contain_text("elephant")
    expect(box.locator(".tl-kernel")).to_be_hidden()


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (f"() => {{ {KERNEL}.requestExecute({{ code: 'os._exit(1)' }}); }}", "restarted: run"),
        (f"() => {SESSION}.shutdown()", "The kernel was shut down: start it and run"),
        (f"() => {SESSION}.changeKernel({{ name: 'python3' }})", "The kernel was changed: run"),
    ],
    ids=["killed", "shut down", "changed"],
)
def test_a_kernel_that_ends_otherwise(opened: Page, end: str, words: str):
    page = opened
    grid, freeze, box = controls(page)
    page.evaluate(end)
    for control in (grid, freeze):
        control.is_dead(words)
        assert "this cell again" in control.line.text_content()
    expect(box.locator(".tl-kernel")).to_contain_text(words)
    expect(box.locator("textarea")).to_be_disabled()


ENDLESS = """
from tl_helpers.book import exercises
from tl_helpers.book.exercises import checking

checking.HINT_AFTER = 1.0  # seconds; a test does not wait for ten

def endless(*args, **kwargs):
    steps = 0
    while steps < 10:
        pass
    return steps

exercises.check("accuracy-interval", endless)
"""


def test_an_answer_that_does_not_end_is_told_how_to_stop_and_where_it_was(lab: Lab, page: Page):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ENDLESS.strip())])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, lab.notebooks / "endless.ipynb")
    page.set_default_timeout(240_000)
    lab.open(page, "endless.ipynb")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    output = page.locator(".jp-OutputArea")
    output.get_by_text("Still checking. If your loop does not end, press the square").wait_for()
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    feedback = output.locator(".tl-feedback[data-status='not yet']", has_text="probably does not end")
    feedback.wait_for()
    text = output.inner_text()
    assert "in line " in text
    assert "while steps < 10:" in text or "pass" in text
    assert "Still checking" not in text
    assert "KeyboardInterrupt" not in text
    screenshot(page, "lab-endless")
