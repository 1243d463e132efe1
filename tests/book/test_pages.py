"""Every page of the built site, opened in Chromium with the network blocked."""

from __future__ import annotations

import pytest
from builtsite import FRONT_DOOR, PHONE, STILL, Watch, built_pages, chapter_pages, resize, screenshot, settle
from measures import BOXES, CONTROLS, cut_on_a_laptop, cut_on_a_phone, faint, overlaps
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


# A header of a table that is a name in the code: `test.balanced_accuracy`, not `balanced accuracy (%)`.
NAMES_AS_HEADERS = """() => [...document.querySelectorAll('.cell_output table.dataframe thead th')]
    .map(th => th.textContent.trim())
    .filter(t => !t.includes(' ') && (t.includes('_') || t.replace(/^[\\d.]+|[\\d.]+$/g, '').includes('.')))"""

OWN_COLOURS = "div.cell_output div.text_html:has(div.tl-claim, div.tl-feedback)"
FIGURES = "div.cell_output img, div.cell_output svg"
CONTROLS_DRAWN = """() => document.querySelector('[data-tl-view]') &&
    [...document.querySelectorAll('.tl-control')].every(c => c.querySelector('.widget-label, .tl-figure svg'))"""

# Boxes with colours of their own, in an output for which the theme has a frame and a colour as well.
GREY_FRAMES = """() => [...document.querySelectorAll('div.cell_output div.text_html:has(div.tl-claim, div.tl-feedback)')]
    .map(e => getComputedStyle(e)).map(s => `${s.backgroundColor} ${s.padding}`).filter(s => s !== 'rgba(0, 0, 0, 0) 0px')"""


def unreadable(page: Page) -> list[str]:
    """Texts of a chapter's outputs, above all in controls, with too little contrast in the mode that the page is in."""
    page.wait_for_function(CONTROLS_DRAWN)
    controls, looked = faint(page, CONTROLS)
    boxes, _ = faint(page, BOXES)
    none = [] if looked > 5 else ["no text was found in any control"]
    return none + [f"faint: {text}" for text in controls + boxes]


def test_front_door_leads_to_the_landing_page(site: str, page: Page):
    page.goto(f"{site}/{FRONT_DOOR}")
    page.wait_for_url("**/book/index.html")


@pytest.mark.parametrize("path", built_pages())
def test_page(site: str, page: Page, watch: Watch, path: str):
    """One visit on a laptop, then in a narrow window: no error, nothing asked of another host, nothing raw, nothing cut."""
    page.goto(f"{site}/{path}")
    settle(page)
    problems = watch.problems
    problems += [f"picture without alt text: {src}" for src in page.evaluate(PICTURES_WITHOUT_ALT)]
    problems += [f"math not typeset: {text}" for text in page.evaluate(BROKEN_MATH)]
    problems += [f"widget: {text}" for text in page.evaluate(BROKEN_WIDGETS)]
    problems += [f"control without a name: {name}" for name in page.evaluate(UNNAMED_CONTROLS)]
    problems += [f"header is a name, pass the frame through plots.words: {t}" for t in page.evaluate(NAMES_AS_HEADERS)]
    if not page.title().strip():
        problems.append("no title")
    if path in chapter_pages():
        problems += [] if page.locator("article h1:visible").count() == 1 else ["not one title"]
        problems += [] if page.locator(FIGURES).count() else ["no figure"]
        problems += unreadable(page)
        problems += overlaps(page)
        page.evaluate("() => scrollTo(0, 0)")
    name = path.removesuffix(".html").replace("/", "-")
    if not path.startswith("_modules/"):
        screenshot(page, f"page-{name}")
    problems += [f"on a laptop: {line}" for line in cut_on_a_laptop(page)]
    resize(page, PHONE)
    problems += [f"at a phone's width: {name}" for name in page.evaluate(OVERFLOW)]
    problems += [f"at a phone's width: {line}" for line in cut_on_a_phone(page)]
    assert not problems, "\n".join([f"{len(problems)} problems", *problems])


@pytest.mark.parametrize("path", chapter_pages())
def test_chapter_on_a_phone_in_dark_mode(site: str, dark_phone: Page, path: str):
    """A real phone lays a page out once, at its own width; and what has colours of its own must have them for both modes."""
    page = dark_phone
    page.goto(f"{site}/{path}")
    settle(page)
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    screenshot(page, f"page-{path.removesuffix('.html').replace('/', '-')}-phone")
    problems = unreadable(page)
    problems += overlaps(page)
    problems += [f"grey frame: {style}" for style in page.evaluate(GREY_FRAMES)]
    if not page.locator(OWN_COLOURS).count():
        problems.append("no claim and no feedback on the page")
    problems += [f"too wide: {name}" for name in page.evaluate(OVERFLOW)]
    problems += cut_on_a_phone(page)
    page.locator(CONTROLS).first.scroll_into_view_if_needed()
    screenshot(page, f"control-{path.removesuffix('.html').replace('/', '-')}-phone")
    assert not problems, "\n".join([f"{len(problems)} problems", *problems])


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
