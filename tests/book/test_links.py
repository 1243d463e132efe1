"""Links between the pages of the built site resolve, anchors included."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest
from builtsite import HTML, built_pages

pytestmark = pytest.mark.slow


class Anchors(HTMLParser):
    """Collects what a page can be linked to (ids) and what it links to (href and src)."""

    def __init__(self):
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        self.links |= {values[key] for key in ("href", "src") if values.get(key)}


@pytest.fixture(scope="module")
def pages() -> dict[str, Anchors]:
    found = {}
    for path in built_pages():
        found[path] = Anchors()
        found[path].feed((HTML / path).read_text(encoding="utf-8"))
    return found


def resolve(page: str, link: str) -> tuple[str, str]:
    """(path below the site, anchor) that `link` on `page` points to; ".." above the top stays visible."""
    parts = urlsplit(link)
    target = PurePosixPath(page).parent / unquote(parts.path) if parts.path else PurePosixPath(page)
    steps: list[str] = []
    for step in target.parts:
        if step == ".." and steps and steps[-1] != "..":
            steps.pop()
        elif step != ".":
            steps.append(step)
    return "/".join(steps), unquote(parts.fragment)


def test_local_links_and_anchors_exist(pages):
    broken = []
    for page, anchors in pages.items():
        for link in anchors.links:
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            target, anchor = resolve(page, link)
            if not (HTML / target).is_file():
                broken.append(f"{page}: {link} leads nowhere")
            elif anchor and target in pages and anchor not in pages[target].ids:
                broken.append(f"{page}: {link} has no such anchor")
    assert broken == []


def test_a_broken_link_would_be_found():
    assert resolve("book/index.html", "../notebooks/a.html#b") == ("notebooks/a.html", "b")
    assert resolve("book/index.html", "#top") == ("book/index.html", "top")
    assert resolve("book/api/data.html", "../../../x.html") == ("../x.html", "")


def test_chapters_offer_colab_and_binder(pages):
    for page, anchors in pages.items():
        if page.startswith("notebooks/"):
            hosts = {urlsplit(link).hostname for link in anchors.links}
            assert {"mybinder.org", "colab.research.google.com"} <= hosts, page
