"""Faults and checks (chapter 2): break a small transfer pipeline in known ways, one at a time, and see which check notices.

A pipeline is frozen features and a trained head. `FAULTS` change one part of it; `CHECKS` look at it and know nothing of the
fault. Limits were fixed before the table was made.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor, nn

from tl_helpers import keys, plots
from tl_helpers.book import baseline
from tl_helpers.book.studies import width_after
from tl_helpers.data import Samples
from tl_helpers.data.views import VIEWS, views_of
from tl_helpers.models import Backbone, Classifier, load_backbone

BATCH = 50
STEPS, RATE, DECAY = 100, 3e-3, 0.1
"""Of AdamW on the whole training set, for every head."""


@dataclass(frozen=True)
class Pipeline:
    """What a small transfer project is made of; a fault replaces one part.

    Attributes
    ----------
    backbone : Backbone
        As the project uses it.
    published : Backbone
        As its authors published it: weights, and how pictures are prepared.
    train, validation : Samples
    looked_at : Samples
        Training cells that a person has looked at: these labels are right, whatever is wrong with the others.
    prepare : callable, optional
        From uint8 pixels (N, C, H, W) to what the backbone is fed; by default as published.
    classes : int
        Outputs of the head.
    training_mode : bool
        Whether the backbone is in training mode while training cells go through it.
    learns : bool
        Whether the optimiser holds the head.
    fitted_on : {"train", "both"}
        Whose mean and standard deviation standardise the features.
    most : int, optional
        Keep so many features only: those that go best with the labels of all cells, validation included.
    scored_on : {"validation", "train"}
    turns : bool
        Whether validation cells are turned at random whenever they are scored.
    seed : int
        Of the head.
    """

    backbone: Backbone
    published: Backbone
    train: Samples
    validation: Samples
    looked_at: Samples
    prepare: Callable[[Tensor], Tensor] | None = None
    classes: int = 2
    training_mode: bool = False
    learns: bool = True
    fitted_on: str = "train"
    most: int | None = None
    scored_on: str = "validation"
    turns: bool = False
    seed: int = 0

    def inputs(self, pixels: Tensor) -> Tensor:
        """Pixels as the backbone is fed, float32 (N, C, H, W)."""
        return (self.prepare or self.published.prepare)(pixels)

    def embed(self, samples: Samples, *, training: bool = False) -> Tensor:
        """Features of samples: float32 (N, dim)."""
        return _embed(self, samples.inputs, training and self.training_mode)

    @functools.cached_property
    def score(self) -> float:
        """Balanced accuracy of the head, in %, on what the project believes to be validation cells."""
        return self.scored(self.head())

    def scored(self, head: Head) -> float:
        """As `score`, for a head that is trained already."""
        asked = self.train if self.scored_on == "train" else self.validation
        return balanced(asked.labels, self.answers(head).argmax(1))

    def answers(self, head: Head) -> Tensor:
        """Logits, (N, classes), for what is scored."""
        asked = self.train if self.scored_on == "train" else self.validation
        if self.turns:
            asked = replace(asked, inputs=views_of(asked.inputs, torch.randint(VIEWS, (len(asked),))))
        return head(self.embed(asked))

    def fresh(self) -> nn.Linear:
        """A head that has not been trained."""
        return Classifier(self.published, self.classes, seed=self.seed).head[1]

    def head(self) -> Head:
        """Train a head on the training cells."""
        x, labels = self.embed(self.train, training=True), self.train.labels
        both = torch.cat([x, self.embed(self.validation)])
        columns = slice(None)
        if self.most is not None:
            targets = torch.cat([labels, self.validation.labels]).float()
            agree = ((both - both.mean(0)) / (both.std(0) + 1e-6) * (targets - targets.mean())[:, None]).mean(0)
            columns = agree.abs().topk(self.most).indices
        return fit_head(x, labels, both if self.fitted_on == "both" else x, self.fresh(), columns, learns=self.learns)


@dataclass(frozen=True)
class Head:
    """Standardises features, keeps some, and answers: (N, dim) to logits (N, classes)."""

    mean: Tensor
    std: Tensor
    columns: Tensor | slice
    linear: nn.Linear

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.standard(x), self.linear.weight[:, self.columns], self.linear.bias)

    def standard(self, x: Tensor) -> Tensor:
        """Standardised features, only those that are kept."""
        return ((x - self.mean) / self.std)[:, self.columns]


def fit_head(
    x: Tensor, labels: Tensor, reference: Tensor, linear: nn.Linear, columns: Tensor | slice, *, learns: bool = True
) -> Head:
    """Train a linear layer on features (N, dim), standardised by the mean and deviation of `reference`, (M, dim)."""
    head = Head(reference.mean(0), reference.std(0).clamp_min(1e-2), columns, linear)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=RATE, weight_decay=DECAY)
    z = head.standard(x)
    for _ in range(STEPS if learns else 0):
        loss = nn.functional.cross_entropy(nn.functional.linear(z, linear.weight[:, columns], linear.bias), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


def balanced(labels: Tensor, said: Tensor) -> float:
    """Balanced accuracy, in %: the mean recall over the classes among the labels, int64 (N,)."""
    return 100 * float(np.mean([float((said[labels == each] == each).float().mean()) for each in labels.unique()]))


_KNOWN: dict[str, Tensor] = {}


@functools.lru_cache(maxsize=32)
def _name(backbone: Backbone) -> str:
    return keys.fingerprint(backbone)


def _embed(pipeline: Pipeline, pixels: Tensor, training: bool) -> Tensor:
    """Features of pixels; kept while the process lives, as most faults leave them as they are."""
    backbone = pipeline.backbone
    facts = [pipeline.inputs(pixels[:1])] if len(pixels) else []
    key = keys.fingerprint(_name(backbone), pixels, facts, training)
    if key not in _KNOWN:
        if len(_KNOWN) > 200:
            _KNOWN.clear()
        used = copy.deepcopy(backbone).train(training)
        with torch.no_grad():
            _KNOWN[key] = torch.cat([used(pipeline.inputs(part)) for part in pixels.split(BATCH)])
    return _KNOWN[key]


def first_stages(backbone: Backbone, last: str = baseline.STAGE) -> Backbone:
    """The backbone up to the stage whose features the book's baseline takes, in eval mode."""
    names = backbone.stage_names[: backbone.stage_names.index(last) + 1]
    stages = {name: backbone.stages[name] for name in names}
    return Backbone(f"{backbone.name}/{last}", stages, width_after(backbone, stages), backbone.preprocessing).eval()


def pipeline(cells: Samples, seed: int, *, train: int = 300, validation: int = 200, looked_at: int = 40) -> Pipeline:
    """A pipeline without a fault, on some of the cells.

    Parameters
    ----------
    cells : Samples
        ELPV, at a small size; never test cells.
    seed : int
        Of the choice of cells, and of the head.
    train, validation, looked_at : int
        How many; those looked at are training cells whose experts were sure, half of each class.
    """
    order = np.random.default_rng(seed).permutation(len(cells))
    first, second = order[:train], order[train : train + validation]
    sure = [first[cells.extra["probability"][first] == p][: looked_at // 2] for p in (0.0, 1.0)]
    backbone = first_stages(load_backbone("efficientnet_lite0"))
    parts = (cells.take(rows) for rows in (first, second, np.concatenate(sure)))
    return Pipeline(backbone, backbone, *parts, seed=seed)


# ---- faults ----------------------------------------------------------------------------------------------------------


def _relabelled(samples: Samples, labels: Tensor | np.ndarray) -> Samples:
    return replace(samples, labels=torch.as_tensor(labels))


def inverted(p: Pipeline) -> Pipeline:
    """0 and 1 exchanged where the training labels are read."""
    return replace(p, train=_relabelled(p.train, 1 - p.train.labels))


def names_exchanged(p: Pipeline) -> Pipeline:
    """0 and 1 exchanged everywhere."""
    return replace(inverted(p), validation=_relabelled(p.validation, 1 - p.validation.labels))


def shuffled(p: Pipeline, seed: int | None = None) -> Pipeline:
    """Labels that belong to other pictures, in training and validation."""
    rng = np.random.default_rng(p.seed if seed is None else seed)
    labels = rng.permutation(torch.cat([p.train.labels, p.validation.labels]).numpy())
    first, second = np.split(labels, [len(p.train)])
    return replace(p, train=_relabelled(p.train, first), validation=_relabelled(p.validation, second))


def unscaled(p: Pipeline) -> Pipeline:
    """Pixels from 0 to 255 go in as they are."""
    return replace(p, prepare=lambda pixels: pixels.float().expand(-1, 3, -1, -1))


def other_constants(p: Pipeline) -> Pipeline:
    """Scaled, then normalised by the constants that most ImageNet networks use."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    return replace(p, prepare=lambda pixels: ((pixels.float() / 255).expand(-1, 3, -1, -1) - mean) / std)


def bgr(p: Pipeline) -> Pipeline:
    """Channels in the order blue, green, red."""
    return replace(p, prepare=lambda pixels: p.published.prepare(pixels).flip(1))


def random_weights(p: Pipeline) -> Pipeline:
    """The pre-trained weights were never loaded."""
    return replace(p, backbone=first_stages(load_backbone("efficientnet_lite0", pretrained=False, seed=p.seed)))


def norm_drifts(p: Pipeline) -> Pipeline:
    """Frozen weights, but ``model.train()`` put batch norm into training mode."""
    drifted = copy.deepcopy(p.backbone).train()
    with torch.no_grad():
        for part in p.train.inputs.split(BATCH):
            drifted(p.inputs(part))
    return replace(p, backbone=drifted.eval(), training_mode=True)


def nothing_frozen(p: Pipeline) -> Pipeline:
    """The backbone was handed to the optimiser with the head; four steps."""
    model = Classifier(copy.deepcopy(p.backbone), p.classes, seed=p.seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for part in range(4):
        rows = slice(BATCH * part, BATCH * (part + 1))
        loss = nn.functional.cross_entropy(model(p.inputs(p.train.inputs[rows])), p.train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return replace(p, backbone=model.backbone.eval())


def _with_copies(p: Pipeline, pixels: Tensor) -> Pipeline:
    """Pictures of the validation cells in the place of training cells."""
    kept = p.train.take(range(len(p.train) - len(pixels)))
    inputs, labels = torch.cat([kept.inputs, pixels]), torch.cat([kept.labels, p.validation.labels])
    extra = {name: np.concatenate([kept.extra[name], p.validation.extra[name]]) for name in kept.extra}
    rows = np.concatenate([kept.rows, -1 - p.validation.rows])  # saved again, under another number
    return replace(p, train=replace(kept, inputs=inputs, labels=labels, extra=extra, rows=rows))


def copies(p: Pipeline) -> Pipeline:
    """Validation cells are in training too, under another row number."""
    return _with_copies(p, p.validation.inputs)


def turned_copies(p: Pipeline) -> Pipeline:
    """Validation cells are in training too, each turned by a quarter."""
    return _with_copies(p, torch.rot90(p.validation.inputs, 1, (2, 3)))


def marked(p: Pipeline) -> Pipeline:
    """A white corner on the defective cells, as where one of two machines took all pictures of one class."""

    def mark(samples: Samples) -> Samples:
        inputs = samples.inputs.clone()
        inputs[samples.labels == 1, :, :6, :6] = 255
        return replace(samples, inputs=inputs)

    return replace(p, train=mark(p.train), validation=mark(p.validation))


FAULTS: dict[str, Callable[[Pipeline], Pipeline]] = {
    "no fault": lambda p: p,
    "training labels inverted": inverted,
    "class names exchanged": names_exchanged,
    "labels of other pictures": shuffled,
    "pixels not scaled": unscaled,
    "another network's constants": other_constants,
    "blue and red exchanged": bgr,
    "head with three outputs": lambda p: replace(p, classes=3),
    "head not in the optimiser": lambda p: replace(p, learns=False),
    "weights not loaded": random_weights,
    "batch norm in training mode": norm_drifts,
    "backbone not frozen": nothing_frozen,
    "copies in training": copies,
    "turned copies in training": turned_copies,
    "validation cells turned at random": lambda p: replace(p, turns=True),
    "standardised by all cells": lambda p: replace(p, fitted_on="both"),
    "features chosen by all labels": lambda p: replace(p, most=20),
    "scored on the training cells": lambda p: replace(p, scored_on="train"),
    "a mark on defective cells": marked,
}
"""By name: what changes one part of a pipeline."""


# ---- checks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A number that is measured, and the range in which it lies where all is well. Outside: caught."""

    measure: Callable[[Pipeline], float]
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""

    def caught(self, p: Pipeline) -> bool:
        """Whether this check raises an alarm."""
        return not self.low <= self.measure(p) <= self.high


def fresh_loss(p: Pipeline) -> float:
    """Cross-entropy of the untrained head on the standardised features of training cells, minus ln 2."""
    head = replace(p, learns=False, most=None).head()
    answers = head(p.embed(p.train, training=True))
    return float(nn.functional.cross_entropy(answers, p.train.labels)) - math.log(2)


def by_heart(p: Pipeline, cells: int = 20) -> float:
    """Training loss after training on a few cells only."""
    few = replace(p, train=p.train.take(range(cells)), most=None)
    head = few.head()
    return float(nn.functional.cross_entropy(head(few.embed(few.train, training=True)), few.train.labels))


def against_pixels(p: Pipeline) -> float:
    """Score minus that of the same head on the pixels themselves, at 16 x 16."""
    small = [nn.functional.adaptive_avg_pool2d(part.inputs.float(), 16).flatten(1) for part in (p.train, p.validation)]
    linear = nn.Linear(small[0].shape[1], 2)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    head = fit_head(small[0], p.train.labels, small[0], linear, slice(None))
    return p.score - balanced(p.validation.labels, head(small[1]).argmax(1))


def reach(p: Pipeline) -> float:
    """The largest number that goes into the network, relative to the largest that its source could feed."""
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    return float(p.inputs(p.train.inputs).abs().max() / p.published.prepare(ends).abs().max())


def against_reference(p: Pipeline) -> float:
    """A colour picture, prepared by the project and by the published code: the largest difference."""
    pixels = torch.arange(3 * 64, dtype=torch.uint8).view(1, 3, 8, 8)
    return float((p.inputs(pixels) - p.published.prepare(pixels)).abs().max())


def weights_moved(p: Pipeline) -> float:
    """Share of the backbone's parameters (tensors) that differ from the published ones, in %."""
    pairs = zip(p.backbone.parameters(), p.published.parameters(), strict=True)
    return 100 * float(np.mean([not torch.equal(a, b) for a, b in pairs]))


def tensors_moved(p: Pipeline) -> float:
    """The same of parameters and buffers."""
    pairs = zip(p.backbone.state_dict().values(), p.published.state_dict().values(), strict=True)
    return 100 * float(np.mean([not torch.equal(a, b) for a, b in pairs]))


def shuffled_score(p: Pipeline, times: int = 5) -> float:
    """Score where all labels have been shuffled first, the mean of a few shuffles, minus 50."""
    return float(np.mean([shuffled(p, seed=1000 * p.seed + n + 1).score for n in range(times)])) - 50


def seen_before(p: Pipeline) -> float:
    """Validation pictures that are among the training pictures."""
    train, validation = ([picture.numpy().tobytes() for picture in part.inputs] for part in (p.train, p.validation))
    return float(len(set(train) & set(validation)))


def twice(p: Pipeline) -> float:
    """The largest difference between two evaluations of one head."""
    head = p.head()
    return float((p.answers(head) - p.answers(head)).abs().max())


def without_validation(p: Pipeline) -> float:
    """How far the head moves if the validation cells are others: pictures turned upside down, labels exchanged."""
    other = replace(p.validation, inputs=p.validation.inputs.flip(2) // 2, labels=1 - p.validation.labels)
    heads = [p.head(), replace(p, validation=other).head()]
    one, two = ([head.mean, head.std, head.linear.weight.detach()] for head in heads)
    return max(float((a - b).abs().max()) for a, b in zip(one, two, strict=True))


def looked_at(p: Pipeline) -> float:
    """Right answers, in %, on cells that a person has looked at."""
    said = p.head()(p.embed(p.looked_at)).argmax(1)
    return 100 * float((said == p.looked_at.labels).float().mean())


ROOM = 0.75 * math.log(3 / 2)
"""Three quarters of what a third class would add to the loss of a head that knows nothing."""

CHECKS: dict[str, Check] = {
    "fresh head: loss near ln 2": Check(fresh_loss, -ROOM, ROOM),
    "learns 20 cells by heart": Check(by_heart, high=0.1),
    "beats guessing": Check(lambda p: p.score, low=60, unit="%"),
    "no worse than raw pixels": Check(against_pixels, low=-3, unit="points"),
    "inputs in the source's range": Check(reach, 0.5, 1.01),
    "one picture fed as published": Check(against_reference, high=1e-4),
    "frozen weights": Check(weights_moved, high=0, unit="%"),
    "frozen weights and statistics": Check(tensors_moved, high=0, unit="%"),
    "shuffled labels: chance": Check(shuffled_score, high=7, unit="points"),
    "no picture on both sides": Check(seen_before, high=0),
    "two evaluations agree": Check(twice, high=0),
    "training ignores validation": Check(without_validation, high=0),
    "cells you have looked at": Check(looked_at, low=60, unit="%"),
}
"""By name: what raises an alarm where its number leaves the range."""


def table(
    pipelines: Iterable[Pipeline],
    faults: Mapping[str, Callable[[Pipeline], Pipeline]] = FAULTS,
    checks: Mapping[str, Check] = CHECKS,
) -> pd.DataFrame:
    """Every check on every broken pipeline.

    Returns
    -------
    pandas.DataFrame
        A row for each pipeline, fault and check: ``seed``, ``fault``, ``check``, ``measured``, ``caught`` (bool), and the
        ``score`` that the project would report, in %.
    """
    rows = []
    for healthy in pipelines:
        for fault, broken in faults.items():
            p = broken(healthy)
            for name, check in checks.items():
                measured = check.measure(p)
                rows.append(
                    {
                        "seed": healthy.seed, "fault": fault, "check": name, "measured": measured,
                        "caught": not check.low <= measured <= check.high, "score": p.score,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def draw(found: pd.DataFrame) -> Axes:
    """The `table` as a picture: a cross where a check raised an alarm in every pipeline, a stroke in some, a dot in none.

    The score that each project would report, a mean in %, stands in brackets behind the fault.
    """
    plots.need(found, "fault", "check", "caught", "score")
    faults, checks = (list(dict.fromkeys(found[name])) for name in ("fault", "check"))
    share = found.groupby(["fault", "check"])["caught"].mean().unstack().loc[faults, checks].astype(float)
    score = found.groupby("fault")["score"].mean()
    texts = [["×" if cell == 1 else "/" if cell else "·" for cell in row] for row in share.to_numpy()]
    shown = share.set_axis([f"{fault} ({score[fault]:.0f} %)" for fault in faults])
    ax = plt.subplots(figsize=(plots.WIDTH, 1.9 + 0.27 * len(faults)), layout="constrained")[1]
    plots.heat_map(shown, texts, cmap="Blues", limits=(0, 1.3), fontsize=13, ax=ax)
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(checks)), checks, rotation=55, rotation_mode="anchor", ha="left", fontsize=9)
    ax.tick_params(axis="y", labelsize=9)
    ax.set_xlabel("× alarm in every draw   / in some   · in none", fontsize=9)
    return ax


def limits(checks: Mapping[str, Check] = CHECKS) -> pd.DataFrame:
    """What each check measures and where it raises no alarm, in words."""
    found = {}
    for name, check in checks.items():
        low, high = f"{check.low:.3g}", f"{check.high:.3g}"
        fine = f"{low} to {high}" if math.isfinite(check.high) else f"at least {low}"
        fine = fine if math.isfinite(check.low) else f"at most {high}"
        measured = (check.measure.__doc__ or "Balanced accuracy on validation cells.").splitlines()[0]
        found[name] = {"measured": measured, "fine": f"{fine} {check.unit}".strip()}
    return pd.DataFrame.from_dict(found, orient="index")
