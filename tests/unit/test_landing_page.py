"""The landing page's cards stand as the table of contents does: the same chapters, in the same order and parts."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOC = ROOT / "book" / "_toc.yml"
LANDING = ROOT / "book" / "index.md"


def parts_of_toc(text: str) -> list[tuple[str, list[str]]]:
    """Caption and chapters of each part that has any, in order."""
    parts = [
        (part["caption"], [entry["file"] for entry in part["chapters"] if entry["file"].startswith("notebooks/")])
        for part in yaml.safe_load(text)["parts"]
    ]
    return [(caption, chapters) for caption, chapters in parts if chapters]


def parts_of_landing_page(text: str) -> list[tuple[str, list[str]]]:
    """Heading and linked chapters of each section with cards, in order."""
    sections = re.split(r"^## +(.+?)\s*$", text, flags=re.MULTILINE)[1:]
    parts = [
        (heading, re.findall(r"^:link: +/?(notebooks/\S+)", body, re.MULTILINE))
        for heading, body in zip(sections[::2], sections[1::2], strict=True)
    ]
    return [(heading, chapters) for heading, chapters in parts if chapters]


def test_each_chapter_has_its_card_under_the_caption_of_its_part():
    expected = parts_of_toc(TOC.read_text(encoding="utf-8"))
    assert len(expected) > 1
    assert parts_of_landing_page(LANDING.read_text(encoding="utf-8")) == expected


def test_each_card_carries_its_chapters_number():
    text = LANDING.read_text(encoding="utf-8")
    cards = re.findall(r"\{grid-item-card\} (\d+[a-z]?) · .*\n:link: +/?notebooks/(\d+[a-z]?)_", text)
    chapters = [chapter for _, some in parts_of_toc(TOC.read_text(encoding="utf-8")) for chapter in some]
    assert len(cards) == len(chapters)
    assert [(card, chapter) for card, chapter in cards if card != chapter.lstrip("0")] == []
