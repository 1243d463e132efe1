"""Predictions and quizzes: by keyboard, for a screen reader, in both modes, kept over a reload; alone on a page, in the
built site, and in JupyterLab."""

from __future__ import annotations

import json
from collections.abc import Sequence

import nbformat
import pytest
from builtsite import LAPTOP, PHONE, Watch, chapter_pages, resize, screenshot, settle
from labserver import RUN_ALL, WAIT_READY, Lab
from measures import cut_on_a_laptop, cut_on_a_phone, faint
from playwright.sync_api import Browser, Locator, Page, expect

from tl_helpers.book import predict, quiz
from tl_helpers.book.widgets import Asking

pytestmark = pytest.mark.slow

HOST = "http://127.0.0.1:9"  # nobody is there: the browser gets what the test hands it
CHAPTERS = sorted(path.stem.removeprefix("ch") for path in quiz.FOLDER.glob("*.toml"))
PAGES = {path.split("/")[1].partition("_")[0]: path for path in chapter_pages()}
ASKING = ".cell_output .tl-asking"

ALONE = """<!doctype html><html lang="en" data-theme="{theme}"><meta name="viewport" content="width=device-width">
<title>Asked</title><style>body {{ margin: 12px; background: {paper} }} {css}</style>
<article><div class="cell_output"></div></article><script type="module">
import widget from "{host}/asking.js";
for (const told of {told}) {{
  const values = {{ told, value: null }}, el = document.createElement("div");
  document.querySelector(".cell_output").append(el);
  widget.render({{ el, model: {{ get: name => values[name], set: (name, value) => {{ values[name] = value; }},
    save_changes() {{ (window.kernel ||= []).push(values.value); }} }} }});
}}
document.body.dataset.drawn = "yes";
</script></html>"""


def alone(page: Page, *asked: Asking, theme: str = "light") -> None:
    """These widgets on a page of their own, as if there were no kernel."""
    told = json.dumps([one.told for one in asked]).replace("<", "\\u003c")
    paper = "#ffffff" if theme == "light" else "#14181e"
    html = ALONE.format(theme=theme, css=Asking._css, host=HOST, told=told, paper=paper)
    page.unroute_all()
    page.route(f"{HOST}/", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    page.route(f"{HOST}/asking.js", lambda route: route.fulfill(body=Asking._esm, content_type="text/javascript"))
    page.goto(f"{HOST}/")
    page.locator("body[data-drawn]").wait_for()


def tab_to(page: Page, target: Locator, most: int = 60) -> None:
    """Press Tab until this element has the focus; it must show that it has it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if target.evaluate("e => document.activeElement === e"):
            style = "e => [getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth) >= 2]"
            assert target.evaluate(style) == ["solid", True], "the focus cannot be seen"
            return
    pytest.fail(f"no way to {target} with the Tab key")


def number() -> tuple[Asking, Asking]:
    return predict.ask("accuracy", "What *accuracy*?", unit="%"), predict.answer("accuracy", 81.7)


def choice() -> tuple[Asking, Asking]:
    return predict.ask("labels", "How many?", (20, 50, "all of them")), predict.answer("labels", 50)


# ---- alone on a page -------------------------------------------------------------------------------------------------


def test_a_number_by_keyboard_is_kept_and_answered(page: Page, watch: Watch):
    alone(page, *number())
    field, verdict = page.get_by_role("spinbutton", name="What accuracy?"), page.locator(".tl-verdict")
    note = page.get_by_role("status").first
    expect(verdict).to_contain_text("It was 82 %. You have not said")
    expect(field).to_have_accessible_description("from 0 to 100")
    tab_to(page, field)
    page.keyboard.type("700")
    page.keyboard.press("Enter")
    expect(note).to_have_text("Please type a number from 0 to 100.")
    expect(field).to_have_attribute("aria-invalid", "true")
    page.keyboard.press("Control+a")
    page.keyboard.type("70")
    page.keyboard.press("Enter")
    expect(note).to_have_text("Written down: 70 %. The chapter comes back to it.")
    expect(field).not_to_have_attribute("aria-invalid", "true")
    expect(verdict).to_have_text("You said 70 %, it was 82 %: 12 points more than you thought.")
    assert page.evaluate("window.kernel") == [70]  # a kernel would know
    assert page.url == f"{HOST}/"  # nothing was sent

    page.reload()
    expect(field).to_have_value("70")
    expect(verdict).to_contain_text("You said 70 %")
    assert page.evaluate("window.kernel") == [70]  # and one that was restarted knows again
    tab_to(page, page.get_by_role("button", name="Forget it"))
    page.keyboard.press("Enter")
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    expect(verdict).to_contain_text("You have not said")
    assert page.evaluate("localStorage.length") == 0
    assert watch.problems == []


def test_a_choice_by_keyboard_is_kept_and_answered(page: Page, watch: Watch):
    alone(page, *choice())
    group = page.get_by_role("group", name="How many?")
    tab_to(page, group.get_by_role("radio").first)
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    expect(group.get_by_role("radio", name="50")).to_be_checked()
    expect(page.locator(".tl-verdict")).to_have_text("You said “50”, and so it was.")
    page.keyboard.press("ArrowDown")
    page.reload()
    expect(group.get_by_role("radio", name="all of them")).to_be_checked()
    expect(page.locator(".tl-verdict")).to_have_text("You said “all of them”, it was “50”.")
    assert watch.problems == []


def test_where_the_browser_may_keep_nothing_the_page_does(page: Page, watch: Watch):
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('not allowed'); } })")
    alone(page, *number())
    page.get_by_role("spinbutton").fill("70")
    page.get_by_role("button", name="Write it down").click()
    expect(page.locator(".tl-verdict")).to_contain_text("You said 70 %")
    assert watch.problems == []


def test_what_was_kept_of_a_question_that_has_changed_is_no_prediction(page: Page):
    alone(page, *choice())
    page.get_by_role("radio", name="20").check()
    alone(page, predict.ask("labels", "How many?", (10, 50)), predict.answer("labels", 50))
    assert page.locator("input:checked").count() == 0
    expect(page.locator(".tl-verdict")).to_contain_text("You have not said")


def test_markup_in_a_question_is_text(page: Page, watch: Watch):
    bad = "<img src=x onerror='document.title=1'>"
    alone(page, predict.ask("a", f"{bad} `{bad}`?", (f"{bad}1", f"{bad}2"), unit=bad))
    assert page.locator("img").count() == 0
    assert page.locator("legend code").text_content() == bad
    assert page.title() == "Asked"
    assert watch.problems == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_answer_of_a_quiz_says_why_by_keyboard(page: Page, watch: Watch, chapter: str):
    alone(page, quiz.show(chapter))
    questions = quiz.load(chapter)
    first = page.get_by_role("button", name="Check question 1")
    tab_to(page, first)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("Choose an answer first.")
    for k, question in enumerate(questions):
        form = page.locator("form").nth(k)
        group, note = form.get_by_role("group"), form.get_by_role("status")
        expect(group).to_have_accessible_name(f"Question {k + 1} of {len(questions)} {plain(question.ask)}")
        form.get_by_role("radio").first.focus()
        page.keyboard.press("Space")
        for answer in question.answers:
            chosen = form.get_by_role("radio", name=plain(answer.text), exact=True)
            expect(chosen).to_be_checked()
            page.keyboard.press("Enter")  # Enter in a form is its button
            expect(note).to_have_text(f"{'✓ Right.' if answer.right else '✗ Not so.'} {plain(answer.why)}")
            if answer.right:
                break
            page.keyboard.press("ArrowDown")
            expect(note).to_have_text("")  # what was said belonged to the other answer
    expect(page.locator(".tl-end")).to_contain_text(f"All {len(questions)} answered rightly.")

    page.reload()
    assert page.locator("input:checked").count() == len(questions)
    expect(page.locator(".tl-note.tl-right")).to_have_count(len(questions))
    tab_to(page, page.get_by_role("button", name="Start again"))
    page.keyboard.press("Enter")
    assert page.locator("input:checked").count() == 0
    expect(page.locator(".tl-end")).to_contain_text(f"0 of {len(questions)}")
    assert watch.problems == []


def plain(text: str) -> str:
    return text.replace("`", "").replace("*", "")


def half_answered(page: Page) -> None:
    """The first answer of each question, some right and some wrong, and a number that cannot be."""
    for form in page.locator(".tl-quiz form").all():
        form.get_by_role("radio").first.check()
        form.get_by_role("button").click()
    if page.get_by_role("spinbutton").count():
        page.get_by_role("spinbutton").first.fill("700")
        page.get_by_role("button", name="Write it down").first.click()


def unreadable(page: Page) -> list[str]:
    lines, looked = faint(page, ASKING)
    return lines if looked > 20 else [*lines, f"only {looked} texts were found"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_readable_and_whole_in_both_modes_at_both_widths(page: Page, theme: str):
    alone(page, *number(), *choice(), quiz.show("02"), theme=theme)
    half_answered(page)
    for name, size, cut in (("laptop", LAPTOP, cut_on_a_laptop), ("phone", PHONE, cut_on_a_phone)):
        resize(page, size)
        assert cut(page) == []
        assert unreadable(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        screenshot(page, f"asking-{theme}-{name}", full_page=True)


# ---- in the built site -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_predictions_and_quiz_of_a_chapter_live_without_kernel_and_network(
    site: str, page: Page, watch: Watch, chapter: str
):
    page.goto(f"{site}/{PAGES[chapter]}")
    settle(page)
    page.locator(".tl-quiz form").first.wait_for()
    asked, answered = page.locator(".tl-ask"), page.locator(".tl-verdict")
    assert asked.count() == answered.count() > 0
    expect(answered.first).to_contain_text("You have not said")
    number = page.get_by_role("spinbutton").first
    most = number.get_attribute("max")
    number.fill(most)
    number.press("Enter")
    expect(answered.first).to_contain_text(f"You said {most}")
    page.reload()
    settle(page)
    expect(answered.first).to_contain_text(f"You said {most}")
    half_answered(page)
    expect(page.locator(".tl-quiz .tl-note:not(:empty)")).to_have_count(len(quiz.load(chapter)))
    page.locator(".tl-quiz").scroll_into_view_if_needed()
    screenshot(page, f"quiz-{chapter}")
    assert watch.problems == []


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_readable_in_the_built_site(site: str, browser: Browser, chapter: str, theme: str):
    context = browser.new_context(viewport=LAPTOP, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{site}/{PAGES[chapter]}")
    settle(page)
    page.locator(".tl-quiz form").first.wait_for()
    half_answered(page)
    assert unreadable(page) == []
    resize(page, PHONE)
    assert [line for line in cut_on_a_phone(page) if "tl-" in line] == []
    page.locator(".tl-quiz").scroll_into_view_if_needed()
    screenshot(page, f"quiz-{chapter}-{theme}-phone")
    context.close()


# ---- in JupyterLab ---------------------------------------------------------------------------------------------------

CELLS: Sequence[str] = (
    "from tl_helpers.book import predict, quiz",
    'predict.ask("accuracy", "What accuracy?", unit="%")',
    'predict.answer("accuracy", 81.7)',
    'quiz.show("01")',
)
EXECUTE = """async code => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  const future = kernel.requestExecute({ code, silent: false });
  let said = "";
  future.onIOPub = message => { if (message.header.msg_type === "stream") said += message.content.text; };
  await future.done;
  return said.trim();
}"""
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"


def test_in_jupyterlab_a_prediction_outlives_the_kernel(lab: Lab, page: Page):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, lab.notebooks / "asking.ipynb")
    lab.open(page, "asking.ipynb")
    page.evaluate(RUN_ALL)
    field, verdict = page.get_by_role("spinbutton", name="What accuracy?"), page.locator(".tl-verdict")
    expect(verdict).to_contain_text("You have not said")
    field.fill("70")
    field.press("Enter")
    expect(verdict).to_contain_text("You said 70 %, it was 82 %")
    assert page.evaluate(EXECUTE, "print(predict.said('accuracy'))") == "70"

    # Arrow keys choose an answer, not a cell.
    question = page.locator(".tl-quiz form").first
    question.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    expect(question.get_by_role("radio").nth(1)).to_be_checked()
    expect(question.get_by_role("radio").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(question.get_by_role("status")).to_contain_text("Right")
    page.locator(".tl-quiz").scroll_into_view_if_needed()
    screenshot(page, "asking-lab")

    page.evaluate(RESTART)
    page.evaluate(WAIT_READY)
    field.fill("75")  # with nobody there to tell
    field.press("Enter")
    expect(verdict).to_contain_text("You said 75 %")
    page.evaluate(RUN_ALL)
    expect(field).to_have_value("75")
    expect(verdict).to_contain_text("You said 75 %")
    expect(question.get_by_role("radio").nth(1)).to_be_checked()
    page.wait_for_function(f"async () => (await ({EXECUTE})('print(predict.said(\"accuracy\"))')) === '75'")
