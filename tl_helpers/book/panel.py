"""Rows of the panel that shows claims and comparisons: HTML where a notebook is read, plain text everywhere else.

A row has a sign, a sentence, the numbers, and their interval as a small bar. It wraps at any width, and brings its own
colours for light and dark pages. Consecutive rows of a cell stand together. Used by `tl_helpers.book.claims`.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

from IPython import get_ipython
from IPython.display import display

Kind = Literal["held", "failed", "shown"]

COLUMNS = 79
"""Width of the plain text, and of a page's text column."""

_SIGNS: dict[Kind, tuple[str, str]] = {"held": ("✓", "held"), "failed": ("✗", "failed"), "shown": ("◆", "shown")}

# Whatever surrounds a row - the site, JupyterLab, a dark page, a light one - its colours come with it.
_STYLE = """<style>
.tl-claim{--ink:#1a1a1a;--soft:#565656;--paper:#f7f7f5;--good:#00694e;--bad:#a33e00;--bar:#0072b2;--rule:#8a8a8a;
display:flex;flex-wrap:wrap;gap:.1em .8em;align-items:center;padding:.4em .8em;margin:0;max-width:46em;
line-height:1.4;font-size:.95em;color:var(--ink);background:var(--paper);border-left:4px solid var(--bar)}
html[data-theme=dark] .tl-claim,body[data-jp-theme-light=false] .tl-claim{--ink:#ededed;--soft:#b9b9b9;--paper:#22262b;
--good:#4cc9a0;--bad:#ff9a5c;--bar:#56b4e9;--rule:#9a9a9a}
.tl-claim.tl-held{border-color:var(--good)}.tl-claim.tl-failed{border-color:var(--bad)}
.tl-claim>div{flex:1 1 20em;min-width:0;overflow-wrap:anywhere;color:var(--ink)}
.tl-claim small{display:block;font-size:.9em;color:var(--soft);font-variant-numeric:tabular-nums}
.tl-claim small span{color:var(--soft)}.tl-claim .tl-again{color:var(--good)}.tl-claim .tl-not-again{color:var(--bad)}
.tl-claim b{margin-right:.5em;color:var(--bar)}.tl-held b{color:var(--good)}.tl-failed b{color:var(--bad)}
.tl-claim svg{flex:0 0 160px;height:34px;color:var(--ink)}
</style>"""


def text(sign: str, sentence: str, facts: str) -> str:
    """A row as plain text of at most `COLUMNS` columns."""
    return textwrap.fill(
        f"{sign} {sentence}: {facts}", COLUMNS, subsequent_indent="  ", break_on_hyphens=False, break_long_words=True
    )


def row(
    kind: Kind,
    sentence: str,
    facts: str,
    *,
    interval: tuple[float, float, float] | None = None,
    margins: Sequence[float] = (),
    fresh: tuple[bool | None, str] = (None, ""),
) -> str:
    """A row as HTML.

    Parameters
    ----------
    kind : {"held", "failed", "shown"}
    sentence, facts : str
        Plain text.
    interval : (low, mean, high), optional
        Drawn as a bar.
    margins : sequence of float
        Drawn as dashed lines beside 0.
    fresh : (bool or None, str)
        Whether it held with fresh seeds, and that in words; nothing is shown for no words.
    """
    sign, word = _SIGNS[kind]
    bar = "" if interval is None else _bar(*interval, margins)
    return (
        f'{_STYLE}<div class="tl-claim tl-{kind}"><div><b role="img" aria-label="{word}">{sign}</b>'
        f"{html.escape(sentence)}<small>{html.escape(facts)}{_fresh(*fresh)}</small></div>{bar}</div>"
    )


def _fresh(again: bool | None, words: str) -> str:
    """What fresh seeds said, at the end of the numbers."""
    looks = {None: "tl-not-yet", True: "tl-again", False: "tl-not-again"}[again]
    return f'; <span class="{looks}">{html.escape(words)}</span>' if words else ""


def show(item: Any) -> None:
    """Display an object with ``_repr_html_`` in a notebook; print it elsewhere."""
    if get_ipython() is None:
        print(item)
    else:
        display(_Both(item))


class _Both:
    """HTML for those who can show it, the wrapped text (and not Python's repr) for all others."""

    def __init__(self, item: Any) -> None:
        self.item = item

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.item._repr_html_(), "text/plain": str(self.item)}


def _bar(low: float, mean: float, high: float, margins: Sequence[float]) -> str:
    """The interval on a line, with 0 and the margins marked: 160 x 34 pixels."""
    margins = [margin for margin in margins if margin]
    left, right = min(low, 0.0, *margins), max(high, 0.0, *margins)
    room = (right - left) or 1.0

    def x(value: float) -> float:
        return round(10 + 140 * (value - left) / room, 1)

    parts = []
    for mark in (0.0, *margins):
        dashes = ' stroke-dasharray="3 2"' if mark else ""
        parts.append(f'<path d="M{x(mark)} 3V22" stroke="var(--rule)" stroke-width="1.5"{dashes}/>')
        if mark == 0 or abs(x(mark) - x(0)) > 22:  # else the two numbers would touch
            parts.append(
                f'<text x="{x(mark)}" y="33" text-anchor="middle" font-size="10" fill="var(--soft)">{mark:g}</text>'
            )
    parts.append(f'<path d="M{x(low)} 12.5H{x(high)}" stroke="var(--bar)" stroke-width="5" opacity=".55"/>')
    parts.append(f'<circle cx="{x(mean)}" cy="12.5" r="4" fill="var(--bar)"/>')
    said = f"interval from {low:.3g} to {high:.3g}, mean {mean:.3g}"
    said += f", asked for {' to '.join(f'{margin:g}' for margin in margins)}" if margins else ""
    return f'<svg viewBox="0 0 160 34" width="160" height="34" role="img" aria-label="{said}">{"".join(parts)}</svg>'
