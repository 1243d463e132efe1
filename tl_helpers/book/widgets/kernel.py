"""What every control shares: a view that asks its kernel whether it is there, and `KernelNote`, which says so in words.

The front end of all of them is `_widgets/kernel.js`, which stands in front of each view's own script: there a control
notices that its kernel was restarted, has stopped, or is busy with a cell.
"""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

_FOLDER = pathlib.Path(__file__).parents[1] / "_widgets"


def front_end(*names: str) -> str:
    """These files of `_widgets` as one text: the shared one first, as a view is a single file.

    Indents and lines of comment stay behind: each control on a page carries its script along.
    """
    lines = [line.strip() for name in names for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


class KernelView(anywidget.AnyWidget):
    """A view whose messages are answered, so that its page knows that the kernel lives; base of all views here.

    `me` is its own name, for the page.
    """

    me = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        name = uuid.uuid4().hex
        super().__init__(model_id=name, me=name, **traits)

    def answer(self, act: Callable[[str, dict[str, Any]], None] | None = None) -> None:
        """Answer each message of the page, then do what it asks for: ``act(type, message)``."""

        def heard(_view: KernelView, content: Any, _buffers: Any) -> None:
            kind = content.get("type") if isinstance(content, dict) else None
            if not isinstance(kind, str):
                return
            self.send({"type": "pong", "n": content.get("n")})
            if act is not None and kind != "ping":
                act(kind, content)

        self.on_msg(heard)


class KernelNote(KernelView):
    """A line below plain ipywidgets, empty as long as the kernel answers; `gone` then disables what needs it.

    `typed` is what stands in the control, linked in the browser, `answered` what the kernel has answered last: where they
    differ for long, the line says why.
    """

    _esm = front_end("kernel.js", "kernel_note.js")
    _css = front_end("kernel.css")

    typed = traitlets.Unicode("").tag(sync=True)
    answered = traitlets.Unicode("").tag(sync=True)
    gone = traitlets.Bool(False).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.answer()
