"""How soon does the freeze explorer answer? Measured in JupyterLab, through a real browser.

    python benchmarks/live_explorer.py            # prints a table and writes benchmarks/live_explorer.json
    python benchmarks/live_explorer.py --check    # also exits with 1 if a goal is missed

A notebook with chapter 5's explorer is opened in JupyterLab in headless Chromium; its cache is empty at the start. Ten
times, *Train* is clicked with half of the stages frozen and the other controls as they are at first. Each run takes another
seed, so other labelled samples. From the click to:

- first feedback: the first text from the kernel;
- first step: the first training step on the page;
- done: the new point on the map.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "book"))

from conftest import CHROMIUM_FLAGS, chromium_path  # noqa: E402
from labserver import RUN_ALL, serve  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from tl_helpers import runtime  # noqa: E402

GOALS = {"first feedback": 2.0, "done": 10.0}
NOTEBOOK = """
from tl_helpers.book import results, widgets
from tl_helpers.data import load_task
widgets.FreezeExplorer(results.load("freeze_grid"), load_task("elpv", seed=0), size=64)
"""
STATE = "document.querySelector('.tl-map .tl-state').textContent"
POINTS = "document.querySelectorAll('[data-tl-live]').length"


def one_run(page: Page) -> dict[str, float]:
    """Click, and wait for each of the three moments."""
    before, points = page.evaluate(f"() => [{STATE}, {POINTS}]")
    start, seconds = time.perf_counter(), {}
    page.locator(".tl-map button.start").click()
    for moment, condition in {
        "first feedback": f"known => {STATE} !== known[0]",
        "first step": f"known => /step \\d|epoch \\d/.test({STATE}) || {POINTS} > known[1]",
        "done": f"known => {POINTS} > known[1]",
    }.items():
        page.wait_for_function(condition, arg=[before, points], timeout=300_000)
        seconds[moment] = round(time.perf_counter() - start, 2)
    page.wait_for_timeout(500)
    return seconds


def measure(runs: int, depth: int, folder: Path) -> list[dict[str, float]]:
    """Seconds of each run, the first with an empty cache."""
    with serve(folder) as lab, sync_playwright() as playwright:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK.strip())])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        }
        nbformat.write(notebook, lab.notebooks / "explorer.ipynb")
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(120_000)
        lab.open(page, "explorer.ipynb")
        page.evaluate(RUN_ALL)
        page.locator(".tl-map button.start").wait_for()
        handle = page.get_by_label("freeze depth", exact=True).first
        handle.focus()
        page.keyboard.press("Home")
        for _ in range(depth):
            page.keyboard.press("ArrowRight")
        page.wait_for_function(
            f"() => document.querySelector('.tl-map .tl-read').textContent.includes('depth {depth}')"
        )
        found = []
        for _ in range(runs):
            found.append(one_run(page))
            print(found[-1], flush=True)
        browser.close()
    return found


def main() -> int:
    """Measure, print, write; 1 if a goal was missed and `--check` was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--depth", type=int, default=4, help="frozen stages (of nine)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as home:
        os.environ["TL_CACHE"] = cache
        found = measure(options.runs, options.depth, Path(home))
    medians = {moment: round(statistics.median(run[moment] for run in found), 2) for moment in found[0]}
    missed = [moment for moment, bound in GOALS.items() if medians[moment] > bound]
    for moment, value in medians.items():
        goal = f", goal <= {GOALS[moment]:g} s: {'MISSED' if moment in missed else 'met'}" if moment in GOALS else ""
        print(f"{moment}: median {value:.2f} s, worst {max(run[moment] for run in found):.2f} s{goal}")
    record = {
        "depth": options.depth,
        "threads": runtime.current().threads,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": runtime.versions(),
        "results": {"median (s)": medians, "runs (s)": found},
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    return int(bool(missed) and options.check)


if __name__ == "__main__":
    sys.exit(main())
