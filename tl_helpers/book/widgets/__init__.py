"""Live controls that also answer in the static book: `explore` for any grid of runs, `FreezeExplorer` for the freeze line,
`label_box` for class names that the reader types; and `Asking`, the questions of `predict` and `quiz`.

With a Python kernel they compute the chosen setting anew; with no kernel and no network the same sliders move through the
recorded runs. *Stop* and the kernel's *Interrupt* end a live run within a step, and a control whose kernel is gone says so.
Every chapter shows one; what they draw is in `_widgets/*.js`.
"""

from tl_helpers.book.widgets.asking import Asking
from tl_helpers.book.widgets.freeze import FreezeExplorer
from tl_helpers.book.widgets.grid import Explorer, GridView, explore, grid_of
from tl_helpers.book.widgets.kernel import KernelNote, KernelView
from tl_helpers.book.widgets.labels import LabelBox, label_box

__all__ = [
    "Asking",
    "Explorer",
    "FreezeExplorer",
    "GridView",
    "KernelNote",
    "KernelView",
    "LabelBox",
    "explore",
    "grid_of",
    "label_box",
]
