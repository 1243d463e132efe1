"""Give every chapter the cell that installs the book where a notebook is opened on its own, as in Colab.

    python book/_tools/install_cell.py            # write it, with the repository's address from _config.yml
    python book/_tools/install_cell.py --check    # only say which chapters lack it; exit code 1 if any does

The cell is the first code cell, before the first import; the site does not show it, and JupyterLab shows it folded.
Where the package is installed it does nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

SOURCE = """\
import sys
from importlib.util import find_spec

# A notebook on its own needs the book's package.
if find_spec("tl_helpers") is None:
    book = "{address}"
    if "google.colab" not in sys.modules:
        how = f"%pip install git+{{book}}"
        raise ImportError(f"Install the book first, in its own cell: {{how}}")
    %pip install -q git+{{book}}"""


def address() -> str:
    """The repository's address, from its one place."""
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"].rstrip("/")


def with_cell(notebook: dict, number: str, url: str) -> dict:
    """The notebook of a chapter with the cell as its first code cell; all others stay as they are."""
    name = f"c{number}-install"
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {"jupyter": {"source_hidden": True}, "tags": ["remove-cell"]},
        "outputs": [],
        "source": SOURCE.format(address=url).splitlines(keepends=True),
    }
    others = [other for other in notebook["cells"] if other.get("id") != name]
    first = next(at for at, other in enumerate(others) if other["cell_type"] == "code")
    return notebook | {"cells": [*others[:first], cell, *others[first:]]}


def main(arguments: list[str], folder: Path = ROOT / "notebooks") -> int:
    """Write or check the cells; returns the exit code."""
    url, lacking = address(), []
    for path in sorted(folder.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        wanted = (
            json.dumps(with_cell(json.loads(text), path.name.partition("_")[0], url), indent=1, ensure_ascii=False)
            + "\n"
        )
        if wanted != text:
            lacking.append(path.name)
            if "--check" not in arguments:
                path.write_text(wanted, encoding="utf-8")
    if lacking:
        print(f"{'without the cell' if '--check' in arguments else 'written'}: {', '.join(lacking)}")
    return 1 if lacking and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
