"""`Asking`: what a reader is asked on a page, and answers there: a prediction, what came of it, a quiz.

It lives in the browser, with or without a kernel; `_widgets/asking.js` draws it. Used by `tl_helpers.book.predict` and
`tl_helpers.book.quiz`.
"""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from tl_helpers.book.widgets.kernel import front_end


class Asking(anywidget.AnyWidget):
    """One question, answer or quiz.

    Parameters
    ----------
    told : dict
        What the page shows: ``kind`` is "ask", "answer" or "quiz", ``key`` the name under which the browser keeps what the
        reader said.
    plain : str
        The same as text, for viewers without widgets.

    Attributes
    ----------
    value : float, str or None
        What the reader said, as far as the page has told the kernel.
    """

    _esm = front_end("asking.js")
    _css = front_end("asking.css")

    told = traitlets.Dict().tag(sync=True)
    value = traitlets.Any(None, allow_none=True).tag(sync=True)

    def __init__(self, told: dict[str, Any], plain: str) -> None:
        super().__init__(told=told)
        self.plain = plain

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": self.plain}, metadata  # what viewers without widgets show (GitHub, PDF)
