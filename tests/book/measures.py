"""What a reader cannot see whole (`cut.js`) or can hardly read (`contrast.js`), one line for each place."""

from __future__ import annotations

from pathlib import Path

from builtsite import STILL
from playwright.sync_api import Page

HERE = Path(__file__).parent
CUT = (HERE / "cut.js").read_text(encoding="utf-8")
CONTRAST = (HERE / "contrast.js").read_text(encoding="utf-8")

CONTROLS = ".cell_output .tl-control"
BOXES = ".cell_output :is(.tl-feedback, .tl-claim, .tl-asking, table)"

# What is folded away is measured, too.
UNFOLD = """() => {
    document.querySelectorAll('details').forEach(folded => { folded.open = true; });
    document.querySelectorAll('.toggle-hidden').forEach(folded => folded.classList.remove('toggle-hidden'));
}"""

# Texts of a control's figure that lie over one another.
OVERLAPS = """() => [...document.querySelectorAll('.tl-control svg')].flatMap(svg => {
    const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim() && t.checkVisibility())
        .map(t => ({ words: t.textContent.trim().slice(0, 30), box: t.getBoundingClientRect() }));
    return texts.flatMap((a, k) => texts.slice(k + 1)
        .filter(b => Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 3
                  && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 5)
        .map(b => `${a.words} / ${b.words}`));
})"""


def cut(page: Page) -> list[dict]:
    """What is cut on a page, everything unfolded, once it stands still: see `cut.js`."""
    page.evaluate(UNFOLD)
    page.evaluate(STILL)
    return page.evaluate(CUT)


def allowed_on_a_phone(one: dict) -> bool:
    """Whether a reader sees that there is more, and can get there."""
    framed = ".tl-scroll" in one["selector"].split(" > ")[-1] or "mjx-container" in one["selector"]
    return one["kind"] == "scrolls" and (one["code"] or framed) and one["edge"] and one["bar"] >= 6


def cut_on_a_laptop(page: Page) -> list[str]:
    """Nothing may be cut there."""
    return told(cut(page))


def cut_on_a_phone(page: Page) -> list[str]:
    """Code, tables and equations may scroll there, in a frame whose edge shows that there is more."""
    return told([one for one in cut(page) if not allowed_on_a_phone(one)])


def overlaps(page: Page) -> list[str]:
    """Pairs of texts in the figures of controls that lie over one another."""
    return [f"one text over another: {pair}" for pair in page.evaluate(OVERLAPS)]


def told(entries: list[dict]) -> list[str]:
    """One line for each place that is cut: what, where, by how much, its first words."""
    return [f"{one['kind']} by {one['wider']} px: {one['selector']}: {one['text']!r}" for one in entries]


def faint(page: Page, selector: str) -> tuple[list[str], int]:
    """Texts below `selector` with a contrast below 4.5 : 1, one line each; and how many texts were looked at."""
    seen = page.evaluate(CONTRAST, selector)
    lines = [
        f"{one['text']!r}: {one['ratio']} ({one['ink']} on {one['paper']}, {one['where']})" for one in seen["found"]
    ]
    return lines, seen["looked"]
