"""Sphinx extension: `{tl-recorded}`, one row for each recorded study, written from the files in tl_helpers/book/results."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from status_page import table

FOLDER = Path(__file__).resolve().parents[2] / "tl_helpers" / "book" / "results"


def rows(folder: Path) -> list[list[str]]:
    """Study, cells, computing time, machine, commit and command of each study, by name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        note = json.loads(path.read_text(encoding="utf-8"))
        if "study" not in note:  # what replication said
            continue
        fresh = f" (fresh seeds, from {note['seed_base']} on)" if note.get("seed_base") else ""
        machine = note["machine"]
        commit = note["commit"][:10] + (" with changes" if note["changed_since_commit"] else "")
        found.append(
            [
                f"{note['study']}: {note['title']}{fresh}",
                f"{note['cells_done']} of {note['cells_all']}",
                f"{note['seconds'] / 60:.0f} min",
                f"{machine['processor']}, {machine['instructions']}, {machine['device']}, {machine['precision']}",
                f"{note['date']}, {commit}",
                note["command"],
            ]
        )
    return found


class RecordedDirective(SphinxDirective):
    """`{tl-recorded}`: the generated table."""

    def run(self) -> list[nodes.Node]:
        for path in FOLDER.glob("*.json"):
            self.env.note_dependency(str(path))
        found = rows(FOLDER)
        if not found:
            return [nodes.paragraph("", "Nothing is recorded in this copy of the book.")]
        header = ["Study", "Runs", "Computing time, one process", "Machine", "Recorded at commit", "Command"]
        return [table(header, found, [34, 9, 12, 20, 14, 14], ["tl-recorded"])]


def setup(app):
    app.add_directive("tl-recorded", RecordedDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
