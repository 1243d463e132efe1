"""What is too wide: the measure itself (`test_pages.py` holds every page against it), frames, a phone's panels."""

from __future__ import annotations

from pathlib import Path

import pytest
from builtsite import screenshot, settle
from measures import cut, overlaps, told
from playwright.sync_api import Page

pytestmark = pytest.mark.slow

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
def test_the_measure_sees_each_kind_of_cut(page: Page, kind: str):
    page.set_content(f"<article>{SAMPLES[kind]}</article>")
    assert [(one["kind"], one["selector"].split("#")[-1]) for one in cut(page)] == [(kind, "it")]


def test_the_measure_sees_what_is_folded_drawn_or_chosen_and_counts_nested_boxes_once(page: Page):
    page.set_content(f"""<article>
        <details><summary>more</summary><pre id="folded" style="width:200px">{LONG * 3}</pre></details>
        <div class="cell_output" style="width:200px;overflow-x:auto"><div class="output" style="overflow-x:auto">
            <pre id="nested" style="overflow-x:auto">{LONG}</pre></div></div>
        <svg width="100" height="40"><text id="drawn" x="60" y="20">{LONG}</text></svg>
        <select id="chosen" style="width:60px"><option>{LONG}</option></select></article>""")
    seen = sorted(one["selector"].split("#")[-1] for one in cut(page))
    assert seen == ["chosen", "drawn", "folded", "nested"]


def test_the_measure_passes_what_can_be_read_whole(page: Page):
    page.set_content(f"""<article><p style="width:200px;overflow-wrap:anywhere">{LONG}</p>
        <pre style="width:200px;white-space:pre-wrap;overflow-wrap:anywhere">{LONG * 3}</pre>
        <table><tr><td>one</td><td>two</td></tr></table><select><option>one</option></select>
        <svg width="100" height="40"><text x="10" y="20">one</text></svg></article>""")
    assert told(cut(page)) == []


def test_texts_that_lie_over_one_another_are_seen(page: Page):
    page.set_content("""<div class="tl-control"><svg width="300" height="80"><text x="10" y="40">over</text>
        <text x="20" y="40">lapping</text><text x="150" y="40">apart</text><text x="150" y="60">below</text></svg></div>""")
    assert overlaps(page) == ["one text over another: over / lapping"]


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


def test_a_table_that_fits_is_no_stop_for_the_keyboard(site: str, page: Page):
    page.goto(f"{site}/book/status.html")
    settle(page)
    boxes = page.locator(".tl-frame .tl-scroll")
    assert boxes.count() >= 2
    assert page.locator(".tl-frame[data-more], .tl-scroll[role=region], .tl-scroll[tabindex='0']").count() == 0


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
