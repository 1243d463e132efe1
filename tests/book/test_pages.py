"""Every page of the built site, opened in Chromium with the network blocked."""

from __future__ import annotations

import pytest
from builtsite import PHONE, STILL, Watch, built_pages, chapter_pages, resize, screenshot, settle
from playwright.sync_api import Page

pytestmark = pytest.mark.slow

# An alt text that is a file's name is what docutils writes when there is none.
PICTURES_WITHOUT_ALT = """() => [...document.images]
    .filter(i => !i.alt.trim() || /\\.(png|svg|jpe?g|gif|webp)$/i.test(i.alt.trim()))
    .map(i => i.src.slice(0, 120))"""

# Math that MathJax has not typeset, or has typeset as an error.
BROKEN_MATH = """() => [
    ...[...document.querySelectorAll('span.math, div.math')].filter(m => !m.querySelector('mjx-container')),
    ...document.querySelectorAll('mjx-merror')].map(m => m.textContent.trim().slice(0, 80))"""

BROKEN_WIDGETS = """() => {
    const views = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]').length;
    const shown = document.querySelectorAll('.cell_output .jupyter-widgets, .cell_output .lm-Widget').length;
    const errors = [...document.querySelectorAll('.jupyter-widgets, .lm-Widget')].map(w => w.textContent)
        .filter(t => /error (creating|displaying) widget|failed to load/i.test(t));
    return (views && !shown ? [`${views} widgets, none shown`] : []).concat(errors.map(e => e.slice(0, 120)));
}"""

# Content that is wider than the window, and the elements that make it so.
OVERFLOW = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width + 1) return [];
    return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > width + 1)
        .slice(0, 5).map(e => `${e.tagName}.${e.className}`.slice(0, 80)).concat(['page is wider than the window']);
}"""

UNNAMED_CONTROLS = """() => [...document.querySelectorAll('.cell_output .widget-slider, .cell_output .widget-dropdown')]
    .filter(w => !(w.querySelector('.widget-label')?.textContent || '').trim()
                 && !w.querySelector('[aria-label]'))
    .map(w => w.className)"""


FRONT_DOOR = "index.html"  # nothing but a redirect; leaving it at once aborts what the browser was still asking for


def test_front_door_leads_to_the_landing_page(site: str, page: Page):
    page.goto(f"{site}/{FRONT_DOOR}")
    page.wait_for_url("**/book/index.html")


@pytest.mark.parametrize("path", [path for path in built_pages() if path != FRONT_DOOR])
def test_page(site: str, page: Page, watch: Watch, path: str):
    """No error, no failed or outside request; pictures have alt texts; math and widgets are there; it fits a phone."""
    page.goto(f"{site}/{path}")
    settle(page)
    problems = watch.problems
    problems += [f"picture without alt text: {src}" for src in page.evaluate(PICTURES_WITHOUT_ALT)]
    problems += [f"math not typeset: {text}" for text in page.evaluate(BROKEN_MATH)]
    problems += [f"widget: {text}" for text in page.evaluate(BROKEN_WIDGETS)]
    problems += [f"control without a name: {name}" for name in page.evaluate(UNNAMED_CONTROLS)]
    if not page.title().strip():
        problems.append("no title")
    resize(page, PHONE)
    problems += [f"at a phone's width: {name}" for name in page.evaluate(OVERFLOW)]
    assert problems == []


@pytest.mark.parametrize("path", chapter_pages())
def test_chapter_is_built_with_its_outputs(site: str, page: Page, path: str):
    page.goto(f"{site}/{path}")
    settle(page)
    assert page.locator("article h1:visible").count() == 1
    assert page.locator("div.cell_output").count() > 0
    assert page.locator("div.cell_output img, div.cell_output svg").count() > 0, "no figure"
    name = path.removeprefix("notebooks/").removesuffix(".html")
    screenshot(page, f"chapter-{name}")
    resize(page, PHONE)
    screenshot(page, f"chapter-{name}-phone")


def test_dark_mode(site: str, page: Page, watch: Watch):
    page.goto(f"{site}/book/index.html")
    settle(page)
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    for _ in range(3):  # the button goes round light, dark and automatic
        page.locator("button.theme-switch-button:visible").first.click()
        if page.locator("html[data-theme=dark]").count():
            break
    page.evaluate(STILL)
    assert page.locator("html[data-theme=dark]").count() == 1
    assert page.evaluate(background) != light
    screenshot(page, "landing-dark")
    page.goto(f"{site}/book/status.html")
    settle(page)
    assert page.locator("html[data-theme=dark]").count() == 1, "the choice is forgotten on the next page"
    screenshot(page, "status-dark")
    assert watch.problems == []


def test_search_finds_a_term(site: str, page: Page, watch: Watch):
    page.goto(f"{site}/search.html?q=backbone")
    results = page.locator("#search-results ul.search li")
    results.first.wait_for()
    page.wait_for_load_state("networkidle")
    targets = [link.get_attribute("href") for link in page.locator("#search-results ul.search li a").all()]
    assert any("glossary" in target for target in targets), targets
    assert watch.problems == []


def test_status_page_has_a_passing_row_for_every_chapter(site: str, page: Page):
    """A chapter that was not run, or whose claims failed, must not be published."""
    page.goto(f"{site}/book/status.html")
    rows = page.locator("table.tl-status tbody tr")
    table = {row.locator("a").first.get_attribute("href"): row.inner_text() for row in rows.all()}
    assert sorted(table) == sorted(f"../{path}" for path in chapter_pages())
    assert [text for text in table.values() if "passed" not in text or "not run here" in text] == []
    screenshot(page, "status")


@pytest.mark.parametrize("name", ["index", "glossary", "how_to_use", "references", "data_and_weights", "contributing"])
def test_screenshots_for_people_to_look_at(site: str, page: Page, name: str):
    page.goto(f"{site}/book/{name}.html")
    settle(page)
    assert page.locator("article h1").first.is_visible()
    screenshot(page, f"page-{name}")
    resize(page, PHONE)
    screenshot(page, f"page-{name}-phone")
