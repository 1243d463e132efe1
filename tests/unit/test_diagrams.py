"""The diagrams: what the tool draws is what is stored, can be read in light and dark mode and on a phone, and is used."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import diagrams
import matplotlib
import nbformat
import pytest
import shapes
from PIL import ImageFont

from tl_helpers import freezing, plots
from tl_helpers.book.studies.fine_tuning import STRATEGIES
from tl_helpers.models import Classifier, load_backbone

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
PICTURE = re.compile(r"!\[([^\]]*)\]\(\.\./book/_static/diagrams/(\w+)\.svg\)")
PHONE = 360  # pixels
DARK = "#121212"


@pytest.fixture(params=diagrams.DRAWINGS)
def name(request) -> str:
    return request.param


@pytest.fixture
def svg(name) -> ElementTree.Element:
    return ElementTree.fromstring((diagrams.FOLDER / f"{name}.svg").read_text(encoding="utf-8"))


def pictures() -> list[tuple[str, str]]:
    """Alternative text and name of each diagram in the chapters."""
    found = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                found += PICTURE.findall(cell.source)
    return found


def number(element: ElementTree.Element, key: str) -> float:
    return float(element.attrib[key])


def contrast(one: str, other: str) -> float:
    """That of WCAG, from 1 to 21, for two colours #rrggbb."""

    def luminance(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_stored_is_what_the_tool_draws():
    """`python book/_tools/diagrams.py` puts it right."""
    stored = {path.name: path.read_text(encoding="utf-8") for path in diagrams.FOLDER.iterdir()}
    assert stored == {f"{name}.svg": draw() for name, draw in diagrams.DRAWINGS.items()}


def test_says_in_words_what_it_shows(svg):
    title, description = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert len(title.text.split()) >= 4
    assert len(description.text.split()) >= 20
    assert svg.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]


def test_is_used_in_a_chapter_with_a_text_alternative():
    used = pictures()
    assert sorted(name for _, name in used) == sorted(diagrams.DRAWINGS)
    assert [name for alt, name in used if len(alt.split()) < 15] == []


def test_each_text_stands_on_a_box_that_it_contrasts_with(svg):
    groups = svg.findall(f"{SVG}g")
    assert len(list(svg.iter(f"{SVG}text"))) == sum(len(group) - 1 for group in groups)
    for group in groups:
        box, *texts = group
        for text in texts:
            assert contrast(text.attrib["fill"], box.attrib["fill"]) >= 4.5, text.text


def test_lines_show_on_light_and_on_dark_ground(svg):
    colours = {line.attrib["stroke"] for line in svg.iter(f"{SVG}polyline")}
    colours |= {head.attrib["fill"] for head in svg.iter(f"{SVG}polygon")}
    wanted = {shapes.GREY: 3, shapes.TRAINED[0]: 2}  # the orange arrows have their numbers beside them
    assert {
        colour for colour in colours for ground in ("#FFFFFF", DARK) if contrast(colour, ground) < wanted[colour]
    } == set()


def test_text_fits_its_box_and_can_be_read_on_a_phone(svg):
    """Measured in DejaVu Sans, which is wider than what most readers have."""
    size = number(svg, "font-size")
    _, _, wide, high = map(float, svg.attrib["viewBox"].split())
    assert size * PHONE / wide >= 11
    for box, *texts in svg.findall(f"{SVG}g"):
        left, top = number(box, "x"), number(box, "y")
        right, bottom = left + number(box, "width"), top + number(box, "height")
        assert min(left, top, wide - right, high - bottom) >= 0
        for text in texts:
            font = FONTS / ("DejaVuSans-Bold.ttf" if "font-weight" in text.attrib else "DejaVuSans.ttf")
            half = ImageFont.truetype(str(font), 100).getlength(text.text) * size / 200
            x, y = number(text, "x"), number(text, "y")
            assert left + 3 <= x - half, text.text
            assert x + half <= right - 3, text.text
            assert top + size * 0.8 <= y <= bottom - size * 0.25, text.text


def test_boxes_do_not_overlap(svg):
    boxes = [group[0] for group in svg.findall(f"{SVG}g")]
    edges = [(number(b, "x"), number(b, "y"), number(b, "width"), number(b, "height")) for b in boxes]
    for at, (x, y, width, height) in enumerate(edges):
        for x2, y2, width2, height2 in edges[:at]:
            apart = x + width <= x2 or x2 + width2 <= x or y + height <= y2 or y2 + height2 <= y
            assert apart, (boxes[at].attrib, (x2, y2))


def test_colours_are_those_of_the_figures():
    drawn = [shapes.FROZEN[0], shapes.TRAINED[0], shapes.GREY, shapes.TEST[0]]
    assert drawn == [plots.OKABE_ITO[name] for name in ("blue", "orange", "grey", "sky")]


def test_the_stack_is_the_network_of_the_chapters():
    """Stages, features after each, and the rates that the arrows show."""
    backbone = load_backbone("efficientnet_lite0", pretrained=False)
    assert backbone.stage_names == diagrams.STAGES
    last = [[p for p in stage.parameters() if p.ndim == 1][-1] for stage in backbone.stages.values()]
    assert tuple(map(len, last)) == diagrams.FEATURES  # the last batch norm of a stage
    model = Classifier(backbone, 2)
    counts = [sum(p.numel() for p in part.parameters()) for part in (*backbone.stages.values(), model.head)]
    assert counts == [*diagrams.PARAMETERS, diagrams.HEAD]
    groups = freezing.parameter_groups(model, lr=1.0, decay=diagrams.DECAY)
    rates = [f"{rate:.2f}" for rate in dict.fromkeys(group["lr"] for group in groups)]
    assert rates[:-1] == re.findall(r"(0\.\d+) η", diagrams.rates())[::-1]
    assert STRATEGIES["discriminative rates"] == {"layer_decay": diagrams.DECAY}
