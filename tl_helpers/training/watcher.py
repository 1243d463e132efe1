"""`Watcher`: looks on while a model is trained, and may stop it. `Retention` measures how much of a source task is left."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from torch import nn

from tl_helpers import keys, runtime
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.training import scoring

Report = Callable[[dict[str, float]], bool | None]


class Watcher:
    """Looks on while a model is trained. It changes nothing of what is learned, and its time does not count.

    Parameters
    ----------
    each_step : callable, optional
        Gets a record after every step: ``epoch`` and ``step`` (from 1), ``steps`` (of the whole run), ``steps_in_epoch``,
        ``lr``, ``loss``, ``seconds``.
    each_epoch : callable, optional
        Gets each epoch's record, which also stands in the run's history.

    Either may return False to stop the training there; a stopped run is not stored.

    Attributes
    ----------
    measured : list of dict
        What a watcher that measures has found, stored with the run and brought back with it.
    measures : bool
        Whether a run with this watcher is another run than one without, to be stored under another name.
    """

    measures: ClassVar[bool] = False

    def __init__(self, each_step: Report | None = None, each_epoch: Report | None = None) -> None:
        self.each_step, self.each_epoch = each_step, each_epoch
        self.measured: list[dict[str, float]] = []

    def before_training(self, model: Classifier) -> None:
        """Before the first step; not where a killed run goes on."""

    def after_step(self, model: Classifier, record: dict[str, float]) -> bool | None:
        """After every step."""
        return self.each_step(record) if self.each_step else None

    def after_epoch(self, model: Classifier, record: dict[str, float]) -> bool | None:
        """After every epoch. Of a run that comes from the store, a watcher that does not measure hears of each epoch."""
        return self.each_epoch(record) if self.each_epoch else None

    def key(self) -> list:
        """What it adds to a run's name in the store, if it measures: its code and what it was made with."""
        own = {name: value for name, value in vars(self).items() if name != "measured" and not name.startswith("_")}
        return [keys.code_name(type(self)), own]


def stops(answer: object) -> bool:
    """Whether a watcher said False, as Python or NumPy has it; whatever else a function returns lets the run go on."""
    return isinstance(answer, (bool, np.bool_)) and not answer


class Retention(Watcher):
    """How much of the source task is left: measured before the first step, after steps 1, 2, 4, 8, ... and each epoch.

    A ValueError for no samples, or labels beyond the outputs.

    The source's head is put back on the backbone that is being trained, as a user would who wants the old answers from the
    new weights. The measurements are the run's ``measured``: ``step`` (0: before the first), ``epoch`` (a fraction) and
    ``accuracy`` in %.

    Parameters
    ----------
    samples : Samples
        Held-out samples of the source task.
    head : nn.Module
        The source's own head, (N, dim) to (N, outputs). It is not trained.
    classes : sequence of int, optional
        Outputs that the answer is chosen among; a sample's label is its place in this list. By default all.
    """

    measures = True

    def __init__(self, samples: Samples, head: nn.Module, *, classes: Sequence[int] | None = None) -> None:
        if len(samples) == 0:
            raise ValueError(f"{samples.name}: no samples of the source to measure retention on.")
        if classes is not None and len(classes) <= int(samples.labels.max()):
            raise ValueError(
                f"{samples.name}: labels up to {int(samples.labels.max())}, but only {len(classes)} outputs to choose "
                "among. A label is a place in the list of outputs."
            )
        super().__init__()
        self.samples, self.head = samples, copy.deepcopy(head).eval()  # its own: it moves along with the model
        self.classes = None if classes is None else list(classes)

    def before_training(self, model: Classifier) -> None:
        self.measured = [{"step": 0, "epoch": 0.0, "accuracy": self.accuracy(model)}]

    def after_step(self, model: Classifier, record: dict[str, float]) -> None:
        step, steps_in_epoch = int(record["step"]), record["steps_in_epoch"]
        if step % steps_in_epoch == 0 or math.log2(step).is_integer():
            now = {"step": step, "epoch": step / steps_in_epoch, "accuracy": self.accuracy(model)}
            self.measured.append(now)

    def accuracy(self, model: Classifier) -> float:
        """The source's accuracy with the backbone as it is now, in %."""
        said = scoring.logits_of(model, self.samples, None, head=self.head.to(runtime.current().device))
        said = said if self.classes is None else said[:, self.classes]
        if said.shape[1] <= int(self.samples.labels.max()):
            raise ValueError(f"{self.samples.name}: labels beyond the head's {said.shape[1]} outputs.")
        return 100 * int((said.argmax(dim=1) == self.samples.labels).sum()) / len(self.samples)
