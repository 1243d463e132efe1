"""Chapters and studies take their seeds from one place: no list of seeds is typed, nothing is indexed by a typed seed."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).parents[2]
FILES = [
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "tl_helpers" / "book" / "studies").glob("*.py")),
]


def source_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join(TransformerManager().transform_cell("".join(cell["source"])) for cell in cells)


def is_number(node: ast.AST) -> bool:
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def is_typed_list(node: ast.AST) -> bool:
    """A range, a tuple, list or set of typed numbers, or something made of one such as ``tuple(range(5))``."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return bool(node.elts) and all(map(is_number, node.elts))
    if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in ("range", "arange"):
            return all(map(is_number, node.args))
        return name in ("tuple", "list", "iter", "set", "enumerate") and any(map(is_typed_list, node.args))
    return False


def is_seed(node: ast.AST) -> bool:
    """A name such as SEEDS, MORE_SEEDS, seed, new_seeds, or the text "seed"."""
    name = node.id if isinstance(node, ast.Name) else node.value if isinstance(node, ast.Constant) else ""
    return isinstance(name, str) and {"seed", "seeds"} & set(name.lower().split("_")) != set()


def pairs(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """What is named beside what it gets: assignments, loops, entries of dictionaries."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    same = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                    yield from zip(target.elts, value.elts, strict=False) if same else [(target, value)]
            case ast.AnnAssign(target=target, value=ast.AST() as value):
                yield target, value
            case ast.For(target=target, iter=found) | ast.comprehension(target=target, iter=found):
                parts = found.args if isinstance(target, ast.Tuple) and isinstance(found, ast.Call) else []
                yield target, found
                yield from zip(getattr(target, "elts", ()), parts, strict=False)
            case ast.Dict(keys=keys, values=values):
                yield from ((key, value) for key, value in zip(keys, values, strict=True) if key is not None)


def typed_seeds(source: str) -> list[str]:
    """The lines that type a list of seeds, or take something out by a typed seed."""
    tree = ast.parse(source)
    found = [ast.unparse(value) for name, value in pairs(tree) if is_seed(name) and _has_typed_list(value)]
    subscripts = [
        node for node in ast.walk(tree) if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
    ]
    by_seed = {node.value.id for node in subscripts if any(is_loop_seed(part) for part in _keys(node.slice))}
    for name, value in pairs(tree):  # SPLITS = {seed: ... for seed in SEEDS}
        if isinstance(name, ast.Name) and isinstance(value, ast.DictComp) and is_loop_seed(value.key):
            by_seed.add(name.id)
    typed = (node for node in subscripts if node.value.id in by_seed and any(map(is_number, _keys(node.slice))))
    return found + [ast.unparse(node) for node in typed]


def is_loop_seed(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "seed"


def _keys(node: ast.AST) -> list[ast.AST]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _has_typed_list(value: ast.AST) -> bool:
    """Also among a dictionary's values, as in ``MORE_SEEDS = {100: (0, 1, 2)}``."""
    return is_typed_list(value) or (isinstance(value, ast.Dict) and any(map(is_typed_list, value.values)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_seed_is_typed(path):
    assert typed_seeds(source_of(path)) == [], "take them from chapter.seeds(n), and the first one by SEEDS[0]"


@pytest.mark.parametrize(
    ("source", "typed"),
    [
        ("SEEDS = (0, 1, 2)", True),
        ("SEEDS = range(5)", True),
        ("SIZE, LABELS, SEEDS = 64, 300, (0, 1, 2)", True),
        ("SEEDS = tuple(range(5))", True),
        ("MORE_SEEDS = {100: (0, 1)}", True),
        ("seeds = iter(range(3, 10_000))", True),
        ("for seed in range(3):\n    pass", True),
        ("x = [f(seed) for seed in (0, 1)]", True),
        ("grid = {'depth': (0, 1), 'seed': (0, 1, 2)}", True),
        ("for seed, name in itertools.product(range(3), NAMES):\n    pass", True),
        ("splits = {seed: f(seed) for seed in SEEDS}\nfirst = splits[0]", True),
        ("for seed in SEEDS:\n    scores[seed] = 1\nprint(scores[0])", True),
        ("tasks['mono', seed] = 1\nprint(tasks['mono', 0])", True),
        ("SEEDS = chapter.seeds(3)\nsplits = {seed: f(seed) for seed in SEEDS}\nfirst = splits[SEEDS[0]]", False),
        ("SEEDS, MANY = seeds(5), seeds(10)\nfirst = SEEDS[:2]", False),
        ("for seed in SEEDS[:3]:\n    rows[0] += f(seed)", False),
        ("grid = {'depth': tuple(range(9)), 'seed': (CHOICE_SEED,)}", False),
        ("for part in range(5):\n    sampler.take(200, start=200 * part)", False),
        ("steps = (0, 1, 5)\nmodel = make(seed=0)", False),
    ],
)
def test_typed_seeds_are_found(source, typed):
    assert bool(typed_seeds(source)) is typed
