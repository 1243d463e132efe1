"""A reader in JupyterLab: the start page, every chapter as text to read, links; then run one, move its control."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

import nbformat
import pytest
from builtsite import LAPTOP, ROOT, VIEWS, Watch, move, screenshot
from labserver import CELLS, CLOSE, RUN_ALL, Lab, make_lab, serve
from playwright.sync_api import Browser, Error, Page

pytestmark = pytest.mark.slow

CHAPTER = "09_few_shot.ipynb"  # executes soonest
CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "book").rglob("*.md"))

RAW = re.compile(r"\{[a-z][\w:.-]*\}|:{3,}|^\([\w-]+\)=|\{\{|\$[^$]*\$|\\[a-z]+", re.MULTILINE)
ROLE = re.compile(r"(?<!`)\{(term|doc|cite:[pt])\}`([^`]*)`")
POP_UPS = ".Toastify__toast, .jp-toast, .jp-Dialog"
# Lab begins to load a picture before it has resolved its address, and gives that up or does not find it; then it loads the
# picture. Of any other address that is not found the first line tells as well, so the browser's own line adds nothing.
GIVEN_UP = re.compile(
    r"(failed request|status 404): http://127\.0\.0\.1:\d+/(lab/tree/[\w/]+|book/_static)/diagrams/\w+\.svg"
    r"|console error: Failed to load resource: the server responded with a status of 404 \(Not Found\)"
    # a chapter that is closed while Lab still asks its kernel whether a debugger was at work
    r"|console error: Could not restore the debugger state: Canceled future for debug_request message before replies .*"
)
# A server that was started below the book's folder has none of its pictures; their words are there.
NO_PICTURES = re.compile(
    rf"{GIVEN_UP.pattern}|(failed request|status 404): http://127\.0\.0\.1:\d+/\S*/diagrams/\w+\.svg(\?\S*)?"
)
SEEN = "boxes => boxes.filter(box => box.checkVisibility()).map(box => `${box.className}: ${box.textContent}`)"
CURRENT = "() => window.jupyterapp.shell.currentWidget?.context?.path"


def text_cells(name: str) -> list[str]:
    """The text cells of a chapter, without the code blocks in them."""
    cells = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return [re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL) for text in texts]


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    page.set_default_timeout(120_000)
    yield page
    with contextlib.suppress(Error):  # a server of the test's own is gone by now
        page.evaluate("() => window.jupyterapp?.serviceManager.sessions.shutdownAll()")


def assert_quiet(lab: Lab, page: Page, watch: Watch, expected: re.Pattern = GIVEN_UP) -> None:
    """No pop-up, no error, nothing asked of another host, by the browser or by the server."""
    assert page.locator(POP_UPS).evaluate_all(SEEN) == []
    assert [problem for problem in watch.problems if not expected.fullmatch(problem)] == []
    assert "network refused" not in lab.log.read_text()


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_lab_opens_on_the_start_page_which_leads_to_every_chapter(lab: Lab, page: Page, watch: Watch):
    lab.enter(page)
    start = page.locator(".jp-MarkdownViewer")
    start.get_by_role("heading", name="Start here").wait_for()
    links = start.locator("a[href*='.ipynb']").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    assert {name for name in CHAPTERS if not any(name in link for link in links)} == set()
    page.wait_for_load_state("networkidle")
    screenshot(page, "lab-start")
    assert_quiet(lab, page, watch)

    start.get_by_role("link", name="01 Your first transfer").click()
    page.wait_for_selector(".jp-Notebook h1:has-text('Your first transfer')")
    assert page.evaluate(CURRENT) == "notebooks/01_first_transfer.ipynb"


def test_a_reader_who_comes_back_finds_the_chapter_and_not_the_start_page(lab: Lab, page: Page):
    kept = "[...window.jupyterapp.shell.widgets('main')].map(widget => widget.context?.path)"
    page.goto(f"{lab.address}/lab/tree/notebooks/{CHAPTER}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    assert page.evaluate(kept) == [f"notebooks/{CHAPTER}"]
    for _ in range(100):  # Lab writes down what is open a moment later
        if any(CHAPTER in file.read_text() for file in lab.workspaces.glob("*")):
            break
        page.wait_for_timeout(100)
    page.goto(f"{lab.address}/lab")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_load_state("networkidle")
    assert page.evaluate(kept) == [f"notebooks/{CHAPTER}"]


@pytest.fixture(scope="module")
def desk(lab: Lab, browser: Browser) -> Iterator[tuple[Page, Watch]]:
    """JupyterLab, open, for one file after the other."""
    context = browser.new_context(viewport=LAPTOP, color_scheme="light", reduced_motion="reduce")
    page, watch = context.new_page(), Watch()
    watch.attach(page)
    page.set_default_timeout(120_000)
    lab.enter(page)
    yield page, watch
    context.close()


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_is_rendered(lab: Lab, desk: tuple[Page, Watch], name: str):
    """Terms, links, citations, boxes and formulas; nothing of their markup is left."""
    page, watch = desk
    texts = text_cells(name)
    roles = [role for text in texts for role in ROLE.findall(text)]
    lab.show(page, f"notebooks/{name}")
    words = lab.words(page)

    assert RAW.findall(words) == []
    cells = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-MarkdownCell")
    assert cells.locator(".tl-unresolved").all_text_contents() == []
    assert cells.locator("a.tl-term[title]").count() == sum(kind == "term" for kind, _ in roles)
    assert cells.locator("a.tl-doc").count() == sum(kind == "doc" for kind, _ in roles)
    keys = [key.strip() for kind, content in roles if kind.startswith("cite") for key in content.split(",")]
    cited = cells.locator("a.tl-cite[title]").all_text_contents()
    assert len(cited) == len(keys)
    assert [text for text in cited if not re.search(r"[A-Z].* \(?\d{4}\)?$", text)] == []
    assert [key for key in keys if re.search(rf"\b{key}\b", words)] == []
    boxes = len(re.findall(r"^:::+\{exercise\}", "\n".join(texts), re.MULTILINE))
    assert cells.locator(".tl-exercise > .tl-title").count() == boxes
    assert (cells.locator("mjx-container").count() > 0) == any("$" in re.sub(r"`[^`]*`", "", t) for t in texts)
    assert cells.locator("mjx-merror, [data-mjx-error]").count() == 0
    drawn = cells.locator("img[src*='/diagrams/']")
    assert drawn.count() == sum(text.count("](../book/_static/diagrams/") for text in texts)
    assert drawn.evaluate_all("images => images.filter(image => !(image.complete && image.naturalWidth))") == []
    screenshot(page, f"lab-{name.removesuffix('.ipynb')}")
    assert_quiet(lab, page, watch)
    page.evaluate(CLOSE)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_rendered(lab: Lab, desk: tuple[Page, Watch], path: str):
    """In its own view, and not in an editor."""
    page, watch = desk
    lab.show(page, path)
    view = page.locator(".jp-MarkdownViewer:visible")
    view.locator("h1").first.wait_for()
    assert RAW.findall(lab.words(page)) == []
    assert view.locator(".tl-unresolved").all_text_contents() == []
    assert_quiet(lab, page, watch)
    page.evaluate(CLOSE)


def test_links_of_a_chapter_open_what_they_name(lab: Lab, page: Page, watch: Watch):
    """A term its entry in the glossary, a citation its entry in the references, a chapter the other notebook."""
    chapter = "notebooks/01_first_transfer.ipynb"
    lab.enter(page)
    lab.show(page, chapter)
    for kind, target in (("term", "book/glossary.md"), ("cite", "book/references.md")):
        link = page.locator(f".jp-Notebook a.tl-{kind}").nth(4)
        entry = re.search(r"#(.*)$", link.get_attribute("href") or "")
        assert entry, "the link names no entry"
        assert link.get_attribute("title")
        link.click()
        page.wait_for_function(f"path => ({CURRENT})() === path", arg=target)
        shown = page.locator(f".jp-MarkdownViewer [data-jupyter-id='{entry[1]}']")
        shown.wait_for()
        page.wait_for_function(
            "id => { const box = document.querySelector(`[data-jupyter-id='${id}']`).getBoundingClientRect();"
            " return box.top >= 0 && box.bottom <= innerHeight; }",
            arg=entry[1],
        )
        screenshot(page, f"lab-{kind}")
        page.evaluate(CLOSE)
        page.wait_for_function(f"path => ({CURRENT})() === path", arg=chapter)
    page.locator(".jp-Notebook a.tl-doc[href*='03_feature_extraction']").first.click()
    page.wait_for_function(f"path => ({CURRENT})() === path", arg="notebooks/03_feature_extraction.ipynb")
    assert_quiet(lab, page, watch)


def test_saving_a_chapter_does_not_change_it(lab: Lab, page: Page):
    """What is shown is not what is stored: the file keeps its MyST, its cells, their ids and their metadata."""
    name = "04_fine_tuning.ipynb"
    lab.open(page, name)
    page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save') }")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    before, after = (json.loads((folder / name).read_text()) for folder in (ROOT / "notebooks", lab.notebooks))
    assert after["cells"] == before["cells"]
    assert after["metadata"]["kernelspec"] == before["metadata"]["kernelspec"]


def test_dark_theme(lab: Lab, page: Page):
    lab.enter(page)
    lab.show(page, "notebooks/01_first_transfer.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    box = page.locator(".tl-exercise").first
    box.scroll_into_view_if_needed()
    screenshot(page, "lab-dark")
    colours = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color].map(c => +c.match(/\\d+/)[0])"
    background, text = box.evaluate(colours)
    assert background < 100 < text
    page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' })")
    page.wait_for_selector("body[data-jp-theme-light='true']", state="attached")


def test_lab_started_by_hand_in_the_folder_of_the_notebooks(tmp_path, page: Page, watch: Watch):
    """The book's pages are out of reach there: terms and sources still say what they mean, chapters are still linked."""
    with serve(tmp_path, start_in="notebooks") as lab:
        lab.enter(page, ".jp-Launcher")
        lab.show(page, CHAPTER)
        assert RAW.findall(lab.words(page)) == []
        cells = page.locator(".jp-MarkdownCell")
        assert cells.locator(".tl-unresolved").count() == 0
        assert cells.locator("span.tl-term[title]").count() > 0
        assert cells.locator("span.tl-cite[title]").count() > 0
        assert cells.locator("img[src*='/diagrams/']:not([alt])").count() == 0
        cells.locator("a.tl-doc").first.click()
        page.wait_for_function(f"path => ({CURRENT})() !== path", arg=CHAPTER)
        assert page.evaluate(CURRENT) in CHAPTERS
        assert_quiet(lab, page, watch, NO_PICTURES)


def test_make_lab_needs_no_flags():
    """Everything is in the installation, so `jupyter lab` started by hand is the same."""
    program, *arguments = make_lab()
    assert program.endswith("bin/jupyter-lab")
    assert arguments == []


# ---- running ---------------------------------------------------------------------------------------------------------


def test_open_run_and_move_a_control(lab: Lab, page: Page):
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
from tl_helpers import zeroshot
from tl_helpers.book import widgets

texts = ["two tickets for the cinema, please", "stir the soup and add salt"]
score = lambda names, place: zeroshot.embed_texts(texts[place : place + 1]) @ zeroshot.embed_texts(list(names)).T
widgets.label_box(lambda names, place: score(names, place)[0], ["a film", "a recipe"], texts)
"""


def test_type_class_names_into_the_label_box(lab: Lab, page: Page):
    """Names of one's own are ranked by the kernel; names that cannot be labels get a plain message, not a traceback."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LABEL_BOX)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.notebooks / "labels.ipynb")
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
