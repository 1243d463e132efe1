"""Sphinx extension: `{tl-recorded}`, one row for each recorded study, written from the files in tl_helpers/book/results."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from status_page import table

PACKAGE = Path(__file__).resolve().parents[2] / "tl_helpers"
FOLDER = PACKAGE / "book" / "results"

PRESENT, EARLIER = "the present code", "an earlier version of the code"


def present_code() -> dict[str, str | None]:
    """The names of the code of all studies, as it is now; None where it cannot be named."""
    from tl_helpers.book import results
    from tl_helpers.book.studies.catalogue import STUDIES

    return {name: results.code_name(study) for name, study in STUDIES.items()}


def said_of_code(note: dict, name: str | None) -> str:
    """Whether a study was recorded with the code of this name. What was recorded before code had names was earlier."""
    recorded = note.get("code")
    if recorded is not None and recorded == name:
        return PRESENT
    if recorded is not None and name is None:
        return "not known: its code has no name now"
    version = _minor(note["versions"]["python"])
    if recorded is not None and version != _minor(platform.python_version()):
        return f"not known: recorded with Python {version}"
    return EARLIER


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def rows(folder: Path, code: Mapping[str, str | None]) -> list[list[str]]:
    """Study, cells, computing time, machine, commit, whether by the present code, and command of each study, by name.

    Parameters
    ----------
    folder : Path
        Of the recorded results.
    code : mapping
        The names of the present code, by study.
    """
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
                f"{machine['processor']}, {machine['instructions']}, {machine['device']}, {machine['precision']}, "
                f"frozen stages in {machine.get('frozen stages', 'torch')}",
                f"{note['date']}, {commit}",
                said_of_code(note, code.get(note["study"])),
                note["command"],
            ]
        )
    return found


class RecordedDirective(SphinxDirective):
    """`{tl-recorded}`: the generated table."""

    def run(self) -> list[nodes.Node]:
        for path in (*FOLDER.glob("*.json"), *PACKAGE.rglob("*.py")):
            self.env.note_dependency(str(path))
        found = rows(FOLDER, present_code())
        if not found:
            return [nodes.paragraph("", "Nothing is recorded in this copy of the book.")]
        made = ["Machine", "Recorded at commit", "Recorded with", "Command"]
        header = ["Study", "Runs", "Computing time, one process", *made]
        return [table(header, found, [31, 8, 11, 18, 13, 9, 13], ["tl-recorded"])]


def setup(app):
    app.add_directive("tl-recorded", RecordedDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
