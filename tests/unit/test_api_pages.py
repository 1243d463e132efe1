"""Every public module of tl_helpers has a place on the API pages, and these pages document nothing else.

A package is one entry: what its `__init__` imports is what readers import, whichever file a name lives in. The folders
`book` and `book/studies` have none: their files are imported one by one.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
OPEN = {"": "tl_helpers", "book": "tl_helpers.book", "book/studies": "tl_helpers.book.studies"}
DOCUMENTED = re.compile(r"^\.\. automodule:: (tl_helpers[\w.]*)", re.MULTILINE)


def public_modules() -> set[str]:
    """Dotted names of the modules and packages that have no leading underscore."""
    found = {"tl_helpers.book.studies"}  # what its files have in common
    for folder, name in OPEN.items():
        package = ROOT / "tl_helpers" / folder
        names = {path.stem for path in package.glob("*.py")} | {p.parent.name for p in package.glob("*/__init__.py")}
        found |= {f"{name}.{each}" for each in names if not each.startswith("_")}
    return found - {"tl_helpers.book"}


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
