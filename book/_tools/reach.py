"""What a chapter or a test depends on, as one short name: while the name is the same, nothing has to run again.

    python book/_tools/reach.py [notebooks/NN_name.ipynb tests/unit/test_x.py ...]     print the names

A chapter reaches its own code cells, the files of the repository that these import (and what those import, and so on), the
recorded results that any of them names, the scripts of the controls, and the versions of the libraries. Docstrings,
comments and the layout of code reach nothing. A test reaches the same, from its own imports and its conftest; one that
looks at the repository's files reaches all of them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Code:
    """What one file of code says.

    Attributes
    ----------
    said : str
        Its syntax tree without docstrings.
    imported : frozenset of (str, str)
        Module and name of each import, also within functions; the name is empty where a module is imported whole.
    words : frozenset of str
        Its texts: a chapter names the recorded results that it reads.
    looks_around : bool
        Whether it asks where it lies, as a test does that reads the repository's files.
    """

    said: str
    imported: frozenset[tuple[str, str]]
    words: frozenset[str]
    looks_around: bool


def code(path: Path) -> Code:
    """A Python file, or the code cells of a notebook."""
    stat = path.stat()
    return _code(path, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _code(path: Path, *_stamp: int) -> Code:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = "\n".join(map(TransformerManager().transform_cell, cells))  # magic lines become calls
    tree = ast.parse(text)
    imported, words, looks_around = set(), set(), False
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=0):
                imported |= {(module, name.name) for name in names}
            case ast.Import(names=names):
                imported |= {(name.name, "") for name in names}
            case ast.Constant(value=str(word)):
                words.add(word)
            case ast.Name(id="__file__" | "ROOT"):
                looks_around = True
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return Code(ast.dump(tree), frozenset(imported), frozenset(words), looks_around)


def modules(root: Path) -> dict[str, Path]:
    """The repository's files of code by the name that imports them: ``tl_helpers.data.task``, ``tests.unit.conftest``.

    Tools and tests also go by their bare name, such as ``execute``, as they are on the path when tests run.
    """
    found = {}
    for folder in ("tl_helpers", "tl_lab", "tests"):
        for path in sorted((root / folder).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    for pattern in ("book/_tools/*.py", "book/_ext/*.py", "tests/*/test_*.py"):
        found |= {path.stem: path for path in sorted(root.glob(pattern))}
    return found


def direct(path: Path, known: Mapping[str, Path]) -> set[str]:
    """Those of the known modules that a file imports: ``from package import module`` is the module, not the package."""
    found = {f"{module}.{name}" if f"{module}.{name}" in known else module for module, name in code(path).imported}
    return found & set(known)


def closure(names: set[str], known: Mapping[str, Path]) -> list[str]:
    """These modules and all that are loaded with them: what they import, and the packages they lie in."""
    seen, todo = set(), set(names)
    while todo:
        name = todo.pop()
        seen.add(name)
        packages = {name.rpartition(".")[0]} & set(known)
        todo |= (direct(known[name], known) | packages) - seen
    return sorted(seen)


def reach(path: Path, root: Path | None = None) -> str:
    """The name of all that a notebook or a test file depends on: 32 hexadecimal digits."""
    root = root or ROOT
    known, notebook = modules(root), path.suffix == ".ipynb"
    own = [path] if notebook else [path, *_beside(path, root)]
    first = {name for file in own for name in direct(file, known)}
    if notebook:  # its exercises' checks are found by their place, not by an import
        first |= {f"tl_helpers.book.exercises.ch{path.name[:2]}"} & set(known)
    names = closure(first, known)
    sources = [code(file) for file in [*own, *(known[name] for name in names)]]
    digest = hashlib.sha256(sys.version.encode())
    for source in sources:
        digest.update(source.said.encode())
    everything = not notebook and any(code(file).looks_around for file in own)
    for file in _tracked(root) if everything else _read_besides(sources, names, root):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:32]


def _beside(path: Path, root: Path) -> Iterator[Path]:
    """What a test shares with its neighbours: conftest and helpers, here and in the folders above."""
    for folder in path.parents:
        if not folder.is_relative_to(root / "tests"):
            return
        yield from (file for file in sorted(folder.glob("*.py")) if not file.name.startswith("test_"))


def _read_besides(sources: list[Code], names: list[str], root: Path) -> Iterator[Path]:
    """Files that are no code: versions, recorded results, the controls' scripts."""
    yield root / "constraints.txt"
    words = {word for source in sources for word in source.words}
    recorded = sorted((root / "tl_helpers" / "book" / "results").glob("*.csv"))
    yield from (file for file in recorded if file.stem in words)
    if "tl_helpers.book.widgets" in names:
        yield from sorted((root / "tl_helpers" / "book" / "_widgets").glob("*"))


def _tracked(root: Path) -> Iterator[Path]:
    """All files of the repository; those of a copy without git, too."""
    asked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False)
    names = asked.stdout.splitlines() or [str(f) for f in sorted([*root.glob("*.*"), *root.glob("[!_.]*/**/*.*")])]
    yield from (root / name for name in names if (root / name).is_file() and not name.endswith(".pyc"))


if __name__ == "__main__":
    for asked in map(Path, sys.argv[1:]):
        print(reach(asked.resolve()), asked)
