"""Boxes, lines, arrows and marks, of which the diagrams of the chapters are made.

A picture cannot know whether its page is light or dark. So its ground is transparent, each text stands on a box of its
own colour, and lines and outlines have a grey that shows on white and on black. A drawing is `WIDE` units wide, so that
its text can be read on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDE = 420
SHOWN = 560  # pixels, where the page has them
SIZE = 13.5  # of the text, in units: 11.5 pixels on a phone where the drawing is 360 wide
LINE = 17  # from one line of text to the next
GREY = "#767676"

# Fill and ink of a box. Blue, orange, grey and sky are those of tl_helpers.plots.
FROZEN = ("#0072B2", "#FFFFFF")
TRAINED = ("#E69F00", "#000000")
NOTE = ("#E3E9EE", "#16202A")
IDLE = (GREY, "#FFFFFF")
TEST = ("#56B4E9", "#000000")
ROUND = {FROZEN: 0, TRAINED: 12, NOTE: 4, IDLE: 4, TEST: 4}


def box(x: float, y: float, width: float, text: str, look: tuple[str, str] = NOTE, height: float = 24) -> str:
    """A box with its text in the middle, one line or several. A first line that ends with a colon is bold."""
    fill, ink = look
    lines = text.split("\n")
    first = y + height / 2 + 4.7 - LINE * (len(lines) - 1) / 2
    parts = [f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{ROUND[look]}" fill="{fill}"/>']
    for number, line in enumerate(lines):
        weight = ' font-weight="bold"' if number == 0 and line.endswith(":") else ""
        place = f'x="{x + width / 2:g}" y="{first + LINE * number:g}"'
        parts.append(f'<text {place} fill="{ink}"{weight}>{escape(line.removesuffix(":") if weight else line)}</text>')
    return "<g>" + "".join(parts) + "</g>"


def line(*points: tuple[float, float], dashed: bool = False, thick: float = 2) -> str:
    """A grey line through these points."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    dash = ' stroke-dasharray="7 5"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{GREY}" stroke-width="{thick:g}"{dash}/>'


def arrow(*points: tuple[float, float], thick: float = 2, colour: str = GREY, dashed: bool = False) -> str:
    """A line whose last piece, level or upright, ends in a head."""
    (x0, y0), (x, y) = points[-2:]
    size = 5 + thick
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    back = (x - size * dx, y - size * dy)
    half = 2.5 + thick * 0.75
    corners = [(x, y), (back[0] + half * dy, back[1] + half * dx), (back[0] - half * dy, back[1] - half * dx)]
    head = " ".join(f"{a:g},{b:g}" for a, b in corners)
    shaft = line(*points[:-1], back, dashed=dashed, thick=thick).replace(GREY, colour)
    return shaft + f'<polygon points="{head}" fill="{colour}"/>'


# Of a class: what fills its marks and its curve, and the shape of its marks.
CLASSES = ((FROZEN[0], "circle"), (TRAINED[0], "triangle"), (TEST[0], "square"))


def mark(x: float, y: float, shape: str, fill: str = "none", size: float = 6.5) -> str:
    """A sample: circle, triangle, square or diamond, so large from its middle to its rim, with a grey outline."""
    if shape == "circle":
        drawn = f'<circle cx="{x:g}" cy="{y:g}" r="{size:g}"'
    else:
        corners, turned = {"triangle": (3, 90), "square": (4, 45), "diamond": (4, 90)}[shape]
        angles = [math.radians(turned + 360 * corner / corners) for corner in range(corners)]
        path = " L".join(f"{x + 1.25 * size * math.cos(a):.1f} {y - 1.25 * size * math.sin(a):.1f}" for a in angles)
        drawn = f'<path d="M{path} Z"'
    return f'{drawn} fill="{fill}" stroke="{GREY}" stroke-width="1.5"/>'


def hill(points: Sequence[tuple[float, float]], fill: str, dashed: bool = False) -> str:
    """A curve over its ground, filled so that another shows through, with a grey outline."""
    path = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="7 4"' if dashed else ""
    return f'<path d="M{path} Z" fill="{fill}" fill-opacity="0.5" stroke="{GREY}" stroke-width="2"{dash}/>'


def drawing(title: str, description: str, height: float, *parts: str) -> str:
    """The whole file."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height:g}" width="{SHOWN}" '
            f'height="{SHOWN * height / WIDE:g}" role="img" aria-labelledby="title desc" text-anchor="middle" '
            f"font-size=\"{SIZE}\" font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">",
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(description)}</desc>',
            *parts,
            "</svg>",
            "",
        ]
    )
