"""Nothing is cut off: every page, as wide as a laptop and as narrow as a phone; and what a phone's panels do.

`cut.js` says what counts as cut. On a laptop nothing may be. On a phone code, tables and equations may be wider than
their box where they scroll, with a scroll bar in sight and a frame whose edge shows that there is more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builtsite import PHONE, STILL, built_pages, chapter_pages, screenshot, settle
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

LAPTOP = {"width": 1300, "height": 900}
PATIENCE = 120_000  # milliseconds: a machine that does other work as well
FRONT_DOOR = "index.html"  # nothing but a redirect
PAGES = [path for path in built_pages() if path != FRONT_DOOR]
CUT = (Path(__file__).parent / "cut.js").read_text(encoding="utf-8")

# What is folded away is measured, too.
UNFOLD = """() => {
    document.querySelectorAll('details').forEach(folded => { folded.open = true; });
    document.querySelectorAll('.toggle-hidden').forEach(folded => folded.classList.remove('toggle-hidden'));
}"""


def cut(page: Page) -> list[dict]:
    """What is cut on a page, everything unfolded, once it stands still."""
    page.evaluate(UNFOLD)
    page.evaluate(STILL)
    return page.evaluate(CUT)


def told(page: str, entries: list[dict]) -> list[str]:
    """One line for each entry: page, what, where, by how much, its first words."""
    return [f"{page}: {one['kind']} by {one['wider']} px: {one['selector']}: {one['text']!r}" for one in entries]


def allowed_on_a_phone(one: dict) -> bool:
    """Whether a reader sees that there is more, and can get there."""
    framed = ".tl-scroll" in one["selector"].split(" > ")[-1] or "mjx-container" in one["selector"]
    return one["kind"] == "scrolls" and (one["code"] or framed) and one["edge"] and one["bar"] >= 6


def fresh_page(browser: Browser, **options) -> Iterator[Page]:
    """A page in a context of its own."""
    context = browser.new_context(reduced_motion="reduce", **options)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def laptop(browser: Browser) -> Iterator[Page]:
    """A page as wide as a small laptop."""
    yield from fresh_page(browser, viewport=LAPTOP)


@pytest.fixture
def dark_laptop(browser: Browser) -> Iterator[Page]:
    """The same, for a reader whose system is dark."""
    yield from fresh_page(browser, viewport=LAPTOP, color_scheme="dark")


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """A page on a phone with a touch screen."""
    yield from fresh_page(browser, viewport=PHONE, is_mobile=True, has_touch=True)


# ---- every page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_cut_on_a_laptop(site: str, laptop: Page, path: str):
    laptop.goto(f"{site}/{path}")
    settle(laptop)
    problems = told(path, cut(laptop))
    assert problems == [], f"{len(problems)} places are cut at {LAPTOP['width']} px"


@pytest.mark.parametrize("path", PAGES)
def test_only_what_scrolls_in_sight_is_wider_than_a_phone(site: str, phone: Page, path: str):
    phone.goto(f"{site}/{path}")
    settle(phone)
    problems = told(path, [one for one in cut(phone) if not allowed_on_a_phone(one)])
    assert problems == [], f"{len(problems)} places are cut at {PHONE['width']} px"


@pytest.mark.parametrize("path", chapter_pages())
def test_headers_of_tables_are_words(site: str, laptop: Page, path: str):
    """`balanced accuracy (%)`, not `test.balanced_accuracy`."""
    laptop.goto(f"{site}/{path}")
    headers = laptop.locator(".cell_output table.dataframe thead th").all_text_contents()
    names = [text for text in headers if " " not in text and ("_" in text or "." in text.strip("0123456789."))]
    assert names == [], "pass a frame's columns through plots.words"


# ---- the measure itself ----------------------------------------------------------------------------------------------

LONG = "a_word_that_is_much_longer_than_the_box_around_it_and_does_not_break"
SAMPLES = {
    "scrolls": f'<div id="it" style="width:200px;overflow-x:auto">{LONG}</div>',
    "clipped": f'<p id="it" style="width:200px;overflow:hidden">{LONG}</p>',
    "squeezed": f'<div id="it" style="width:200px;height:30px;overflow-y:auto">{"a word " * 50}</div>',
    "spills": f'<div style="width:200px"><p id="it">{LONG}</p></div>',
    "outside": f'<div style="margin-left:90vw"><p id="it">{LONG}</p></div>',
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_measure_sees_each_kind_of_cut(laptop: Page, kind: str):
    laptop.set_content(f"<article>{SAMPLES[kind]}</article>")
    assert [(one["kind"], one["selector"].split("#")[-1]) for one in cut(laptop)] == [(kind, "it")]


def test_the_measure_sees_what_is_folded_drawn_or_chosen_and_counts_nested_boxes_once(laptop: Page):
    laptop.set_content(f"""<article>
        <details><summary>more</summary><pre id="folded" style="width:200px">{LONG * 3}</pre></details>
        <div class="cell_output" style="width:200px;overflow-x:auto"><div class="output" style="overflow-x:auto">
            <pre id="nested" style="overflow-x:auto">{LONG}</pre></div></div>
        <svg width="100" height="40"><text id="drawn" x="60" y="20">{LONG}</text></svg>
        <select id="chosen" style="width:60px"><option>{LONG}</option></select></article>""")
    seen = sorted(one["selector"].split("#")[-1] for one in cut(laptop))
    assert seen == ["chosen", "drawn", "folded", "nested"]


def test_the_measure_passes_what_can_be_read_whole(laptop: Page):
    laptop.set_content(f"""<article><p style="width:200px;overflow-wrap:anywhere">{LONG}</p>
        <pre style="width:200px;white-space:pre-wrap;overflow-wrap:anywhere">{LONG * 3}</pre>
        <table><tr><td>one</td><td>two</td></tr></table><select><option>one</option></select>
        <svg width="100" height="40"><text x="10" y="20">one</text></svg></article>""")
    assert told("sample", cut(laptop)) == []


# ---- frames ----------------------------------------------------------------------------------------------------------


def test_a_wide_table_scrolls_with_the_keyboard_and_shows_where_there_is_more(site: str, phone: Page):
    phone.goto(f"{site}/book/status.html")
    settle(phone)
    frame = phone.locator(".tl-frame:has(table.tl-status)")
    box = frame.locator(".tl-scroll")
    assert frame.get_attribute("data-more") == "right"
    assert (box.get_attribute("role"), box.get_attribute("tabindex")) == ("region", "0")
    assert "Chapters" in box.get_attribute("aria-label")
    box.focus()
    phone.keyboard.press("ArrowRight")
    phone.wait_for_function("frame => frame.dataset.more === 'left right'", arg=frame.element_handle())
    box.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    phone.wait_for_function("frame => frame.dataset.more === 'left'", arg=frame.element_handle())
    screenshot(phone, "status-phone-scrolled")


def test_a_table_that_fits_is_no_stop_for_the_keyboard(site: str, laptop: Page):
    laptop.goto(f"{site}/book/status.html")
    settle(laptop)
    boxes = laptop.locator(".tl-frame .tl-scroll")
    assert boxes.count() >= 2
    assert laptop.locator(".tl-frame[data-more], .tl-scroll[role=region], .tl-scroll[tabindex='0']").count() == 0


# ---- dark mode -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", chapter_pages())
def test_outputs_with_own_colours_have_no_grey_frame_in_dark_mode(site: str, dark_laptop: Page, path: str):
    dark_laptop.goto(f"{site}/{path}")
    assert dark_laptop.locator("html[data-theme=dark]").count() == 1
    boxes = dark_laptop.locator("div.cell_output div.text_html:has(div.tl-claim, div.tl-feedback)")
    assert boxes.count() > 0
    frames = boxes.evaluate_all(
        "all => all.map(e => getComputedStyle(e)).map(s => `${s.backgroundColor} ${s.padding}`)"
    )
    assert set(frames) == {"rgba(0, 0, 0, 0) 0px"}


# ---- a phone's panels ------------------------------------------------------------------------------------------------

CONTENTS = ".secondary-toggle"
OPEN = "dialog[open]"


@pytest.mark.parametrize("path", ["notebooks/01_first_transfer.html", "book/contributing.html"])
def test_a_tap_in_the_contents_closes_them_and_goes_there(site: str, phone: Page, path: str):
    phone.goto(f"{site}/{path}")
    settle(phone)
    count = phone.locator("#pst-secondary-sidebar .page-toc a").count()
    for which in (3, 3, 1):  # the same entry twice, then one further up
        phone.locator(CONTENTS).tap()
        entries = phone.locator(f"{OPEN} .page-toc a")
        entries.first.wait_for()
        entry = entries.nth(which)
        target = entry.get_attribute("href")
        entry.tap()
        phone.wait_for_selector(OPEN, state="detached")
        phone.wait_for_function(
            "id => { const top = document.querySelector(id).getBoundingClientRect().top; return top > -5 && top < 160; }",
            arg=target,
        )
        assert phone.url.endswith(target)
        assert phone.locator("#pst-secondary-sidebar .page-toc a").count() == count, "the panel has lost its entries"
        phone.evaluate("scrollTo(0, 0)")
    screenshot(phone, f"contents-{Path(path).stem}-phone")


def test_a_tap_on_this_pages_name_in_the_side_bar_closes_it(site: str, phone: Page):
    phone.goto(f"{site}/book/glossary.html")
    settle(phone)
    phone.locator(".primary-toggle").first.tap()
    phone.locator(f"{OPEN} .bd-links a[href='#']").first.tap()
    phone.wait_for_selector(OPEN, state="detached")


@pytest.mark.parametrize("path", ["book/index.html", "book/status.html", "book/glossary.html", "book/api/plots.html"])
def test_the_contents_button_is_there_exactly_where_there_are_contents(site: str, phone: Page, path: str):
    phone.goto(f"{site}/{path}")
    contents = phone.locator("#pst-secondary-sidebar .page-toc a").count()
    assert phone.locator(f"{CONTENTS}:visible").count() == min(1, contents)
