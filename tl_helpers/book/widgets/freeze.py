"""`FreezeExplorer`: freeze depth, learning rate and labels under the reader's fingers, with runs recorded and live."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from tl_helpers import plots, training
from tl_helpers.book.widgets.grid import Explorer, grid_of
from tl_helpers.data import Task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe

EVERY = 0.1
"""Seconds between two messages to the browser while a run goes on."""

MOST_POINTS = 300
AUGMENTATIONS = ("flips", "none")
EPOCHS = tuple(range(1, 11))


class FreezeExplorer(Explorer):
    """Sliders for freeze depth, learning rate, labels, epochs and augmentation above a map of recorded runs.

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
    view : GridView

    Raises
    ------
    ValueError
        For a frame that is empty, lacks a column, or holds fractions where percentages are due.
    """

    _idle = "trains this setting now, on your machine"

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
        self.task, self.size, self.recipe, self.seed = task, size, recipe, seed
        self._make_model = make_model or self._lite0
        stages = tuple(stages or load_backbone("efficientnet_lite0", pretrained=False).stage_names)
        frame = frame.sort_values("labels", key=lambda labels: labels.map(_number_of_labels))
        names = {"depth": "freeze depth", "lr": "learning rate", "labels": "labels"}
        grid, values = grid_of(frame, names, series=None, value=value, spread="sd", unit="%", kind="map", title=title)
        depth, _, labels = grid["controls"]
        depth["notes"] = [_frozen(int(k), stages) for k in values["depth"]]
        depth["axis"] = "freeze depth (stages frozen; the head always trains)"
        labels |= {"said": "{} labels", "slider": True}
        texts = [str(n) for n in EPOCHS]
        epochs = {"label": "epochs (live)", "said": "{} epochs", "values": texts, "key": "epochs", "live": True}
        augment = {"label": "augmentation (live)", "said": "augmentation {}", "values": list(AUGMENTATIONS)}
        grid["controls"] += [epochs, augment | {"key": "augment", "live": True}]
        grid["button"] = "Train"
        start = {"labels": values["labels"][0], "epochs": min(recipe.epochs, EPOCHS[-1]), "augment": AUGMENTATIONS[0]}
        values |= {"epochs": list(EPOCHS), "augment": list(AUGMENTATIONS)}
        super().__init__(grid, values, start, self._train, width="38rem", label_width="10rem")

    def table(self) -> pd.DataFrame:
        """The recorded map as a table of texts: rates down, depths across, one block for each number of labels."""
        cells = super().table().iloc[:, 0].rename("value").reset_index()
        return cells.pivot(index=["labels", "lr"], columns="depth", values="value")

    def _train(self, depth: int, lr: float, labels: Any, epochs: int, augment: str, progress: Callable) -> float:
        """A live run: validation accuracy, in percent."""
        losses: list[list[float]] = []
        accuracies: list[list[float]] = []
        last = -math.inf

        def show(words: str, **more: Any) -> None:
            thin = losses[:: max(1, math.ceil(len(losses) / MOST_POINTS))]
            progress(words, losses=thin, accuracies=list(accuracies), **more)

        def on_step(step: dict[str, float]) -> bool:
            nonlocal last
            losses.append([step["step"], float(f"{min(step['loss'], 1e6):.4g}")])
            if self._background.stopping:
                return False
            if time.perf_counter() - last >= EVERY:
                last = time.perf_counter()
                words = f"epoch {step['epoch']}, step {step['step']} of {step['steps']}"
                show(words, step=step["step"], steps=step["steps"])
            return True

        def on_epoch(epoch: dict[str, float]) -> bool:
            accuracies.append([losses[-1][0], round(epoch["validation_accuracy"], 2)])
            show(f"epoch {epoch['epoch']}: validation accuracy {accuracies[-1][1]:.1f} %")
            return not self._background.stopping

        show("preparing the network and its activations")
        few = self.task if labels == "all" else self.task.few_labels(int(labels), self.seed)
        model = self._make_model(self.seed)
        training.fit(
            model,
            few.samples("train", self.size),
            self.task.samples("validation", self.size),
            dataclasses.replace(self.recipe, freeze_depth=int(depth), lr=lr, epochs=epochs, augment=augment),
            seed=self.seed,
            name="live",
            fresh=True,
            watch=training.Watcher(on_step, on_epoch),
        )
        if self._background.stopping:
            raise KeyboardInterrupt
        return accuracies[-1][1]

    def _keep(self, point: dict[str, Any], setting: dict[str, Any]) -> str:
        """Draw a result beside those before it: the next run takes another seed."""
        self.seed += 1
        words = f"{setting['epochs']} epochs, augmentation {setting['augment']}, {self.size} px"
        self.view.live = [*self.view.live, point | {"note": words}]
        (accuracy,) = point["values"].values()
        return f"validation accuracy {accuracy:.1f} % ({words}) · {point['seconds']:.1f} s"

    def _lite0(self, seed: int) -> Classifier:
        return Classifier(load_backbone("efficientnet_lite0"), len(self.task.classes), seed=seed)


def _frozen(depth: int, stages: Sequence[str]) -> str:
    """What a depth freezes, in words."""
    if depth == 0:
        return "nothing frozen"
    if depth >= len(stages):
        return "only the head trains"
    return f"{stages[0]} frozen" if depth == 1 else f"{stages[0]} to {stages[depth - 1]} frozen"


def _number_of_labels(labels: Any) -> float:
    return math.inf if str(labels) == "all" else float(labels)
