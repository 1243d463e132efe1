"""Every public module of tl_helpers has a place on the API pages, and these pages document nothing else.

A package is one entry: its `__all__` is what readers import, whichever file a name lives in.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTED = re.compile(r"^\.\. automodule:: (tl_helpers[\w.]*)", re.MULTILINE)


def public_modules() -> set[str]:
    """Dotted names of the modules and packages directly below tl_helpers that have no leading underscore."""
    package = ROOT / "tl_helpers"
    names = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    return {f"tl_helpers.{name}" for name in names if not name.startswith("_")}


def documented_modules() -> list[str]:
    pages = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "book" / "api").glob("*.md")))
    return [name for page in pages for name in DOCUMENTED.findall(page)]


def test_every_public_module_has_an_api_entry():
    missing = public_modules() - set(documented_modules())
    assert not missing, "add `.. automodule::` lines below book/api: " + ", ".join(sorted(missing))


def test_api_pages_document_each_module_once_and_only_what_exists():
    documented = documented_modules()
    assert sorted(documented) == sorted(set(documented))
    assert set(documented) <= public_modules()


def test_every_api_page_is_in_the_table_of_contents():
    toc = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    pages = {f"book/api/{path.stem}" for path in (ROOT / "book" / "api").glob("*.md")}
    assert pages == set(re.findall(r"file: (book/api/\w+)", toc))
