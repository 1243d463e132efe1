"""Who may import whom: the order of the API page, no circle of files, and nothing stands on the book's own furniture."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tl_helpers"
METHODS = {"adaptation", "fewshot", "zeroshot", "continual"}


def name_of(path: Path, root: Path = PACKAGE) -> str:
    """Dotted name of a file, such as ``tl_helpers.data.task``."""
    return ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, also within its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:  # a module, or a name within one
                whole = f"{node.module}.{name.name}"
                found.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
    return {name for name in found if name in MODULES and name != "tl_helpers"}


def part(name: str) -> str:
    """The entry of the API page that a module belongs to: ``data`` for ``tl_helpers.data.task``."""
    parts = name.split(".")[1:]
    return parts[1] if parts[0] == "book" and len(parts) > 1 else parts[0]


def order() -> list[str]:
    """The entries of the API page, from the bottom up."""
    return re.findall(
        r"^- \{doc\}`(\w+)`", (ROOT / "book" / "api" / "index.md").read_text(encoding="utf-8"), re.MULTILINE
    )


GRAPH = {name: imports(path) for name, path in MODULES.items()}


def test_the_imports_are_seen():
    """A parser that finds nothing would let everything pass."""
    assert {"tl_helpers.runtime", "tl_helpers.cache"} <= GRAPH["tl_helpers.ledger"]
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
