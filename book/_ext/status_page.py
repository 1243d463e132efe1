"""Sphinx extension: the directives of the status page.

`{tl-status}` writes, from the ledger's records of kind "chapter" and "stopped chapter", one row for each chapter in
book/_toc.yml and one row for each of its claims; and, from the file of `make replicate`, what fresh seeds said of them.
`{tl-versions}` lists the versions that the newest run used. Nothing on
that page is typed by hand; a chapter without a record says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import visible
import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

COLD_BUDGET, WARM_BUDGET = 240.0, 90.0  # seconds for one chapter on two CPU cores
NOT_RUN = "not run here"


@dataclass
class ChapterStatus:
    """What the ledger knows of one chapter: its newest cold and warm run, the claims of the newest, and a later stop."""

    docname: str
    cold: dict | None = None
    warm: dict | None = None
    newest: dict | None = None
    stopped: dict | None = None
    claims: list[dict] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.docname.rpartition("/")[2]

    @property
    def passed(self) -> bool:
        return self.newest is not None and self.stopped is None and all(claim["held"] for claim in self.claims)

    @property
    def result(self) -> nodes.inline:
        """How the newest run ended: the word, and what stopped it."""
        if self.stopped is not None:
            return mark(f"stopped: {self.stopped['error']} ({when(self.stopped)})", False)
        if self.newest is None:
            return mark(NOT_RUN, None)
        return mark("passed", True) if self.passed else mark("claim failed", False)


def chapters_in(toc: Path) -> list[str]:
    """The document names below notebooks/, in the order of the table of contents."""

    def walk(node) -> Iterable[str]:
        if isinstance(node, dict):
            if str(node.get("file", "")).startswith("notebooks/"):
                yield node["file"].removesuffix(".ipynb")
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load(toc.read_text(encoding="utf-8"))))


def summarise(docnames: list[str], records: list[dict]) -> list[ChapterStatus]:
    """Pick each chapter's newest records; the record itself says whether it was cold."""
    table = {name: ChapterStatus(name) for name in docnames}
    by_name = {status.name: status for status in table.values()}
    for record in sorted(records, key=lambda record: record["time"]):
        status = by_name.get(record["chapter"])
        if status is None:
            continue
        if record["kind"] == "stopped chapter":
            status.stopped = record
            continue
        status.stopped = None
        if record["cold"]:
            status.cold = record
        else:
            status.warm = record
        status.newest, status.claims = record, record["claims"]
    return list(table.values())


def chapter_records() -> tuple[list[dict], Path]:
    """How chapters ended, finished or stopped, from this machine's ledger (none with fresh seeds); and the ledger's file."""
    from tl_helpers import ledger

    book = ledger.default()
    kinds = ("chapter", "stopped chapter")
    return [r for r in book.records() if r["kind"] in kinds and not r.get("seed_base")], book.path


def when(record: dict) -> str:
    """Date and minute of a record."""
    return record["time"][:16].replace("T", " ")


def mark(text: str, good: bool | None) -> nodes.inline:
    """Text with the class that book.css colours; the words carry the meaning, the colour only helps."""
    return nodes.inline("", text, classes=["tl-ok" if good else "tl-bad" if good is False else "tl-unknown"])


def seconds(record: dict | None, budget: float) -> nodes.inline:
    """A run's seconds against its budget."""
    if record is None:
        return mark("not measured", None)
    within = record["seconds"] <= budget
    return mark(f"{record['seconds']:.0f} s" + ("" if within else ", over budget"), within)


def document_link(docname: str) -> addnodes.pending_xref:
    """A link to a document, with the document's own title as its text."""
    reference = addnodes.pending_xref(
        "", refdomain="std", reftype="doc", reftarget=f"/{docname}", refexplicit=False, refwarn=True
    )
    reference += nodes.inline("", docname, classes=["xref", "std", "std-doc"])
    return reference


def table(header: list[str], rows: list[list], widths: list[int], classes: list[str]) -> nodes.table:
    """A docutils table; cells are strings, inline nodes, or lists of paragraphs."""
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=width) for width in widths]

    def row(cells) -> nodes.row:
        line = nodes.row()
        for cell in cells:
            entry = nodes.entry()
            if isinstance(cell, list):
                entry += cell
            else:
                entry += nodes.paragraph("", "", cell if isinstance(cell, nodes.Node) else nodes.Text(cell))
            line += entry
        return line

    head, body = nodes.thead(), nodes.tbody()
    head += row(header)
    body += [row(cells) for cells in rows]
    group += [head, body]
    return nodes.table("", group, classes=classes)


def chapter_table(statuses: list[ChapterStatus]) -> nodes.table:
    """One row for each chapter: result, claims, seconds against the budgets, and on what it ran."""
    rows = []
    for status in statuses:
        run, held = status.newest, sum(claim["held"] for claim in status.claims)
        rows.append(
            [
                document_link(status.docname),
                status.result,
                mark(f"{held}/{len(status.claims)}", held == len(status.claims)) if run else mark("–", None),
                seconds(status.cold, COLD_BUDGET),
                seconds(status.warm, WARM_BUDGET),
                f"{run['device']}, {run['threads']} thread{'s' if run['threads'] != 1 else ''}" if run else "–",
                when(run) if run else "–",
            ]
        )
    header = [
        "Chapter",
        "Result",
        "Claims held",
        f"Cold, of {COLD_BUDGET:.0f} s",
        f"Warm, of {WARM_BUDGET:.0f} s",
        "Ran on",
        "When (UTC)",
    ]
    return table(header, rows, [26, 12, 10, 14, 14, 14, 16], ["tl-status"])


def length_table(paths: Iterable[Path]) -> nodes.table:
    """One row for each chapter: how much of it a reader sees."""
    rows = [
        [document_link(f"notebooks/{path.stem}"), str(found.cells), str(found.lines)]
        for path in paths
        for found in [visible.visible(path)]
    ]
    return table(["Chapter", "Cells", "Lines of code"], rows, [40, 10, 14], ["tl-length"])


def claim_cell(claim: dict) -> list[nodes.Node]:
    """The statement, and below it the rule it was held against."""
    rule = nodes.inline("", claim["rule"], classes=["tl-rule"])
    return [nodes.paragraph("", claim["statement"]), nodes.paragraph("", "", rule)]


def fresh_of(status: ChapterStatus, replicated: dict) -> list[dict | None]:
    """For each claim of a chapter's newest run: the same claim with fresh seeds, or None."""
    from tl_helpers.book import replication

    return [replication.found(replicated, status.name, claim) for claim in status.claims]


def replication_table(statuses: list[ChapterStatus], replicated: dict) -> nodes.table:
    """One row for each chapter: its claims, how many hold, and what fresh seeds said of them."""
    rows = []
    for status in statuses:
        fresh = fresh_of(status, replicated)
        again, failed = (sum(other is not None and other["held"] is held for other in fresh) for held in (True, False))
        entry = replicated.get(status.name)
        rows.append(
            [
                document_link(status.docname),
                *(
                    [str(len(fresh)), str(sum(claim["held"] for claim in status.claims))]
                    if status.newest
                    else ["–", "–"]
                ),
                mark(str(again), True if again else None),
                mark(str(failed), False if failed else None),
                mark(str(len(fresh) - again - failed), None),
                f"{entry['date']}, {entry['commit'][:10]}" if entry else "not replicated yet",
            ]
        )
    header = ["Chapter", "Claims", "Held", "Held again", "Did not replicate", "Not replicated yet", "When, at commit"]
    return table(header, rows, [26, 8, 8, 10, 12, 12, 20], ["tl-replication"])


def fresh_cell(claim: dict, other: dict | None) -> nodes.inline:
    """What fresh seeds said of a claim, with the difference where it did not replicate."""
    from tl_helpers.book import replication

    if other is None:
        return mark(replication.NOT_YET, None)
    if other["held"] or other["difference"] is None:
        return mark(replication.HELD if other["held"] else replication.FAILED, other["held"])
    numbers = f"{other['difference']:+.2f} [{other['low']:+.2f}, {other['high']:+.2f}] {other['unit']}"
    return mark(f"{replication.FAILED}: {numbers.strip()}", False)


def claim_table(statuses: list[ChapterStatus], replicated: dict) -> nodes.table:
    """One row for each claim, with the measured difference and its interval (none for a claim without seeds)."""
    rows = []
    for status in statuses:
        for claim, other in zip(status.claims, fresh_of(status, replicated), strict=True):
            measured = claim["difference"] is not None
            rows.append(
                [
                    document_link(status.docname),
                    claim_cell(claim),
                    f"{claim['difference']:+.2f} {claim.get('unit', '')}".strip() if measured else "–",
                    f"{claim['low']:+.2f} to {claim['high']:+.2f}" if measured else "–",
                    str(claim["seeds"]) if measured else "–",
                    mark("held" if claim["held"] else "failed", claim["held"]),
                    fresh_cell(claim, other),
                ]
            )
    header = ["Chapter", "Claim", "Difference", "95 % interval", "Seeds", "Result", "Fresh seeds"]
    return table(header, rows, [20, 40, 11, 16, 7, 9, 14], ["tl-claims"])


class StatusDirective(SphinxDirective):
    """`{tl-status} chapters`, `replication`, `claims` or `length`: the generated tables."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from tl_helpers.book import replication

        records, ledger = chapter_records()
        for file in (ledger, replication.FILE):
            self.env.note_dependency(str(file))
        replicated = replication.load()
        docnames = chapters_in(Path(self.config.external_toc_path))
        statuses = summarise(docnames, records)
        match self.arguments[0]:
            case "chapters":
                return [chapter_table(statuses)]
            case "replication":
                return [replication_table(statuses, replicated)]
            case "length":
                paths = [Path(self.env.srcdir, f"{docname}.ipynb") for docname in docnames]
                for path in paths:
                    self.env.note_dependency(str(path))
                return [length_table(paths)]
            case "claims":
                if any(status.claims for status in statuses):
                    return [claim_table(statuses, replicated)]
                return [nodes.paragraph("", "No chapter has been run on the machine that built this page.")]
        raise self.error(f"tl-status takes 'chapters', 'replication', 'claims' or 'length', not {self.arguments[0]!r}")


class VersionsDirective(SphinxDirective):
    """`{tl-versions}`: what the newest run of any chapter used."""

    def run(self) -> list[nodes.Node]:
        records, ledger = chapter_records()
        self.env.note_dependency(str(ledger))
        if not any("versions" in record for record in records):
            return [nodes.paragraph("", "No chapter has been run on the machine that built this page.")]
        newest = max((record for record in records if "versions" in record), key=lambda record: record["time"])
        rows = [[name, str(version)] for name, version in newest["versions"].items()]
        return [table(["Software", "Version"], rows, [30, 30], ["tl-versions"])]


def setup(app):
    app.add_directive("tl-status", StatusDirective)
    app.add_directive("tl-versions", VersionsDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
