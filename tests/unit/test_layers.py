"""Who may import whom: the order of the API page, no circle of files, and nothing stands on the book's own furniture."""

from __future__ import annotations

import graphlib
import re
from pathlib import Path

import pytest
import reach

ROOT = Path(__file__).parents[2]
METHODS = {"adaptation", "fewshot", "zeroshot", "continual", "multitask"}

MODULES = {name: path for name, path in reach.modules(ROOT).items() if name.startswith("tl_helpers")}
GRAPH = {name: reach.direct(path, MODULES) - {"tl_helpers"} for name, path in MODULES.items()}


def part(name: str) -> str:
    """The entry of the API page that a module belongs to: ``data`` for ``tl_helpers.data.task``."""
    parts = name.split(".")[1:]
    return parts[1] if parts[0] == "book" and len(parts) > 1 else parts[0]


def order() -> list[str]:
    """The entries of the API page, from the bottom up."""
    return re.findall(
        r"^- \{doc\}`(\w+)`", (ROOT / "book" / "api" / "index.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_the_imports_are_seen():
    """A parser that finds nothing would let everything pass."""
    assert {"tl_helpers.runtime", "tl_helpers.store"} <= GRAPH["tl_helpers.ledger"]
    assert sum(map(len, GRAPH.values())) > 200
    with pytest.raises(graphlib.CycleError):
        tuple(graphlib.TopologicalSorter(GRAPH | {"tl_helpers.runtime": {"tl_helpers.ledger"}}).static_order())


def test_no_circle_of_files():
    tuple(graphlib.TopologicalSorter(GRAPH).static_order())


def test_a_module_imports_only_from_those_listed_before_it():
    place = {name: number for number, name in enumerate(order())}
    inner = {"panel": "claims"}  # a page of its own would not help anybody
    wrong = []
    for name, imported in GRAPH.items():
        if name in ("tl_helpers", "tl_helpers.book"):
            continue
        here = inner.get(part(name), part(name))
        for other in imported:
            there = inner.get(part(other), part(other))
            if there != here and (place[there] > place[here] or {here, there} <= METHODS):
                wrong.append(f"{name} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_nothing_stands_on_the_books_own_furniture():
    wrong = [
        f"{name} imports {other}"
        for name, imported in GRAPH.items()
        for other in imported
        if other.startswith("tl_helpers.book") and not name.startswith("tl_helpers.book")
    ]
    assert not wrong, "\n".join(wrong)
