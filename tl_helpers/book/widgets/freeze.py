"""`FreezeExplorer`: freeze depth, learning rate and labels under the reader's fingers, with runs recorded and live."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import pandas as pd
import traitlets

from tl_helpers import plots, training
from tl_helpers.book.widgets.grid import failure_words, stopped_words
from tl_helpers.book.widgets.kernel import KernelView, front_end
from tl_helpers.book.widgets.live import Background, Outcome
from tl_helpers.data import Task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe

EVERY = 0.1
"""Seconds between two messages to the browser while a run goes on."""

MOST_POINTS = 300
AUGMENTATIONS = ("flips", "none")
EPOCHS = tuple(range(1, 11))


class FreezeView(KernelView):
    """Draws the map of recorded runs and the curve of the live one; `i0` to `i4` are the indices of the controls.

    `grid` is what `FreezeExplorer` makes of its frame; `live` lists the runs of this session; `run` is the one going on:
    "state" (idle, running, done, stopped or failed), "text", "step", "steps", "seconds", "losses", "accuracies".
    """

    _esm = front_end("kernel.js", "freeze_view.js")
    _css = front_end("kernel.css", "freeze_view.css")

    grid = traitlets.Dict().tag(sync=True)
    i0 = traitlets.Int(0).tag(sync=True)
    i1 = traitlets.Int(0).tag(sync=True)
    i2 = traitlets.Int(0).tag(sync=True)
    i3 = traitlets.Int(0).tag(sync=True)
    i4 = traitlets.Int(0).tag(sync=True)
    live = traitlets.List().tag(sync=True)
    run = traitlets.Dict({"state": "idle"}).tag(sync=True)


class FreezeExplorer(ipywidgets.VBox):
    """Sliders for freeze depth, learning rate, labels, epochs and augmentation above a `FreezeView`.

    Parameters
    ----------
    frame : pandas.DataFrame
        Recorded runs: columns ``depth``, ``lr``, ``labels``, ``seed`` and `value` (in %); rows that differ in their seed
        only are averaged. Depths, rates and numbers of labels on offer are those in the frame.
    task : Task
        What a live run trains on (its training split, or so many labels of it) and is scored on (validation).
    size : int
        Pixels of a live run: smaller than the recorded one, for an answer within seconds.
    make_model : callable, optional
        ``make_model(seed)`` gives the model of a live run; EfficientNet-Lite0 with a new head by default.
    recipe : Recipe
        Of a live run, apart from what the controls choose.
    stages : sequence of str, optional
        Names of the stages; those of EfficientNet-Lite0 by default.
    value : str
        Column to show; a live run gives validation accuracy.
    seed : int
        Of the first live run; each further one takes the next.
    title : str

    Attributes
    ----------
    controls : dict of str to ipywidgets.Widget
        ``depth``, ``lr``, ``labels``, ``epochs``, ``augment``.
    view : FreezeView

    Raises
    ------
    ValueError
        For a frame that is empty, lacks a column, or holds fractions where percentages are due.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        task: Task,
        *,
        size: int = 64,
        make_model: Callable[[int], Classifier] | None = None,
        recipe: Recipe = Recipe(epochs=3, batch_size=16, augment="flips"),  # noqa: B008 (frozen)
        stages: Sequence[str] | None = None,
        value: str = "validation_accuracy",
        seed: int = 0,
        title: str = "Freeze depth and learning rate",
    ) -> None:
        plots.need(frame, "depth", "lr", "labels", value)
        plots.need_percent(frame[value], "%", value)
        self.task, self.size, self.recipe, self.seed = task, size, recipe, seed
        self._make_model = make_model or self._lite0
        self._stages = tuple(stages or load_backbone("efficientnet_lite0", pretrained=False).stage_names)
        self._values: dict[str, list] = {
            "depth": sorted(int(depth) for depth in frame["depth"].unique()),
            "lr": sorted(float(rate) for rate in frame["lr"].unique()),
            "labels": sorted(frame["labels"].unique(), key=_number_of_labels),
            "epochs": list(EPOCHS),
            "augment": list(AUGMENTATIONS),
        }
        start = {"depth": len(self._values["depth"]) // 2, "lr": len(self._values["lr"]) // 2}
        start |= {"labels": 0, "epochs": min(recipe.epochs, EPOCHS[-1]) - 1, "augment": 0}
        names = {"depth": "freeze depth", "lr": "learning rate", "labels": "labels"}
        names |= {"epochs": "epochs (live)", "augment": "augmentation (live)"}
        self.view = FreezeView(
            grid=self._grid(frame, value, title, names), **{f"i{k}": start[name] for k, name in enumerate(self._values)}
        )
        self.controls = {name: self._control(name, names[name], start[name]) for name in self._values}
        # A link that Python forgets is a link that the browser forgets.
        self._links = [
            ipywidgets.jslink((c, "index"), (self.view, f"i{k}")) for k, c in enumerate(self.controls.values())
        ]
        self._background = Background("tl-freeze-run")
        super().__init__([*self.controls.values(), self.view])
        self.add_class("tl-control").add_class("tl-explorer")
        self.view.answer(self._act)

    @property
    def setting(self) -> dict[str, Any]:
        """The chosen value of each control."""
        return {name: self._values[name][control.index] for name, control in self.controls.items()}

    def train(self, at: Sequence[int] | None = None) -> threading.Thread | None:
        """Train at the indices `at` of the five controls (default: where they stand), in the background.

        Returns the thread, or None while another run is going on.

        Raises
        ------
        ValueError
            For indices that are out of range.
        """
        index = [control.index for control in self.controls.values()] if at is None else [int(k) for k in at]
        sizes = [len(values) for values in self._values.values()]
        if len(index) != len(sizes) or any(not 0 <= k < n for k, n in zip(index, sizes, strict=True)):
            raise ValueError(f"at={list(at or [])}: five indices, each from 0 up to (not including) {sizes}.")
        setting = {name: values[k] for (name, values), k in zip(self._values.items(), index, strict=True)}
        live = _Live(self, index, setting)
        return self._background.start(live.work, live.begin, live.end)

    def stop(self) -> None:
        """Ask the run that is going on to stop; it does so after its current step, and nothing of it is kept."""
        self._background.stop()

    def table(self) -> pd.DataFrame:
        """The recorded map as a table of texts: rates down, depths across, one block for each number of labels."""
        grid, rows = self.view.grid, []
        cells = iter(grid["cells"])
        for labels in grid["controls"][2]["values"]:
            for depth in grid["controls"][0]["values"]:
                for rate in grid["controls"][1]["values"]:
                    mean, spread, runs = next(cells) or (math.nan, None, 0)
                    text = plots.mean_text(mean, math.nan if spread is None else spread, runs)
                    rows.append({"labels": labels, "learning rate": rate, "depth": depth, "value": text})
        order = ["labels", "learning rate"]
        return pd.DataFrame(rows).pivot(index=order, columns="depth", values="value")

    def _act(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "train":
            # The click says where the sliders stood: one may have moved on before the message arrives.
            self.train(message.get("at"))
        elif kind == "stop":
            self.stop()

    def _lite0(self, seed: int) -> Classifier:
        return Classifier(load_backbone("efficientnet_lite0"), len(self.task.classes), seed=seed)

    def _grid(self, frame: pd.DataFrame, value: str, title: str, names: dict[str, str]) -> dict[str, Any]:
        table = plots.aggregate(frame.dropna(subset=[value]), ["labels", "depth", "lr"], value, "sd")
        known = {tuple(row[:3]): row[3:] for row in table.itertuples(index=False)}
        cells = [
            _cell(known.get((labels, depth, rate)))
            for labels in self._values["labels"]
            for depth in self._values["depth"]
            for rate in self._values["lr"]
        ]
        if not any(cells):
            raise ValueError(f"no row of the frame has a value in column {value!r}: nothing to show")
        return {
            "title": title,
            "value": value.replace("_", " "),
            "controls": [
                {"label": names[name], "values": [plots.number(v) for v in values]}
                for name, values in self._values.items()
            ],
            "frozen": [self._frozen(depth) for depth in self._values["depth"]],
            "cells": cells,
        }

    def _frozen(self, depth: int) -> str:
        """What a depth freezes, in words."""
        stages = self._stages
        if depth == 0:
            return "nothing frozen"
        if depth >= len(stages):
            return "only the head trains"
        return f"{stages[0]} frozen" if depth == 1 else f"{stages[0]} to {stages[depth - 1]} frozen"

    def _control(self, name: str, label: str, at: int) -> ipywidgets.Widget:
        values = self._values[name]
        texts = [f"{v}: {self._frozen(v)}" if name == "depth" else plots.number(v) for v in values]
        kind = ipywidgets.Dropdown if name == "augment" or len(values) == 1 else ipywidgets.SelectionSlider
        return kind(
            options=list(zip(texts, values, strict=True)),
            index=at,
            description=label,
            tooltip=f"{label}: choose with the arrow keys",
            style={"description_width": "10rem"},
            layout={"width": "min(100%, 38rem)"},
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = self.table().to_string()  # what viewers without widgets show (GitHub, PDF)
        return bundle


class _Live:
    """One live run of an explorer: what it does, and what the page hears of it."""

    def __init__(self, explorer: FreezeExplorer, index: list[int], setting: dict[str, Any]) -> None:
        self.explorer, self.index, self.setting = explorer, index, setting
        self.losses: list[list[float]] = []
        self.accuracies: list[list[float]] = []
        self.start = self.last = time.perf_counter()

    def show(self, state: str, text: str, **more: Any) -> None:
        thin = self.losses[:: max(1, math.ceil(len(self.losses) / MOST_POINTS))]
        seconds = round(time.perf_counter() - self.start, 2)
        known = {"at": self.index, "losses": thin, "accuracies": list(self.accuracies), "seconds": seconds}
        self.explorer.view.run = {"state": state, "text": text, **known, **more}

    def begin(self) -> None:
        self.show("running", "preparing the network and its activations")

    def work(self) -> None:
        explorer, setting = self.explorer, self.setting
        task, size, seed = explorer.task, explorer.size, explorer.seed
        few = task if setting["labels"] == "all" else task.few_labels(int(setting["labels"]), seed)
        model = explorer._make_model(seed)
        recipe = dataclasses.replace(
            explorer.recipe,
            freeze_depth=setting["depth"],
            lr=setting["lr"],
            epochs=setting["epochs"],
            augment=setting["augment"],
        )
        training.fit(
            model,
            few.samples("train", size),
            task.samples("validation", size),
            recipe,
            seed=seed,
            name="live",
            fresh=True,
            watch=training.Watcher(self.on_step, self.on_epoch),
        )
        if explorer._background.stopping:
            raise KeyboardInterrupt

    def on_step(self, step: dict[str, float]) -> bool:
        self.losses.append([step["step"], float(f"{min(step['loss'], 1e6):.4g}")])
        if self.explorer._background.stopping:
            return False
        if time.perf_counter() - self.last >= EVERY or len(self.losses) == 1:
            self.last = time.perf_counter()
            words = f"epoch {step['epoch']}, step {step['step']} of {step['steps']}"
            self.show("running", words, step=step["step"], steps=step["steps"])
        return True

    def on_epoch(self, epoch: dict[str, float]) -> bool:
        self.accuracies.append([self.losses[-1][0], round(epoch["validation_accuracy"], 2)])
        self.show("running", f"epoch {epoch['epoch']}: validation accuracy {self.accuracies[-1][1]:.1f} %")
        return not self.explorer._background.stopping

    def end(self, outcome: Outcome) -> None:
        explorer = self.explorer
        if outcome.state == "done":
            explorer.seed += 1
            accuracy = self.accuracies[-1][1]
            words = f"{self.setting['epochs']} epochs, augmentation {self.setting['augment']}, {explorer.size} px"
            point = {"at": self.index[:3], "value": accuracy, "note": words, "seconds": round(outcome.seconds, 1)}
            explorer.view.live = [*explorer.view.live, point]
            self.show("done", f"validation accuracy {accuracy:.1f} % ({words})")
        elif outcome.state == "stopped":
            self.show("stopped", stopped_words(outcome))
        else:  # whatever goes wrong is shown where the reader looks
            self.show("failed", failure_words(outcome.error))


def _cell(row: tuple | None) -> list | None:
    if row is None or not math.isfinite(row[0]):
        return None
    mean, spread, runs = row
    return [round(float(mean), 2), round(float(spread), 2) if math.isfinite(spread) else None, int(runs)]


def _number_of_labels(labels: Any) -> float:
    return math.inf if str(labels) == "all" else float(labels)
