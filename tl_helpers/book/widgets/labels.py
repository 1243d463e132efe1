"""`label_box`: type class names, see at once what a zero-shot classifier makes of them. Plain ipywidgets, and a line that
says when their kernel is gone."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
from PIL import Image

from tl_helpers import zeroshot
from tl_helpers.book.widgets.kernel import KernelNote

Score = Callable[[tuple[str, ...], int], Sequence[float]]

NEEDS_KERNEL = (
    "Typing needs a Python kernel (JupyterLab, Binder or Colab). Without one, this shows the answers for the names "
    "that stand here at the start."
)
PICTURE = 96  # pixels on the screen

# Own ink and paper: legible whatever the theme puts behind it.
_PAPER = "background:#FFFFFF;color:#1A1A1A;padding:.4em .8em;max-width:46em"


class LabelBox(ipywidgets.VBox):
    """A text area for names, a choice of examples, and the names ranked for the example; made by `label_box`.

    Attributes
    ----------
    names : ipywidgets.Textarea
    example : ipywidgets.Dropdown
        Its index is linked to the answers in the browser, so that it also works without a kernel.
    answers : ipywidgets.Stack
        One HTML widget for each example.
    message : ipywidgets.HTML
        What is wrong with the names, if anything.
    note : KernelNote
        Says when the kernel is busy or gone; names and button are then disabled in the browser.
    """

    def __init__(
        self,
        score: Score,
        labels: Sequence[str],
        examples: Sequence[str],
        pictures: np.ndarray | None,
        most: int,
        title: str,
        unit: str,
    ) -> None:
        self._score, self._examples, self._pictures = score, list(examples), pictures
        self._most, self._unit = most, unit
        self.names = ipywidgets.Textarea(
            value="\n".join(zeroshot.check_names(labels)),
            description="names",
            tooltip="names of classes, one a line or with commas between",
            continuous_update=False,  # after leaving the field, not at each letter
            rows=min(16, max(4, len(labels) + 3)),
            style={"description_width": "initial"},
            layout={"width": "min(100%, 30rem)"},
        )
        self.example = ipywidgets.Dropdown(
            options=[(f"{place}: {_short(text)}", place - 1) for place, text in enumerate(self._examples, start=1)],
            index=0,
            description="example",
            tooltip="which example to look at",
            style={"description_width": "initial"},
            layout={"width": "min(100%, 30rem)"},
        )
        self.button = ipywidgets.Button(description="Rank these names", tooltip="needs a kernel", icon="")
        self.message = ipywidgets.HTML(_note(NEEDS_KERNEL))
        self.answers = ipywidgets.Stack([ipywidgets.HTML() for _ in self._examples], selected_index=0)
        self.note = KernelNote(typed=self.names.value, answered=self.names.value)
        # A link that Python forgets is a link that the browser forgets.
        self._links = [
            ipywidgets.jslink((self.example, "index"), (self.answers, "selected_index")),
            ipywidgets.jsdlink((self.names, "value"), (self.note, "typed")),
            ipywidgets.jsdlink((self.note, "gone"), (self.names, "disabled")),
            ipywidgets.jsdlink((self.note, "gone"), (self.button, "disabled")),
        ]
        self._rank(zeroshot.check_names(labels))
        super().__init__(
            [
                ipywidgets.HTML(f"<b>{html.escape(title)}</b>"),
                self.names,
                self.button,
                self.example,
                self.message,
                self.note,
                self.answers,
            ]
        )
        self.add_class("tl-control").add_class("tl-label-box")
        self.names.observe(lambda _change: self.update(), names="value")
        self.button.on_click(lambda _button: self.update())

    def update(self) -> bool:
        """Rank the names that stand in the text area; False, and a message, if that cannot be done."""
        typed = self.names.value
        try:
            self._rank(zeroshot.check_names(_names(typed)))
        except Exception as error:  # whatever is wrong is said where the reader looks; the last answers stay
            text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            self.message.value, ranked = _note(f"{text[:1].upper()}{text[1:]}", problem=True), False
        else:
            self.message.value, ranked = "", True
        self.note.answered = typed
        return ranked

    def table(self) -> pd.DataFrame:
        """The ranked names of every example: columns ``example``, ``place``, ``name`` and ``score``."""
        rows = [
            {"example": text, "place": place, "name": name, "score": round(value, 3)}
            for text, ranked in zip(self._examples, self._ranked, strict=True)
            for place, (name, value) in enumerate(ranked, start=1)
        ]
        return pd.DataFrame(rows).set_index(["example", "place"])

    def _rank(self, names: tuple[str, ...]) -> None:
        found = []
        for place in range(len(self._examples)):
            scores = np.asarray(self._score(names, place), dtype=float)
            if scores.shape != (len(names),) or not np.isfinite(scores).all():
                raise ValueError(f"the classifier gave {scores.shape} scores for {len(names)} names, or some are NaN.")
            order = np.argsort(-scores, kind="stable")[: self._most]
            found.append([(names[k], float(scores[k])) for k in order])
        self._ranked = found  # only now: an error leaves the answers before it
        for place, (view, ranked) in enumerate(zip(self.answers.children, found, strict=True)):
            view.value = self._page(place, ranked, len(names))

    def _page(self, place: int, ranked: list[tuple[str, float]], count: int) -> str:
        text = html.escape(self._examples[place])
        head = f'<p style="margin:.3em 0">{text}</p>'
        if self._pictures is not None:
            source = _png(self._pictures[place])
            head = (
                f'<img src="data:image/png;base64,{source}" alt="{text}" width="{PICTURE}" height="{PICTURE}" '
                'style="image-rendering:auto;background:white">'
            )
        high, low = ranked[0][1], min(0.0, ranked[-1][1])
        rows = "".join(
            f'<tr><td style="text-align:left;padding:0 .8em 0 0">{html.escape(name)}</td>'
            f'<td style="text-align:right;padding:0 .8em 0 0">{value:.2f}{self._unit}</td>'
            '<td style="width:10em"><div style="height:.7em;background:#0072B2;width:'
            f'{100 * (value - low) / ((high - low) or 1):.0f}%"></div></td></tr>'
            for name, value in ranked
        )
        caption = (
            f"the {len(ranked)} nearest of {count} names"
            if len(ranked) < count
            else f"all {count} names, nearest first"
        )
        return (
            f'<div style="{_PAPER}">{head}<table><caption style="color:inherit">{caption}</caption>{rows}</table></div>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = self.table().to_string()  # what viewers without widgets show (GitHub, PDF)
        return bundle


def label_box(
    score: Score,
    labels: Sequence[str],
    examples: Sequence[str],
    *,
    pictures: Any = None,
    most: int = 8,
    title: str = "Your own class names",
    unit: str = "",
) -> LabelBox:
    """A box for class names: one a line or with commas between; beneath it the names ranked for an example.

    With a kernel, new names are ranked when the field is left or the button pressed. A problem (no name, one, the same
    twice) is a sentence in the box, never a traceback. In the built book it shows the answers for the names at the start,
    and says so.

    Parameters
    ----------
    score : callable
        ``score(names, place)`` gives one finite number for each name and the example at that place; the highest is first.
    labels : sequence of str
        At the start, two or more.
    examples : sequence of str
        Sentences, or what pictures show (a screen reader says it).
    pictures : array, optional
        uint8, shape (examples, 1 or 3, H, W).
    most : int
        Names to show.
    title, unit : str

    Raises
    ------
    ValueError
        For no examples, pictures that do not fit, labels that cannot be used, or scores that do not fit at the start.

    Examples
    --------
    >>> def score(names, k):
    ...     return model.scores(samples.take([k]), names)[0]
    >>> label_box(score, ["good", "bad"], texts)                               # doctest: +SKIP
    """
    if not len(examples):
        raise ValueError("no examples: give one sentence or picture at least.")
    if most < 1:
        raise ValueError(f"most={most}: show one name or more.")
    if pictures is not None:
        pictures = np.asarray(pictures)
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
            raise ValueError(f"pictures must be uint8, (N, 1 or 3, H, W); got {pictures.dtype}, {pictures.shape}.")
        if len(pictures) != len(examples):
            raise ValueError(f"{len(pictures)} pictures but {len(examples)} examples: one text for each.")
    return LabelBox(score, labels, examples, pictures, most, title, unit)


def _names(typed: str) -> list[str]:
    """Names as people type them: one a line, or with commas between."""
    return [name for name in re.split(r"[,\n]", typed) if name.strip()]


def _note(text: str, problem: bool = False) -> str:
    edge, paper, role = ("#B54A00", "#FDF1E8", "alert") if problem else ("#6B6B6B", "#F2F2F2", "note")
    return (
        f'<div role="{role}" style="border-left:4px solid {edge};background:{paper};color:#1A1A1A;padding:.3em .8em;'
        f'line-height:1.4;max-width:46em">{html.escape(text)}</div>'
    )


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _png(pixels: np.ndarray) -> str:
    """The picture (1 or 3, H, W) as PNG, in base64."""
    image = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
