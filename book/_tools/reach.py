"""What a chapter or a test depends on, as one short name: while the name is the same, nothing has to run again.

    python book/_tools/reach.py [notebooks/NN_name.ipynb tests/unit/test_x.py ...]     print the names

A chapter reaches its own code cells, the files of the repository that these import (and what those import, and so on), the
recorded results that any of them names, the scripts of the controls, its quiz, what fresh seeds said of its claims, the
versions of the libraries, and the settings that change what it computes. Docstrings, comments and the layout of code reach
nothing. A test reaches the same, from its own imports and its conftest; one that looks at the repository's files reaches
all of them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = ("TL_DEVICE", "TL_PRECISION", "TL_ENGINE", "TL_CLAIMS", "TL_ONLINE", "TL_SEED_BASE")
"""Variables that change what a chapter computes, or whether a claim that fails stops it."""


@dataclass(frozen=True)
class Code:
    """What one file of code says.

    Attributes
    ----------
    said : str
        Its syntax tree without docstrings.
    imported : frozenset of (int, str, str)
        Level, module and name of each import, also within functions; the name is empty where a module is imported whole.
    words : frozenset of str
        Its texts: a chapter names the recorded results that it reads.
    looks_around : bool
        Whether it asks where it lies, as a test does that reads the repository's files.
    """

    said: str
    imported: frozenset[tuple[int, str, str]]
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
    try:
        tree = ast.parse(text)
    except SyntaxError:  # whoever runs it will say so
        return Code(text, frozenset(), frozenset(), True)
    imported, words, looks_around = set(), set(), False
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names, level=level):
                imported |= {(level, module or "", name.name) for name in names}
            case ast.Import(names=names):
                imported |= {(0, name.name, "") for name in names}
            case ast.Constant(value=str(word)):
                words.add(word)
            case ast.Name(id="__file__" | "ROOT") | ast.Attribute(attr="__file__" | "ROOT"):
                looks_around = True
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [part for part in body if not _is_text(part)]
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


def _is_text(statement: ast.AST) -> bool:
    """A docstring, also that of a constant."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def direct(path: Path, known: Mapping[str, Path]) -> set[str]:
    """Those of the known modules that a file imports: ``from package import module`` is the module, not the package."""
    found = set()
    for level, module, name in code(path).imported:
        if level:
            own = next((each for each, file in known.items() if file == path and "." in each), "")
            parts = own.split(".") if path.name == "__init__.py" else own.split(".")[:-1]
            module = ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])
        found.add(f"{module}.{name}" if f"{module}.{name}" in known else module)
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
    number = path.name.partition("_")[0]
    if notebook:  # its exercises' checks are found by their place, not by an import
        first |= {f"tl_helpers.book.exercises.ch{number}"} & set(known)
    names = closure(first, known)
    files = [*own, *(known[name] for name in names)]
    digest = hashlib.sha256(sys.version.encode() + _installed().encode())
    for file in files:
        digest.update(code(file).said.encode())
    if notebook:
        digest.update(json.dumps([os.environ.get(name) for name in SETTINGS]).encode())
        digest.update(_said_by_fresh_seeds(path.stem, root).encode())
        questions = root / "tl_helpers" / "book" / "quizzes" / f"ch{number}.toml"
        digest.update(questions.read_bytes() if questions.exists() else b"")
    of_tests = [file for file in files if file.is_relative_to(root / "tests")]
    everything = any(code(file).looks_around for file in of_tests)
    for file in _all_files(root) if everything else _read_besides(files, names, root):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:32]


@functools.cache
def _installed() -> str:
    """Names and versions of all that is installed. Each once: on a path with the checkout, this package is found twice."""
    return str(sorted({(found.name, found.version) for found in importlib.metadata.distributions()}))


def _beside(path: Path, root: Path) -> Iterator[Path]:
    """What holds for a test without being imported by it."""
    for folder in path.parents:
        if not folder.is_relative_to(root / "tests"):
            return
        yield from (file for file in (folder / "conftest.py", folder / "__init__.py") if file.exists())


def _read_besides(files: list[Path], names: list[str], root: Path) -> Iterator[Path]:
    """Files that are no imported code: recorded results, the controls' scripts, what all tests and chapters run under."""
    words = {word for file in files for word in code(file).words}
    recorded = sorted((root / "tl_helpers" / "book" / "results").glob("*.*"))
    seeds = f".seeds{base}" if (base := _seed_base()) else ""  # of fresh seeds; what is the same for all seeds, too
    yield from (file for file in recorded if file.stem in words or (seeds and file.stem.removesuffix(seeds) in words))
    if "tl_helpers.book.widgets" in names:
        yield from sorted((root / "tl_helpers" / "book" / "_widgets").glob("*"))
    under = (root / "pyproject.toml", root / "tests" / "no_network" / "sitecustomize.py")
    yield from (file for file in under if file.exists())


def _seed_base() -> str:
    """``TL_SEED_BASE``; empty for the default, 0."""
    return os.environ.get("TL_SEED_BASE", "0").lstrip("0")


def _said_by_fresh_seeds(chapter: str, root: Path) -> str:
    """What a chapter's panel shows beside its claims; with fresh seeds it shows nothing."""
    file = root / "tl_helpers" / "book" / "results" / "replication.json"
    if _seed_base():
        return ""
    try:
        return json.dumps(json.loads(file.read_text(encoding="utf-8")).get(chapter, {}).get("claims", []))
    except (FileNotFoundError, ValueError):
        return "[]"


@functools.cache
def _all_files(root: Path) -> tuple[Path, ...]:
    """All files of the repository, also those that are not added yet; of a copy without git, all that are not hidden."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
        found = [root / name for name in sorted(names) if name]
    except (OSError, subprocess.CalledProcessError):
        found = sorted([*root.glob("*.*"), *root.glob("[!_.]*/**/*.*")])
    return tuple(file for file in found if file.is_file() and file.suffix != ".pyc")


if __name__ == "__main__":
    for asked in map(Path, sys.argv[1:]):
        print(reach(asked.resolve()), asked)
