"""Sphinx extension: `{tl-costs} features` and `{tl-costs} training`, cost estimates computed from benchmarks/*.json."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from status_page import table

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
IMAGES = (10_000, 100_000, 1_000_000)
RUNS = (10_000, 10, 5)
"""Pictures, epochs and seeds of the second table."""


def duration(seconds: float) -> str:
    """In the largest unit that gives 1 or more, with two digits: "7.5 min"."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{seconds:.2g}'):g} s"


def features_rows(note: dict) -> list[list[str]]:
    """Of each size of pictures: pictures a second in a plain loop and in the book, and how long some numbers take."""
    found = []
    for size, seconds in note["seconds"].items():
        if not size.endswith("px"):
            continue
        ours = min(seconds[f"ours with decoding, {engine}"] for engine in ("torch", "onnxruntime")) / note["cells"]
        rates = [f"{1 / each:.0f}" for each in (seconds["plain"] / note["cells"], ours)]
        found.append([size, *rates, *(duration(ours * images) for images in IMAGES)])
    return found


def training_rows(note: dict) -> list[list[str]]:
    """Of each freeze depth: pictures a second in training, and how long the training of `RUNS` takes."""
    taken = defaultdict(list)
    for row in note["rows"]:
        if row["method"] == "ours":
            taken[row["depth"]].append(row["training"])
    shown = note["labels"] * note["epochs"]
    pictures, epochs, seeds = RUNS
    rates = {depth: shown * len(seconds) / sum(seconds) for depth, seconds in taken.items()}
    return [
        [str(depth), f"{rate:.0f}", duration(pictures * epochs / rate), duration(pictures * epochs * seeds / rate)]
        for depth, rate in sorted(rates.items())
    ]


class CostsDirective(SphinxDirective):
    """`{tl-costs} features` or `{tl-costs} training`: a generated table, and under it what it was measured with."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        what = self.arguments[0]
        path = FOLDER / {"features": "features.json", "training": "freeze_grid.json"}[what]
        self.env.note_dependency(str(path))
        note = json.loads(path.read_text(encoding="utf-8"))
        if what == "features":
            many = [f"{images:,} pictures" for images in IMAGES]
            header = ["Size", "Plain loop, pictures/s", "This book, pictures/s", *many]
            found = table(header, features_rows(note), [10, 16, 16, 14, 14, 14], ["tl-costs"])
        else:
            pictures, epochs, seeds = RUNS
            one = f"{pictures:,} pictures, {epochs} epochs"
            header = ["Stages frozen", "Pictures/s in training", one, f"... and {seeds} seeds"]
            found = table(header, training_rows(note), [14, 20, 24, 20], ["tl-costs"])
        size = f"{note['pixels']} px; " if "pixels" in note else ""
        machine = f"{size}EfficientNet-Lite0, float32, {note['threads']} threads of a CPU with {note['cpu']}, "
        versions = f"PyTorch {note['versions']['torch']}; benchmarks/{path.name}."
        return [found, nodes.paragraph("", f"Measured with: {machine}{versions}")]


def setup(app):
    app.add_directive("tl-costs", CostsDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
