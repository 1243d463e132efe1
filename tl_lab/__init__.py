"""JupyterLab shows the book and not its markup: what the browser needs to know for that.

The chapters are written in MyST, whose terms, links and citations point into the book's other files. JupyterLab renders
plain Markdown. The extension in `labextension` rewrites the one into the other while a cell or page is shown (the
notebook itself stays as it is); this module is its server half and answers one question: what do the names stand for?

Both are data of the installed package, so `jupyter lab` started by hand has them, too. Nothing is stored, nothing is
asked of another host, and where there is no book the answer is null and JupyterLab stays as it was.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import yaml
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

GLOSSARY, REFERENCES, START = "book/glossary.md", "book/references.bib", "book/start.md"
CITATION = re.compile(r"\s*\{cite[\w:]*\}`[^`]*`")
ROLE = re.compile(r"\{[\w:]+\}`([^`<]*[^`<\s])(?:\s*<[^`>]*>)?`")
BLOCK = re.compile(r"^```\{glossary\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"((?:^\S.*\n)+)((?:[ \t]+.*\n|\n)+)", re.MULTILINE)
TITLE = re.compile(r"^# +(.+)", re.MULTILINE)
LABEL = re.compile(r"^\(([\w-]+)\)=\n+(?:#+ +)?(.+)", re.MULTILINE)


def plain(text: str) -> str:
    """Text without its markup, on one line: for a tooltip or the words of a link."""
    text = ROLE.sub(r"\1", CITATION.sub("", text))
    return " ".join(re.sub(r"[*`$]|\\(?=[a-z])", "", text).split())


def find_book(served: Path) -> Path | None:
    """The folder of the book: the one served or the one above it, else the one this package was installed from."""
    for folder in (served, served.parent, Path(__file__).resolve().parents[1]):
        if (folder / GLOSSARY).is_file():
            return folder
    return None


def glossary(text: str) -> dict[str, str]:
    """Each term of a glossary page with its definition as plain text; several terms may share one."""
    entries = [entry for block in BLOCK.findall(text) for entry in ENTRY.findall(block + "\n")]
    return {term: plain(words) for terms, words in entries for term in terms.splitlines()}


def documents(book: Path) -> dict[str, dict[str, str]]:
    """Pages and chapters by their names in the book (`book/status`): their path, their title."""
    found = {}
    for path in [*sorted(book.glob("book/**/*.md")), *sorted(book.glob("notebooks/*.ipynb"))]:
        name = path.relative_to(book).as_posix()
        title = TITLE.search(markdown(path))
        found[name.removesuffix(path.suffix)] = {"path": name, "title": plain(title[1]) if title else path.stem}
    return found


def labels(book: Path) -> dict[str, dict[str, str]]:
    """Each `(label)=` of the book's pages and chapters: where it is, and the heading or text that it names."""
    found = {}
    for entry in documents(book).values():
        for label, text in LABEL.findall(markdown(book / entry["path"])):
            found[label] = {"path": entry["path"], "title": plain(text)}
    return found


def markdown(path: Path) -> str:
    """The text of a page, or of a notebook's text cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def citations(bibliography: Path) -> dict[str, dict[str, str]]:
    """Each source by its key, in the order of the list of references: who and when, and its entry in that list."""
    from pybtex.database import parse_file
    from pybtex.plugin import find_plugin
    from pybtex.richtext import Text

    text = find_plugin("pybtex.backends", "text")()
    entries = parse_file(str(bibliography)).entries
    formatted = find_plugin("pybtex.style.formatting", "plain")().format_entries(entries.values())
    found = {}
    for line in formatted:
        entry = entries[line.key]
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [Text.from_latex(" ".join([*one.prelast_names, *one.last_names])).render(text) for one in people]
        match names:
            case []:
                who = Text.from_latex(entry.fields["title"]).render(text)
            case [first]:
                who = first
            case [first, second]:
                who = f"{first} and {second}"
            case [first, *_]:
                who = f"{first} et al."
        found[line.key] = {"who": who, "year": entry.fields.get("year", "n.d."), "full": line.text.render(text)}
    return found


def index(served: Path) -> dict | None:
    """What the book's names stand for, given the folder that the server shows; None where there is no book."""
    book = find_book(served.resolve())
    if book is None:
        return None
    inside = book == served.resolve() or served.resolve() in book.parents
    repository = yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    return {
        "terms": glossary((book / GLOSSARY).read_text(encoding="utf-8")),
        "citations": citations(book / REFERENCES),
        "documents": documents(book),
        "labels": labels(book),
        "substitutions": {"repository": f"<{repository}>"},
        # Pages can be opened, and there is a start page, only where the server shows the book's own folder.
        "pages": inside,
        "start": (book / START).relative_to(served.resolve()).as_posix() if inside else None,
    }


class IndexHandler(APIHandler):
    """`GET transfer-learning-book/index`: the index as JSON, made anew from the files at each start of the page."""

    @web.authenticated
    async def get(self) -> None:
        self.finish(json.dumps(await asyncio.to_thread(index, Path(self.serverapp.root_dir))))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "tl_lab"}]


def _load_jupyter_server_extension(server) -> None:
    route = url_path_join(server.web_app.settings["base_url"], "transfer-learning-book", "index")
    server.web_app.add_handlers(".*$", [(route, IndexHandler)])
