"""Live controls that also answer in the static book: sliders linked in the browser to a drawing of recorded real runs.

`explore(frame, ...)` shows a grid of runs behind sliders. With a Python kernel a button computes the chosen setting
anew and draws it over the recorded results; *Stop* and the kernel's *Interrupt* end that. With no kernel and no network
the sliders still move through the grid. Used by every chapter; the drawing itself is in `_widgets/grid_view.js`.

In the built book the page's address takes down what the reader changes, so that a setting can be shared:
`#depth=5&rate=0.001` (`_widgets/address.js`). A key is the name of a control's column ("rate" for "lr"), with a number from
the page's second control of that name on (`labels.2`); a value is what the control shows, and what it lacks is ignored.
"""

from __future__ import annotations

import inspect
import itertools
import math
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import ipywidgets
import numpy as np
import pandas as pd
import traitlets

from tl_helpers import plots
from tl_helpers.book.widgets.kernel import KernelView, front_end
from tl_helpers.book.widgets.live import Background, Outcome

MOST_CONTROLS = 3
MOST_CELLS = 1_500  # keeps the state that a page embeds below 60 kB

Live = Callable[..., float | Mapping[str, float]]


class GridView(KernelView):
    """Draws one slice of a grid of results, as bars, curves or a map; which slice is set by the indices `i0` to `i4`.

    `grid` is what `grid_of` returns, which tells all that differs from one control to the other. `live` lists the results
    computed in this session: "at", "values", "seconds", "note". `run` is what the run in the background is doing:
    {"state": "idle" | "running" | "done" | "stopped" | "failed", "text": str, "seconds": float}, and where it tells of its
    progress "step", "steps", "losses", "accuracies". The state "recorded" means that there is nothing to run.
    """

    _esm = front_end("kernel.js", "address.js", "grid_view.js")
    _css = front_end("kernel.css", "grid_view.css")

    grid = traitlets.Dict().tag(sync=True)
    i0 = traitlets.Int(0).tag(sync=True)
    i1 = traitlets.Int(0).tag(sync=True)
    i2 = traitlets.Int(0).tag(sync=True)
    i3 = traitlets.Int(0).tag(sync=True)
    i4 = traitlets.Int(0).tag(sync=True)
    live = traitlets.List().tag(sync=True)
    run = traitlets.Dict({"state": "recorded"}).tag(sync=True)


class Explorer(ipywidgets.VBox):
    """Sliders above a `GridView`; made by `explore`.

    Attributes: `controls` (name -> slider or drop-down), `view` (the GridView), `run()` starts a live run as the button
    does and returns its thread (None when there is nothing to run, or one is running), `stop()` ends it.
    """

    _idle = "computes this setting now, on your machine"

    def __init__(
        self,
        grid: dict[str, Any],
        values: dict[str, list],
        start: Mapping[str, Any] | None,
        live: Live | None,
        **look: str,
    ) -> None:
        self._values, self._live = values, live
        self._recorded = [name for name, told in zip(values, grid["controls"], strict=True) if not told.get("live")]
        chosen = [_start(name, column, start) for name, column in values.items()]
        # The indices are in the view's own state as well, so that the first drawing is right before any link is made.
        run = {"state": "recorded"} if live is None else {"state": "idle", "text": self._idle}
        self.view = GridView(grid=grid, run=run, **{f"i{k}": c for k, c in enumerate(chosen)})
        self.controls = {
            name: _control(told, column, at, **look)
            for (name, column), told, at in zip(values.items(), grid["controls"], chosen, strict=True)
        }
        # A link that Python forgets is a link that the browser forgets.
        self._links = [
            ipywidgets.jslink((c, "index"), (self.view, f"i{k}")) for k, c in enumerate(self.controls.values())
        ]
        super().__init__([*self.controls.values(), self.view])
        self.add_class("tl-control").add_class("tl-explorer")
        if live is not None:
            self._background = Background("tl-live-run")
            self.view.answer(self._act)

    @property
    def setting(self) -> dict[str, Any]:
        """The chosen value of each control, as in the frame."""
        return {name: self._values[name][control.index] for name, control in self.controls.items()}

    def _act(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "run":
            # The click says where the sliders stood: a slider may have moved on before the message arrives.
            at = message.get("at")
            self.run(at if isinstance(at, list) else None)
        elif kind == "stop":
            self.stop()

    def run(self, at: Sequence[int] | None = None) -> threading.Thread | None:
        """Compute the setting at the indices `at` (default: where the sliders stand) in the background.

        Raises
        ------
        ValueError : indices that are out of range
        """
        if self._live is None:
            return None
        index = [c.index for c in self.controls.values()] if at is None else [int(k) for k in at]
        sizes = [len(column) for column in self._values.values()]
        if len(index) != len(sizes) or any(not 0 <= k < n for k, n in zip(index, sizes, strict=True)):
            raise ValueError(f"at={index}: {len(sizes)} indices, each from 0 up to (not including) {sizes}.")
        setting = {name: column[k] for (name, column), k in zip(self._values.items(), index, strict=True)}
        return self._background.start(
            lambda: _checked(_call(self._live, setting, self._progress), self.view.grid),
            lambda: setattr(self.view, "run", {"state": "running", "text": _words(setting)}),
            lambda outcome: self._ended(outcome, index, setting),
        )

    def stop(self) -> None:
        """Stop the run that is going on, if any, within a step; nothing of it is kept."""
        if self._live is not None:
            self._background.stop()

    def _ended(self, outcome: Outcome, index: list[int], setting: dict[str, Any]) -> None:
        if outcome.state == "done":
            at = index[: len(self._recorded)]
            words = self._keep({"at": at, "values": outcome.result, "seconds": outcome.seconds}, setting)
        elif outcome.state == "stopped":
            words = f"stopped after {outcome.seconds:.1f} s; nothing was kept"
        else:  # whatever the reader's function raises is shown where the reader looks
            words = f"That run failed after {outcome.seconds:.1f} s. {_failure_words(outcome.error)}"
        self.view.run = {**self.view.run, "state": outcome.state, "text": words, "seconds": outcome.seconds}

    def _keep(self, point: dict[str, Any], setting: dict[str, Any]) -> str:
        """Draw a result, in place of the one before it; what to say of it."""
        self.view.live = [*(p for p in self.view.live if p["at"] != point["at"]), point]
        return f"{_words(setting)}: done in {point['seconds']:.1f} s"

    def _progress(self, text: str, **more: Any) -> None:
        """What the live function calls: shown while the run goes on, and a good place to end it."""
        if self._background.stopping:
            raise KeyboardInterrupt
        if self._background.busy:
            self.view.run = {**self.view.run, "text": str(text), **more}

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = self.table().to_string()  # what viewers without widgets show (GitHub, PDF)
        return bundle

    def table(self) -> pd.DataFrame:
        """The recorded grid as a table of texts, one row per setting."""
        grid, names = self.view.grid, self._recorded
        columns = [told["values"] for told in grid["controls"][: len(names)]]
        rows, cells = [], iter(grid["cells"])
        for setting in itertools.product(*columns):
            row = dict(zip(names, setting, strict=True))
            for series in grid["series"]:
                mean, spread, runs = next(cells) or (math.nan, None, 0)
                row[series["name"]] = plots.mean_text(mean, math.nan if spread is None else spread, runs)
            rows.append(row)
        return pd.DataFrame(rows).set_index(names)


def explore(
    frame: pd.DataFrame,
    controls: Mapping[str, str],
    *,
    series: str | None = "method",
    value: str = "accuracy",
    spread: plots.Interval = "sd",
    unit: str = "%",
    kind: Literal["bars", "curves"] = "bars",
    x: str | None = None,
    title: str = "",
    references: Mapping[str, float] | None = None,
    start: Mapping[str, Any] | None = None,
    live: Live | None = None,
) -> Explorer:
    """Show recorded runs behind sliders, and compute the chosen setting live where there is a kernel.

    Parameters
    ----------
    frame : one row per run; rows that differ in their seed only are averaged
    controls : column -> label with unit, at most three ({"labels": "labelled cells"}); numbers become a slider, names a
        drop-down list
    series : column whose values are drawn side by side (None: a single series)
    value, unit : what is drawn, as it is; with unit "%" the values have to be in percent
    spread : "sd" (standard deviation over runs) or "95" (95 % interval of the mean); the control says which
    kind : "bars" (one bar per series) or "curves" (a line per series over the control `x`, by default the first one)
    references : name -> value in the unit shown, for lines that are not our runs
    start : control -> value at the start (default: the middle)
    live : called with the controls' values by keyword; returns the value (in the unit shown) or series -> value.
        A parameter named `progress` receives a function: `progress("epoch 2 of 5")`. It runs in a thread of the kernel,
        so it must seed what it draws and must not rely on cells that run at the same time. *Stop* raises
        KeyboardInterrupt in it, as *Interrupt* does in a cell, at its next call of `progress` or wherever it is.

    Returns
    -------
    Explorer, an ipywidgets VBox; it displays itself as the last expression of a cell

    Raises
    ------
    ValueError : empty frame, unknown column, no or more than three controls, unknown kind,
        fractions where percentages are due

    Examples
    --------
    >>> runs = ledger.frame("run")                                             # doctest: +SKIP
    >>> explore(runs, {"labels": "labelled cells"}, value="accuracy")          # doctest: +SKIP
    """
    if kind not in ("bars", "curves"):
        raise ValueError(f"kind is 'bars' or 'curves', not {kind!r}")
    grid, values = grid_of(
        frame, controls, series=series, value=value, spread=spread, unit=unit, kind=kind, x=x,
        title=title, references=references,
    )  # fmt: skip
    return Explorer(grid, values, start, live)


def grid_of(
    frame: pd.DataFrame,
    controls: Mapping[str, str],
    *,
    series: str | None,
    value: str,
    spread: plots.Interval,
    unit: str,
    kind: str,
    title: str,
    x: str | None = None,
    references: Mapping[str, float] | None = None,
) -> tuple[dict[str, Any], dict[str, list]]:
    """Aggregate `frame` into what GridView draws: (grid as JSON-able dict, control -> its values).

    `kind` is "bars", "curves" or, with one series, "map": colours over the first two controls.
    A control in `grid["controls"]` has a "label", its "values" as texts and its "key" in the page's address. It may have
    "notes" (a text for each value), "said" (how a sentence names it, such as "{} labels"), "axis" (a longer label),
    "slider" (true: names are in an order) and "live" (true: it matters to live runs only, and comes after all others).
    `grid["cells"]` lists [mean, spread or null, runs], or null where nothing was recorded, for every combination of
    the controls (last control fastest) and within it every series.
    """
    if not 1 <= len(controls) <= MOST_CONTROLS:
        raise ValueError(
            f"between 1 and {MOST_CONTROLS} controls, got {len(controls)}: {', '.join(controls) or 'none'}"
        )
    plots.need(frame, *controls, series, value)
    plots.need_percent(frame[value], unit, value)
    by = [*controls, *([series] if series is not None else [])]
    frame = frame[[*by, value]].dropna()
    if frame.empty:
        raise ValueError(f"every row lacks a value in one of {', '.join([*by, value])}: nothing to show")
    frame = frame.assign(**{value: frame[value].astype(float)})
    columns = [_values(frame[c]) for c in controls]
    names = [value.replace("_", " ")] if series is None else list(dict.fromkeys(frame[series]))
    x_at = _x_index(controls, columns, x) if kind == "curves" else None
    table = plots.aggregate(frame, by, value, spread)
    recorded = {tuple(row[: len(by)]): row[len(by) :] for row in table.itertuples(index=False)}
    combinations = itertools.product(*columns, *([names] if series is not None else []))
    cells = [_cell(recorded.get(key)) for key in combinations]
    if len(cells) > MOST_CELLS:
        raise ValueError(
            f"{len(cells)} combinations are too many for one control (at most {MOST_CELLS}): use fewer values"
        )
    palette = plots.colours(names)
    return {
        "kind": kind,
        "title": title,
        "value": value.replace("_", " "),
        "unit": unit,
        "button": "Run live",
        "spread": plots.interval_name(spread),
        "controls": [
            {"label": label, "values": [plots.number(v) for v in column], "key": "rate" if name == "lr" else name}
            for (name, label), column in zip(controls.items(), columns, strict=True)
        ],
        "series": [{"name": str(n), "colour": palette[str(n)]} for n in names],
        "x": None if x_at is None else {"control": x_at, "at": [float(v) for v in columns[x_at]]},
        "references": [{"name": n, "value": float(v)} for n, v in (references or {}).items()],
        "cells": cells,
    }, dict(zip(controls, columns, strict=True))


def _cell(row: tuple | None) -> list | None:
    if row is None or not math.isfinite(row[0]):
        return None
    mean, spread, n = row
    return [_short(mean), _short(spread) if math.isfinite(spread) else None, int(n)]


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _values(column: pd.Series) -> list:
    """Distinct values as Python objects: numbers ascending, names in order of appearance."""
    found = [v.item() if isinstance(v, np.generic) else v for v in dict.fromkeys(column)]
    return sorted(found) if all(_is_number(v) for v in found) else found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _x_index(controls: Mapping[str, str], columns: list[list], x: str | None) -> int:
    names = list(controls)
    if x is not None and x not in names:
        raise ValueError(f"x={x!r} is not one of the controls: {', '.join(names)}")
    at = names.index(x) if x is not None else 0
    if not all(_is_number(v) for v in columns[at]):
        raise ValueError(f"curves need numbers on the horizontal axis, but {names[at]!r} holds names: use kind='bars'")
    return at


def _start(name: str, column: list, start: Mapping[str, Any] | None) -> int:
    if start is None or name not in start:
        return len(column) // 2
    if start[name] not in column:
        raise ValueError(f"start[{name!r}] = {start[name]!r} is not recorded: {', '.join(map(plots.number, column))}")
    return column.index(start[name])


def _control(
    told: dict[str, Any], column: list, at: int, width: str = "30rem", label_width: str = "initial"
) -> ipywidgets.Widget:
    slides = len(column) > 1 and (told.get("slider") or all(map(_is_number, column)))
    texts = told["values"]
    if "notes" in told:
        texts = [f"{text}: {note}" for text, note in zip(texts, told["notes"], strict=True)]
    return (ipywidgets.SelectionSlider if slides else ipywidgets.Dropdown)(
        options=list(zip(texts, column, strict=True)),
        index=at,
        description=told["label"],
        tooltip=f"{told['label']}: choose with the arrow keys",
        style={"description_width": label_width},
        layout={"width": f"min(100%, {width})"},
    )


# ---- live runs -------------------------------------------------------------------------------------------------------


def _call(live: Live, setting: dict[str, Any], progress: Callable[[str], None]) -> Any:
    parameters = inspect.signature(live).parameters
    wants_progress = "progress" in parameters and "progress" not in setting
    return live(**setting, **({"progress": progress} if wants_progress else {}))


def _checked(values: Any, grid: dict[str, Any]) -> dict[str, float]:
    """Live result as {series: value in the unit shown}; ValueError in plain words when it is no finite number."""
    if not isinstance(values, Mapping):
        only = grid["series"][0]["name"] if len(grid["series"]) == 1 else "live"
        values = {only: values}
    try:
        numbers = {str(name): float(v) for name, v in values.items()}
    except (TypeError, ValueError):
        raise ValueError(
            f"the live function returned {values!r}: it has to return a number or a mapping series -> number"
        ) from None
    if not numbers or not all(map(math.isfinite, numbers.values())):
        raise ValueError(f"the live function returned {values!r}, which is not finite: nothing can be drawn")
    plots.need_percent(numbers.values(), grid["unit"], "the live result")
    return {name: _short(v) for name, v in numbers.items()}


def _words(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {plots.number(v)}" for name, v in setting.items())


def _failure_words(error: BaseException) -> str:
    """The exception, the line it came from and what to do, in two sentences."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (line {frames[-1].lineno} of {frames[-1].name})" if frames else ""
    message = " ".join(str(error).split())[:300]
    return (
        f"{type(error).__name__}: {message}{where}. The recorded results above still hold. "
        "Run the chapter's cells above this one, then press the button again."
    )
