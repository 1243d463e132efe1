"""How much of a chapter a reader sees: its cells, and its lines of code.

    python book/_ext/visible.py [notebooks/NN_name.ipynb ...]     print a table, of all chapters by default

A line of code counts if it is not blank and stands in a code cell that the page does not hide or fold; comments, stubs and
checks of exercises count. A cell counts if any of it is seen: text, code or what code showed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

GONE = {"remove-cell", "hide-cell"}
"""Tags of cells that are not there, or folded with all they showed."""

FOLDED = GONE | {"remove-input", "hide-input"}
"""Tags of cells whose code is not seen until somebody unfolds it."""


class Visible(NamedTuple):
    """What a reader sees of one chapter."""

    cells: int
    lines: int


def visible(path: Path) -> Visible:
    """Cells and lines of code of a notebook that a reader sees."""
    cells = lines = 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        tags = set(cell["metadata"].get("tags", ()))
        cells += not tags & GONE
        if cell["cell_type"] == "code" and not tags & FOLDED:
            lines += sum(bool(line.strip()) for line in "".join(cell["source"]).splitlines())
    return Visible(cells, lines)


def main(names: list[str]) -> None:
    """Print the table."""
    paths = [Path(name) for name in names] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in paths:
        found = visible(path)
        print(f"{path.stem:32} {found.cells:4} cells {found.lines:5} lines")


if __name__ == "__main__":
    main(sys.argv[1:])
