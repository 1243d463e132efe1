"""Glyphs: the characters of ten scripts, printed in many fonts, for learning to learn from few samples.

The classes of meta-training, validation and test come from different scripts, so a model is tested on characters of
alphabets that it has never seen - the printed cousin of Omniglot (Lake et al. 2015), from fonts that pip installs.
"""

from __future__ import annotations

import functools
import importlib.resources
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from tl_helpers import keys, runtime, store
from tl_helpers.data.errors import TaskError
from tl_helpers.data.splits import SPLITS
from tl_helpers.data.task import Samples

SIDE = 28
"""Pixels of a print, as in Omniglot and MNIST."""

PRINTS = 20
"""Prints of each character: as many as Omniglot has writers."""

TWINS = 0.9
"""Cosine similarity of two upright prints from which on they count as one character, like Latin A and Greek Alpha."""

WEIGHTS = (300, 700)
"""The light and the bold cut taken from a variable font."""

SANS = ("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique", "SansMono", "SansMono-Bold")
DEJAVU = tuple(f"DejaVu{family}" for family in SANS)
DEJAVU_SERIF = tuple(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic"))
EUROPEAN = (*DEJAVU, *DEJAVU_SERIF, "comfortaa", "roboto_slab", "fira_code", "play", "press_start_2p", "STIXGeneral")
SEMITIC = ("rubik", "DejaVuSans", "DejaVuSans-Bold")


@dataclass(frozen=True)
class Script:
    """An alphabet: its characters as ranges of code points (last one included), and the fonts it is printed in."""

    ranges: tuple[tuple[int, int], ...]
    fonts: tuple[str, ...]


SCRIPTS: dict[str, dict[str, Script]] = {
    "train": {
        "Latin": Script(((0x41, 0x5A), (0x61, 0x7A)), (*EUROPEAN, "caveat", "lobster")),
        "Greek": Script(((0x391, 0x3A9), (0x3B1, 0x3C9)), EUROPEAN),
        "Cyrillic": Script(((0x410, 0x44F), (0x402, 0x40F), (0x452, 0x45F)), (*EUROPEAN, "caveat", "lobster")),
        "Hebrew": Script(((0x5D0, 0x5EA),), ("heebo", "frank_ruhl_libre", *SEMITIC)),
        "Canadian syllabics": Script(((0x1401, 0x1676),), DEJAVU[:4]),
    },
    "validation": {
        "Arabic": Script(((0x621, 0x64A),), ("amiri", "cairo", "tajawal", *SEMITIC)),
        "Telugu": Script(((0xC05, 0xC39),), ("anek_telugu", "ramabhadra", "noto_sans_telugu")),
    },
    "test": {
        "Armenian": Script(((0x531, 0x556), (0x561, 0x586)), (*DEJAVU, *DEJAVU_SERIF)),
        "Georgian": Script(((0x10D0, 0x10F0),), (*DEJAVU, *DEJAVU_SERIF)),
        "Devanagari": Script(((0x904, 0x939),), ("mukta", "kalam", "baloo_2", "teko")),
        "Thai": Script(((0xE01, 0xE2E),), ("sarabun", "kanit", "noto_sans_thai")),
        "Tamil": Script(((0xB85, 0xBB9),), ("catamaran", "noto_sans_tamil")),
    },
}
"""Which scripts are learned from, chosen on, and tested on."""


@dataclass(frozen=True)
class MetaTask:
    """What is to be learned *across* classes: three splits that share no class, for episodes of few-shot learning.

    `splits` are ``train``, ``validation`` and ``test``, each with its own classes, which its labels number; the rest is
    as in `tl_helpers.data.Task`. A TaskError if a split is absent, or two share a class.
    """

    name: str
    splits: dict[str, Samples]
    licence: str
    citation: str
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        owner: dict[str, str] = {}
        for split in SPLITS:
            if split not in self.splits:
                raise TaskError(f"{self.name}: no split named {split}; a meta-task has train, validation and test.")
            for name in self.splits[split].classes:
                if name in owner:
                    raise TaskError(
                        f"{self.name}: class {name!r} is in {owner[name]} and in {split}. A meta-task is tested on "
                        "classes that were never trained on: put the class into one split."
                    )
                owner[name] = split


@functools.cache
def load_meta_task(name: str) -> MetaTask:
    """A task for episodes, by name: ``glyphs``. A TaskError for another name, or a font that cannot be read."""
    if name != "glyphs":
        raise TaskError(f"{name!r} is no packaged meta-task: use 'glyphs'.")
    files = [font_file(font) for scripts in SCRIPTS.values() for script in scripts.values() for font in script.fonts]
    stamp = [[path.name, path.stat().st_size] for path in files]
    key = keys.fingerprint("glyphs", runtime.versions(), keys.code_name(_make), stamp)
    found = store.shared("images").compute(key, _make)
    names = [unicodedata.name(chr(code)) for code in found["codes"].tolist()]
    scripts = np.array([name for part in SCRIPTS.values() for name in part])[found["scripts"].numpy()]
    splits = {}
    for split, part in SCRIPTS.items():
        classes = np.flatnonzero(np.isin(scripts, list(part)))
        rows = (classes[:, None] * PRINTS + np.arange(PRINTS)).ravel()
        splits[split] = Samples(
            name=f"glyphs/{split}",
            inputs=found["prints"][rows],
            labels=torch.arange(len(classes)).repeat_interleave(PRINTS),
            classes=tuple(names[number] for number in classes),
            rows=rows,
            extra={"script": np.repeat(scripts[classes], PRINTS)},
            table="glyphs",
        )
    return MetaTask(
        name="glyphs",
        splits=splits,
        licence="SIL Open Font Licence or Apache 2.0 (packages fontpkg-*); DejaVu and STIX: free licences, see matplotlib",
        citation="Google Fonts; matplotlib's fonts (Hunter 2007)",
        source="characters of ten scripts printed in the fonts of matplotlib and of fontpkg packages, a little distorted",
        note="Splits are by script. Characters that look alike in print, such as Latin A and Greek Alpha, are one class.",
    )


def _make() -> dict[str, torch.Tensor]:
    """The prints of one character after another, their code points, and the numbers of their scripts."""
    seen, prints, codes, origin = [], [], [], []
    scripts = [script for part in SCRIPTS.values() for script in part.values()]
    for number, script in enumerate(runtime.progress(scripts, total=len(scripts), what="printing glyphs")):
        available = list(faces(script))
        for code in characters(script):
            looks = upright(chr(code), available[0])
            if any(float(looks @ other) > TWINS for other in seen):
                continue
            seen.append(looks)
            random = np.random.default_rng(code)  # the prints are the data set: the same whatever else is printed
            order = random.permutation(len(available))
            prints += [print_of(chr(code), available[order[k % len(order)]], random) for k in range(PRINTS)]
            codes.append(code)
            origin.append(number)
    pixels = torch.as_tensor(np.stack(prints))[:, None]
    return {"prints": pixels, "codes": torch.tensor(codes), "scripts": torch.tensor(origin)}


def characters(script: Script) -> list[int]:
    """Code points that every font of a script can print: named, assigned, and no combining marks."""
    in_ranges = [code for first, last in script.ranges for code in range(first, last + 1)]
    known = frozenset.intersection(*(_table(font_file(font))[0] for font in script.fonts))
    return [code for code in in_ranges if code in known and unicodedata.category(chr(code)).startswith("L")]


def faces(script: Script) -> Iterator[ImageFont.FreeTypeFont]:
    """Every style of a script: each font file, and of variable fonts a light and a bold cut."""
    for name in script.fonts:
        file = font_file(name)
        for weight in WEIGHTS if _table(file)[1] else (None,):
            font = read_font(file, ImageFont.Layout.BASIC)
            if weight:
                axes = font.get_variation_axes()
                font.set_variation_by_axes([weight if axis["name"] == b"Weight" else axis["default"] for axis in axes])
            yield font


def font_file(name: str) -> Path:
    """The file of a font: one that matplotlib ships, or the plainest upright one of a ``fontpkg`` package.

    A TaskError says which package to install.
    """
    import matplotlib

    shipped = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    if shipped.exists():
        return shipped
    try:
        folder = Path(importlib.resources.files(f"fontpkg_{name}") / "files")
    except ImportError:
        raise TaskError(f"Font {name} is missing: pip install fontpkg-{name.replace('_', '-')}.") from None
    files = [path for path in folder.glob("*.ttf") if path.stem.endswith(("-Regular", "]"))]
    if not files:
        raise TaskError(f"The package fontpkg-{name.replace('_', '-')} holds no font. Install it again.")
    return min(files, key=lambda path: ("Italic" in path.name, path.name))


def print_of(text: str, font: ImageFont.FreeTypeFont, random: np.random.Generator) -> np.ndarray:
    """One distorted print in a 28 x 28 frame with MNIST's margin of 4 pixels, light on dark: uint8."""
    sheet = _sheet(text, font)
    angle, shear, squeeze = random.uniform(-0.2, 0.2), random.uniform(-0.25, 0.25), random.uniform(0.8, 1.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[squeeze, shear], [0.0, 1.0]])
    centre = np.array([80.0, 80.0])
    shift = centre - matrix @ centre
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    return _framed(sheet.transform(sheet.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC))


def upright(text: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """An undistorted print as a vector of length 1, to compare characters by: float64, shape (784,)."""
    values = _framed(_sheet(text, font)).astype(float).ravel()
    return values / np.linalg.norm(values)


def _sheet(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    sheet = Image.new("L", (160, 160))
    ImageDraw.Draw(sheet).text((80, 80), text, font=font, fill=255, anchor="mm")
    return sheet


def _framed(sheet: Image.Image) -> np.ndarray:
    ink = sheet.crop(sheet.getbbox())
    scale = (SIDE - 8) / max(ink.size)
    ink = ink.resize([max(1, round(scale * side)) for side in ink.size], Image.Resampling.LANCZOS)
    frame = Image.new("L", (SIDE, SIDE))
    frame.paste(ink, ((SIDE - ink.width) // 2, (SIDE - ink.height) // 2))
    return np.asarray(frame)


def read_font(file: Path, engine: ImageFont.Layout | None = None) -> ImageFont.FreeTypeFont:
    """A font at 96 points, laid out by Pillow's usual engine or another one."""
    try:
        return ImageFont.truetype(str(file), 96, layout_engine=engine)
    except OSError as error:
        raise TaskError(f"Font {file.name} cannot be read ({error}). Install its package again.") from None


@functools.cache
def _table(file: Path) -> tuple[frozenset[int], bool]:
    """Which code points a font can print, and whether it is a variable one."""
    with TTFont(file, lazy=True) as font:
        return frozenset(font.getBestCmap()), "fvar" in font
