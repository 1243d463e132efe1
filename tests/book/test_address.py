"""The page's address holds what the reader has set: it changes nothing else, and who opens it finds the same setting."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from builtsite import HANDLES, Watch, move, settle
from conftest import fresh_page
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

MAP = "notebooks/05_how_deep_to_freeze.html"
# A map, two controls on one page, curves.
PAGES = (MAP, "notebooks/06_domain_shift.html", "notebooks/09_few_shot.html")
SETTING = """() => [...document.querySelectorAll('[data-tl-view], .tl-explorer .noUi-handle')]
    .map(e => e.getAttribute('aria-valuetext') ?? e.textContent)"""
PLACE = "() => [history.length, scrollX, scrollY]"


def open_at(page: Page, address: str) -> None:
    page.goto(address)
    settle(page)
    page.locator("[data-tl-view]").first.wait_for()
    # Each slider is named by the view beside it, which may come before it.
    page.wait_for_function("""() => {
        const handles = [...document.querySelectorAll('.tl-explorer .noUi-handle')];
        return handles.length && handles.every(handle => handle.hasAttribute('aria-valuetext'));
    }""")


def fragment(page: Page) -> str:
    return urlsplit(page.url).fragment


@pytest.mark.parametrize("path", PAGES)
def test_a_setting_is_shared_by_the_address(site: str, browser: Browser, page: Page, watch: Watch, path: str):
    open_at(page, f"{site}/{path}")
    start = page.evaluate(SETTING)
    handles = page.locator(HANDLES)
    for k in range(handles.count()):
        handles.nth(k).scroll_into_view_if_needed()
        before, place = fragment(page), page.evaluate(PLACE)
        assert move(page, handles.nth(k))
        page.wait_for_function("before => location.hash.slice(1) !== before", arg=before)
        assert page.evaluate(PLACE) == place  # no new entry in the history, and the page stands still
    assert len(parse_qs(fragment(page), strict_parsing=True)) == handles.count()
    found = page.evaluate(SETTING)
    assert found != start
    with fresh_page(browser) as other:
        watch.attach(other)
        open_at(other, page.url)
        assert other.evaluate(SETTING) == found
        assert other.url == page.url
        # The setting of another address, in the page that is open.
        other.evaluate("() => { location.hash = '#a=b'; }")
        assert other.evaluate(SETTING) == found
    assert watch.problems == []


def test_readable_words_and_numbers(site: str, page: Page, watch: Watch):
    open_at(page, f"{site}/{MAP}#depth=2&rate=0.01&labels=all")
    said = page.locator(".tl-map .tl-read").text_content()
    assert said.startswith("Freeze depth 2 (")
    assert "learning rate 0.01, all labels." in said
    page.get_by_label("freeze depth", exact=True).first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => location.hash === '#depth=3&rate=0.01&labels=all'")
    assert watch.problems == []


@pytest.mark.parametrize("setting", ["#depth=99&rate=fast&labels=", "#depth=-1", "#seed=3&%E0%A4%A=%&&=", "#depth"])
def test_what_cannot_be_set_is_ignored(site: str, browser: Browser, page: Page, watch: Watch, setting: str):
    open_at(page, f"{site}/{MAP}{setting}")
    with fresh_page(browser) as plain:
        open_at(plain, f"{site}/{MAP}")
        assert page.evaluate(SETTING) == plain.evaluate(SETTING)
    assert page.evaluate("() => location.hash") == setting
    assert move(page, page.locator(HANDLES).first)
    page.wait_for_function("() => /[#&]depth=\\d/.test(location.hash)")
    assert watch.problems == []


def test_the_anchor_of_a_heading_works_on(site: str, page: Page, watch: Watch):
    open_at(page, f"{site}/{MAP}")
    link = page.locator(".bd-article section section[id]").last.get_attribute("id")
    open_at(page, f"{site}/{MAP}#{link}")
    page.reload()
    settle(page)
    assert fragment(page) == link
    page.wait_for_function(
        "id => Math.abs(document.getElementById(id).getBoundingClientRect().top) < innerHeight", arg=link
    )
    assert watch.problems == []
