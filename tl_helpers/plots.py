"""Figures of the book: one sober style, tidy pandas frames in, matplotlib axes out.

A method has the same colour in every chapter (`colours`), spread over seeds is always drawn, units are always named.
Used by every chapter; `widgets` takes its colours and its aggregation from here.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, NullLocator
from scipy import stats
from sklearn.metrics import confusion_matrix

# Okabe & Ito (2008): eight colours that stay apart for colour-blind readers. Yellow is left out: on white it vanishes.
OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "grey": "#767676",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 7.2  # inches: the text column of the built book, so that 10 pt in a figure reads like 10 pt

# Names that the chapters use. Two names on one line mean the same method.
_METHOD_COLOURS = {
    "frozen features": "blue", "linear probe": "blue",
    "fine tuning": "vermillion", "full fine tuning": "vermillion",
    "from scratch": "green", "scratch": "green",
    "partial fine tuning": "orange", "gradual unfreezing": "orange",
    "random features": "purple",
    "knn": "sky", "nearest neighbours": "sky",
    "majority": "grey", "published": "grey",
}  # fmt: skip

PERCENT = ("accuracy", "f1", "auc", "calibration_error")
"""Endings of metric names that `training.score` gives in percent."""

# Parts of column names that are no words as they stand; a name that is not here only loses its underscores.
_WORDS = {
    "auc": "AUC",
    "f1": "F1",
    "kb": "kB",
    "lr": "learning rate",
    "px": "pixels",
    "train": "training",
    "trainable": "trainable parameters",
}

Interval = Literal["sd", "95"]


def use_style() -> None:
    """Set the book's figure style, and vector graphics in a notebook."""
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 4.0),
            "figure.constrained_layout.use": True,
            "font.size": 10.5,
            "axes.titlesize": 11.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#555555",
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.8,
            "lines.linewidth": 2.0,
            "lines.markersize": 5.5,
            "legend.frameon": False,
            "axes.prop_cycle": mpl.cycler(color=[c for n, c in OKABE_ITO.items() if n != "grey"]),
            "svg.hashsalt": "transfer-learning-book",  # same figure, same bytes
        }
    )
    from matplotlib_inline.backend_inline import set_matplotlib_formats  # here: it looks for a running notebook

    set_matplotlib_formats("svg")


# ---- names, numbers, aggregation -------------------------------------------------------------------------------------


def colours(names: Iterable[str]) -> dict[str, str]:
    """Map method names to hex colours: fixed for the book's methods, the next unused ones (in order) for the others."""
    names = list(dict.fromkeys(str(n) for n in names))
    fixed = {n: OKABE_ITO[_METHOD_COLOURS[_plain(n)]] for n in names if _plain(n) in _METHOD_COLOURS}
    free = [c for n, c in OKABE_ITO.items() if n != "grey" and c not in fixed.values()] or list(OKABE_ITO.values())
    others = [n for n in names if n not in fixed]
    return fixed | {n: free[k % len(free)] for k, n in enumerate(others)}


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def number(value: Any) -> str:
    """Format a control value or tick: 0.001 rather than 1e-03, 2,624 rather than 2624.0, names unchanged."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return str(value)
    if isinstance(value, (int, np.integer)) or (float(value).is_integer() and abs(value) < 1e7):
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    if not math.isfinite(value) or not 1e-7 <= abs(value) < 1e7:
        return f"{value:g}"
    return np.format_float_positional(float(f"{value:.4g}"), trim="-")


def need(frame: pd.DataFrame, *columns: str | None) -> None:
    """Raise ValueError (TypeError for no frame) in plain words when `frame` is empty or lacks one of `columns`."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"expected a pandas DataFrame with one row per run, got {type(frame).__name__}")
    missing = [c for c in columns if c is not None and c not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise ValueError(f"no column {', '.join(map(repr, missing))}: the frame has {there}")
    if frame.empty:
        raise ValueError("the frame has no rows: there are no runs to show yet")


def need_percent(values: Iterable[float], unit: str, name: str) -> None:
    """Raise ValueError where fractions would be shown as percentages: unit "%", but every value lies within [0, 1].

    Calibration errors may be that small, so they pass.
    """
    values = np.asarray(list(values), dtype=float)
    values = values[np.isfinite(values)]
    small = len(values) > 0 and values.min() >= 0 and values.max() <= 1
    if unit == "%" and small and not name.lower().endswith("calibration_error"):
        raise ValueError(
            f"{name!r} holds values from {values.min():g} to {values.max():g} and is to be shown in %: that looks like "
            "fractions: multiply by 100, or pass unit='' if they are no percentages"
        )


def aggregate(frame: pd.DataFrame, by: Sequence[str], value: str, interval: Interval = "sd") -> pd.DataFrame:
    """Mean, spread and count of `value` for each combination of `by`; missing values are left out of the count.

    The spread is the sample standard deviation ("sd") or half of the 95 % t-interval of the mean ("95"); with a single
    run it is NaN, because one run says nothing about spread.
    """
    if interval not in ("sd", "95"):
        raise ValueError(f"interval is 'sd' (standard deviation) or '95' (95 % interval of the mean), not {interval!r}")
    groups = frame.groupby(list(by), sort=False, observed=True)[value]
    table = groups.agg(mean="mean", spread="std", n="count").reset_index()
    if interval == "95":
        n = table["n"].where(table["n"] > 1)
        table["spread"] = table["spread"] * stats.t.ppf(0.975, n - 1) / np.sqrt(n)
    return table


def unit_of(metric: str) -> str:
    """The sign % for the metrics that the package gives in percent (`PERCENT`), else no unit."""
    return "%" if metric.lower().endswith(PERCENT) else ""


def interval_name(interval: Interval) -> str:
    """What the drawn spread is, in words."""
    return "standard deviation over runs" if interval == "sd" else "95 % interval of the mean"


def words(column: Any, unit: str | None = None) -> str:
    """A column's name as people say it, with its unit: ``validation.auc`` -> ``validation AUC (%)``.

    For headers of tables and labels of axes; also ``frame.rename(columns=plots.words)``. A name with a space in it was
    written for people and keeps its words; numbers are written as `number` writes them. ``test.`` is left out: a result is
    the test's unless it says otherwise. The unit is what `unit_of` knows, or the one given; "" is none.
    """
    if not isinstance(column, str):
        return number(column)
    name = column
    if " " not in name:
        parts = re.sub(r"(?<=\w)\.(?=[a-zA-Z])|_", " ", name.removeprefix("test.")).split()
        name = re.sub(r"\btop (?=\d)", "top-", " ".join(_WORDS.get(part, part) for part in parts))
    unit = unit_of(column) if unit is None else unit
    return f"{name} ({unit})" if unit else name


def _sentence(text: str) -> str:
    """The text with a capital letter in front; the others stay (AUC, ImageNet)."""
    return text[:1].upper() + text[1:]


def _new_axes(ax: Axes | None = None, height: float = 4.0) -> Axes:
    return ax if ax is not None else plt.subplots(figsize=(WIDTH, height), layout="constrained")[1]


def _reference_lines(ax: Axes, references: Mapping[str, float] | None, vertical: bool) -> None:
    """Dashed, labelled lines for numbers that are not our runs; values in the unit of the axis."""
    for name, at in (references or {}).items():
        (ax.axvline if vertical else ax.axhline)(at, color="#555555", linestyle=(0, (4, 3)), linewidth=1.1, zorder=1)
        if vertical:
            place = {"x": at, "y": 1.0, "transform": ax.get_xaxis_transform(), "rotation": 30, "ha": "left"}
        else:
            place = {"x": 1.0, "y": at, "transform": ax.get_yaxis_transform(), "ha": "right"}
        ax.text(s=f" {name} {at:.4g} ", fontsize=9, color="#444444", va="bottom", **place)


# ---- results over runs -----------------------------------------------------------------------------------------------


def learning_curves(
    frame: pd.DataFrame,
    x: str = "labels",
    y: str = "accuracy",
    series: str | None = "method",
    *,
    log_x: bool = True,
    unit: str = "%",
    references: Mapping[str, float] | None = None,
    title: str | None = None,
    x_label: str | None = None,
    y_label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean of `y` over `x`, one line per `series`, a band for the standard deviation, each run a faint dot.

    Values are drawn as they are; with the unit "%" they have to be in percent. References are values in the unit shown, by
    name, drawn as dashed lines (majority class, published numbers). A ValueError for an empty frame or a missing column.
    """
    need(frame, x, y, series)
    need_percent(frame[y], unit, y)
    title = title or f"{_sentence(words(y, ''))} over {words(x, '')}"
    ax = _draw_lines(_new_axes(ax), frame, frame[x], y, series, "band", title, references)
    ax.set(xlabel=x_label or words(x, ""), ylabel=y_label or words(y, unit))
    values = np.sort(frame[x].unique())
    if log_x and np.all(values > 0):
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    if len(values) <= 10:  # where the runs are: readers look up "at 100 labels", not at 10^2
        ax.set_xticks(values, [number(v) for v in values])
    return ax


def trade_off(
    frame: pd.DataFrame,
    x: str,
    y: str,
    knob: str,
    series: str = "way",
    *,
    title: str,
    x_label: str,
    y_label: str,
    faint: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Two metrics in % against each other: one line a series through its means, from the lowest to the highest `knob`.

    Values are drawn as they are. A ring marks the lowest value of the knob; runs are faint dots. Series named in `faint` are
    drawn in grey, to compare with. A ValueError for an empty frame or a missing column.
    """
    need(frame, x, y, knob, series)
    for metric in (x, y):
        need_percent(frame[metric], "%", metric)
    ax = _new_axes(ax, height=4.4)
    names = list(dict.fromkeys(frame[series]))
    palette = colours(name for name in names if name not in faint) | dict.fromkeys(faint, OKABE_ITO["grey"])
    for name, marker in zip(names, itertools.cycle(MARKERS)):
        rows = frame[frame[series] == name]
        means = rows.groupby(knob)[[x, y]].mean().sort_index()
        style = {"color": palette[str(name)], "marker": marker}
        ax.plot(rows[x], rows[y], linestyle="", markersize=3, alpha=0.25, **style)
        ax.plot(means[x], means[y], label=str(name), **style)
        ax.plot(means[x].iloc[:1], means[y].iloc[:1], "o", markersize=11, fillstyle="none", color=style["color"])
    ax.set(title=title, xlabel=x_label, ylabel=y_label)
    ax.legend(loc="best", fontsize=9)
    return ax


def stage_curve(
    frame: pd.DataFrame,
    x: str = "stage",
    y: str = "accuracy",
    series: str | None = None,
    *,
    unit: str = "%",
    references: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Axes:
    """`y` for each stage of a backbone, stages in the order of the frame (input first), spread as error bars."""
    need(frame, x, y, series)
    need_percent(frame[y], unit, y)
    stages = {stage: place for place, stage in enumerate(dict.fromkeys(frame[x]))}
    title = title or f"{_sentence(words(y, ''))} by {words(x, '')}"
    ax = _draw_lines(_new_axes(), frame, frame[x].map(stages), y, series, "error bar", title, references)
    ax.set(xlabel=f"{words(x, '')} (input on the left)", ylabel=words(y, unit))
    ax.set_xticks(range(len(stages)), [number(s) for s in stages])
    if max(len(str(s)) for s in stages) > 6 and len(stages) > 6:
        ax.tick_params(axis="x", rotation=30)
    return ax


def _draw_lines(
    ax: Axes,
    frame: pd.DataFrame,
    at: pd.Series,
    y: str,
    series: str | None,
    spread_as: str,
    title: str,
    references: Mapping[str, float] | None,
) -> Axes:
    """Each series' runs, their mean and spread at the places `at`; a legend, and under the title what is what."""
    frame = frame.assign(at=at, value=frame[y], series=y if series is None else frame[series])
    groups = list(frame.groupby("series", sort=False, observed=True))
    palette = colours(name for name, _ in groups)
    for (name, rows), marker in zip(groups, itertools.cycle(MARKERS)):
        style = {"color": palette[str(name)], "marker": marker}
        ax.plot(rows["at"], rows["value"], linestyle="", markersize=3.5, alpha=0.35, **style)
        table = aggregate(rows, ["at"], "value").sort_values("at")
        where, mean, spread = table["at"], table["mean"], table["spread"].fillna(0.0)
        if spread_as == "band":
            ax.plot(where, mean, label=str(name), **style)
            ax.fill_between(where, mean - spread, mean + spread, color=style["color"], alpha=0.15, linewidth=0)
        else:
            ax.errorbar(where, mean, yerr=spread, capsize=3, label=str(name), **style)
    _reference_lines(ax, references, vertical=False)
    if series is not None:
        ax.legend(loc="best")
    ax.set_title(title, pad=22)
    note = f"line: mean, {spread_as}: {interval_name('sd')}, dots: single runs"
    ax.annotate(note, (0, 1), xycoords="axes fraction", xytext=(0, 7), textcoords="offset points",
                va="bottom", fontsize=9, color="#555555", annotation_clip=False)  # fmt: skip
    return ax


def bars(
    frame: pd.DataFrame,
    value: str = "accuracy",
    series: str = "method",
    *,
    interval: Interval = "sd",
    references: Mapping[str, float] | None = None,
    title: str | None = None,
    low: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """One horizontal bar per `series`: mean, error bar, each run a faint dot; `references` as dashed lines.

    Bars start at 0. With `low` above 0 dots are drawn instead: the length of a cut bar would mislead.
    """
    need(frame, value, series)
    need_percent(frame[value], "%", value)
    table = aggregate(frame, [series], value, interval)
    rows, names, palette = range(len(table)), table[series].astype(str), colours(table[series])
    ax = _new_axes(ax, height=1.5 + 0.5 * len(table) + (0.5 if references else 0))
    if low <= 0:
        ax.barh(rows, table["mean"], height=0.62, color=names.map(palette), alpha=0.85)
    else:
        ax.scatter(table["mean"], rows, s=81, color=names.map(palette))
    ends = table["mean"] + table["spread"].fillna(0)
    for row, (mean, spread, n) in enumerate(table[["mean", "spread", "n"]].itertuples(index=False)):
        runs = frame.loc[frame[series] == table[series][row], value]
        ax.plot(runs, np.full(len(runs), row), "o", markersize=3, color="#222222", alpha=0.4)
        text, end = mean_text(mean, spread, n, count=False), max(ends[row], runs.max())
        ax.annotate(text, (end, row), xytext=(7, 0), textcoords="offset points", va="center", fontsize=10,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
    ax.errorbar(table["mean"], rows, xerr=table["spread"], fmt="none", color="#222222", capsize=4, linewidth=1.4)
    ax.set_yticks(rows, names)
    ax.set_ylim(len(table) - 0.4, -0.6)  # first row on top
    ax.grid(visible=False, axis="y")
    high = max([frame[value].max(), *(references or {}).values(), ends.max()])
    ax.set_xlim(low, high + 0.16 * (high - low))  # room for the numbers behind the bars
    _reference_lines(ax, references, vertical=True)
    ax.set_xlabel(f"{words(value, '%')}; error bar: {interval_name(interval)}, dots: single runs")
    title = title or f"{_sentence(words(value, ''))} by {words(series, '')}"
    ax.set_title(title, pad=46 if references else 10)
    return ax


def history(run: Any, *, title: str | None = None) -> np.ndarray:
    """Loss and accuracy per epoch of a `tl_helpers.ledger.Run`, training (dashed) against validation (solid).

    Returns an array of Axes, one for each of the two that the run recorded.
    """
    frame = pd.DataFrame(run.history)
    if frame.empty:
        raise ValueError("there are no epoch records: train at least one epoch first")
    found = [m for m in ("loss", "accuracy") if {f"train_{m}", f"validation_{m}"} & set(frame)]
    if not found:
        raise ValueError(f"no epoch record holds loss or accuracy: the records have {', '.join(sorted(frame))}")
    _, axes = plt.subplots(1, len(found), figsize=(WIDTH, 3.3), layout="constrained", squeeze=False)
    style = {"marker": "o", "markersize": 3.5, "color": colours([run.name])[run.name]}
    for ax, metric in zip(axes[0], found, strict=True):
        unit = unit_of(metric)
        for part, line in (("train", "--"), ("validation", "-")):
            if (key := f"{part}_{metric}") in frame:
                curve = frame[np.isfinite(frame[key].astype(float))]
                need_percent(curve[key], unit, metric)
                ax.plot(curve["epoch"], curve[key], line, label=part, **style)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="epoch", ylabel=words(metric, unit))
        ax.set_title(f"{_sentence(words(metric, ''))} per epoch")
        ax.legend()
    if title:
        axes[0, 0].figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return axes[0]


# ---- predictions -----------------------------------------------------------------------------------------------------


def confusion(labels: Any, predictions: Any, classes: Sequence[str]) -> Axes:
    """Confusion matrix: counts, and the share of each true class as shade. `labels`, `predictions`: (N,) integers."""
    labels, predictions = (np.asarray(a).ravel().astype(int) for a in (labels, predictions))
    k = len(classes)
    if min(labels.min(), predictions.min()) < 0 or max(labels.max(), predictions.max()) >= k:
        raise ValueError(f"{k} class names, but labels or predictions outside 0..{k - 1}")
    counts = confusion_matrix(labels, predictions, labels=range(k))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = plt.subplots(figsize=(1.9 + 0.95 * k, 1.4 + 0.8 * k), layout="constrained")[1]
    texts = [[f"{counts[i, j]}\n{share[i, j]:.0%}" for j in range(k)] for i in range(k)]
    table = pd.DataFrame(share, index=list(classes), columns=list(classes))
    heat_map(table, texts, cmap="Blues", limits=(0, 1), title="Confusion matrix", ax=ax)
    ax.set(xlabel="predicted class\n(count, share of the true class)", ylabel="true class")
    return ax


def embedding_map(embeddings: Mapping[str, Any], labels: Any, classes: Sequence[str]) -> np.ndarray:
    """Embeddings in two dimensions, one panel each: the first two principal components, class by colour and shape.

    Each feature is scaled to mean 0 and standard deviation 1 first; the sign of a component is such that its largest
    loading is positive. `embeddings`: name -> (N, D); `labels`: (N,) integers. Returns an array of Axes. A ValueError for
    no embeddings, or as many labels as do not fit.
    """
    labels = np.asarray(labels).ravel().astype(int)
    if not embeddings or any(len(x) != len(labels) for x in embeddings.values()):
        raise ValueError(f"expected one embedding or more, each of {len(labels)} samples, as many as there are labels")
    palette = list(OKABE_ITO.values())
    _, axes = plt.subplots(1, len(embeddings), figsize=(WIDTH, 3.6), layout="constrained", squeeze=False)
    for ax, (name, x) in zip(axes[0], embeddings.items(), strict=True):
        x = _array(x).astype(float)
        z = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
        values, vectors = np.linalg.eigh(z.T @ z)
        two = vectors[:, [-1, -2]]
        two *= np.sign(two[np.abs(two).argmax(axis=0), [0, 1]])
        points, share = z @ two, 100 * values[[-1, -2]] / values.sum()
        for k, label in enumerate(classes):
            own, marker = points[labels == k], MARKERS[k % len(MARKERS)]
            ax.plot(*own.T, marker, markersize=2.6, alpha=0.45, color=palette[k % len(palette)], label=label)
        ax.set(xlabel=f"component 1 ({share[0]:.0f} % of the variance)", ylabel=f"component 2 ({share[1]:.0f} %)")
        ax.set_title(name)
    axes[0, 0].legend(loc="best", fontsize=9, markerscale=2)
    return axes[0]


def heat_map(
    table: pd.DataFrame,
    texts: str | Sequence[Sequence[str]] | None = None,
    *,
    cmap: str = "cividis",
    limits: tuple[float, float] | None = None,
    title: str | None = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    fontsize: float = 10,
    ax: Axes | None = None,
) -> AxesImage:
    """A table of numbers as coloured cells, the first row on top; the image is returned, for a colour bar.

    Cells that are not finite stay empty. `texts` are what stands in the cells: a format for their numbers (``".0f"``), or
    the texts themselves; black or white, whichever contrasts more with the cell. `limits` are the values at the two ends of
    the colours, by default the smallest and largest of the table.
    """
    values = table.to_numpy(dtype=float)
    ax = _new_axes(ax)
    low, high = limits or (None, None)
    picture = ax.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto")
    ax.set_xticks(range(values.shape[1]), table.columns)
    ax.set_yticks(range(values.shape[0]), table.index)
    ax.grid(visible=False)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if isinstance(texts, str):  # z: what rounds to 0 has no sign
        spec = f"{texts[0]}z{texts[1:]}" if texts.startswith(("+", "-", " ")) else f"z{texts}"
        texts = [[format(value, spec) for value in row] for row in values]
    if texts is not None:
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = ink_on(picture.to_rgba(value))
                ax.text(j, i, texts[i][j], ha="center", va="center", color=ink, fontsize=fontsize)
    return picture


def ink_on(colour: Any) -> str:
    """Black or white, whichever contrasts more with `colour` (WCAG 2.2: relative luminance)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
    luminance = float(np.dot(channels, (0.2126, 0.7152, 0.0722)))
    return "black" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "white"


def reliability(labels: Any, probabilities: Any) -> Axes:
    """Calibration diagram: accuracy among the samples of similar confidence, against that confidence, in 15 equal bins.

    From labels, (N,) integers, and probabilities, (N, classes), or (N,) of class 1 in a two-class task. The title names the
    expected calibration error (Guo et al. 2017): the mean gap, weighted by the samples in each bin. It is what tables name
    ``calibration_error``.
    """
    labels, probabilities = np.asarray(labels).ravel(), np.asarray(probabilities, dtype=float)
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError("probabilities lie outside 0..1: pass softmax outputs, not logits")
    highest = probabilities.max(axis=1)
    samples = pd.DataFrame({"confidence": highest, "accuracy": probabilities.argmax(axis=1) == labels})
    bins = (100.0 * samples).groupby(np.ceil(15 * highest))
    confidence, accuracy = bins.mean().to_numpy().T
    count = bins.size().to_numpy()
    error = np.sum(count / len(labels) * np.abs(accuracy - confidence))
    ax = plt.subplots(figsize=(5.2, 4.4), layout="constrained")[1]
    dashes = {"color": "#555555", "linestyle": (0, (4, 3)), "linewidth": 1.1}
    ax.plot([0, 100], [0, 100], label="perfectly calibrated", **dashes)
    ax.vlines(confidence, confidence, accuracy, color=OKABE_ITO["vermillion"], alpha=0.5)
    ax.scatter(confidence, accuracy, s=25 + 250 * count / count.max(), color=OKABE_ITO["blue"], zorder=3,
               label="samples of similar confidence (area: how many)")  # fmt: skip
    low = max(0.0, min(confidence.min(), accuracy.min()) - 8)
    ax.set(xlim=(low, 102), ylim=(low, 102), xlabel="confidence (%)", ylabel="accuracy (%)")
    ax.set_title(f"Reliability: expected calibration error {error:.1f} points")
    ax.legend(loc="lower right", fontsize=9, markerscale=0.5)
    return ax


# ---- pictures --------------------------------------------------------------------------------------------------------


def image_grid(pixels: Any, titles: Sequence[str] | None = None, *, columns: int = 8) -> np.ndarray:
    """Pictures in a grid. `pixels`: (N, C, H, W) uint8 (or floats in 0..1), C = 1 (grey) or 3 (colour)."""
    pixels = _array(pixels)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or len(pixels) == 0:
        raise ValueError(f"expected pixels of shape (N, 1 or 3, H, W) with N above 0, got {pixels.shape}")
    if pixels.dtype != np.uint8 and (pixels.min() < 0 or pixels.max() > 1):
        raise ValueError("floats outside 0..1 (normalised already?): pass the uint8 pixels")
    if titles is not None and len(titles) != len(pixels):
        raise ValueError(f"{len(pixels)} pictures but {len(titles)} titles")
    top = 255 if pixels.dtype == np.uint8 else 1
    pictures = [p[0] if len(p) == 1 else p.transpose(1, 2, 0) for p in pixels]
    return _tiles(pictures, titles, columns, cmap="gray", vmin=0, vmax=top)


def feature_maps(activations: Any, *, most: int = 16, title: str = "") -> np.ndarray:
    """The `most` most varied channels of one picture's activations (C, H, W), each on its own scale."""
    maps = _array(activations)
    if maps.ndim != 3 or len(maps) == 0:
        raise ValueError(f"expected the activations of one picture, shape (C, H, W), got {maps.shape}")
    order = np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:most]
    title = title or f"The {len(order)} most varied of {len(maps)} feature maps"
    return _tiles([maps[k] for k in order], [f"channel {k}" for k in order], 8, title=title, cmap="cividis")


def filters(weights: Any, *, columns: int = 8) -> np.ndarray:
    """The first 32 filters (out, in, h, w) as pictures: in colour when `in` is 3, else the mean over `in`; grey is 0."""
    weights = _array(weights).astype(float)
    if weights.ndim != 4 or len(weights) == 0:
        raise ValueError(f"expected convolution weights of shape (out, in, h, w), got {weights.shape}")
    weights = weights[:32]
    reach = np.maximum(np.abs(weights).max(axis=(1, 2, 3), keepdims=True), 1e-12)
    shown = 0.5 + 0.5 * weights / reach
    pictures = [w.transpose(1, 2, 0) if w.shape[0] == 3 else w.mean(axis=0) for w in shown]
    title = "Filters of the first convolution"
    return _tiles(pictures, None, columns, title=title, cmap="gray", vmin=0, vmax=1)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _tiles(
    pictures: list[np.ndarray], titles: Sequence[str] | None, columns: int, *, title: str = "", **show: Any
) -> np.ndarray:
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    side = WIDTH / max(columns, 4)
    height = rows * (side + (0.25 if titles is not None else 0)) + (0.4 if title else 0)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * side, height), layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for k, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        ax.imshow(picture, interpolation="nearest", **show)
        if titles is not None:
            ax.set_title(str(titles[k]), fontsize=9, fontweight="normal", loc="center", pad=3)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    return axes


# ---- tables ----------------------------------------------------------------------------------------------------------


def mean_text(mean: float, spread: float, n: int, *, count: bool = True) -> str:
    """'84.1 ± 0.6 (5)': as many digits as the spread makes meaningful, the number of runs in brackets."""
    if n == 0 or not math.isfinite(mean):
        return "not recorded"
    tail = f" ({n})" if count else ""
    if not math.isfinite(spread):
        return f"{mean:z.{1 if abs(mean) >= 10 else 3}f}{tail}"
    if spread == 0 and abs(mean) >= 1000 and float(mean).is_integer():  # counted, the same in every run: parameters
        return f"{mean:,.0f}{tail}"
    # one digit of the spread means something, two when it begins with 1 or 2
    digits = 1 if spread == 0 else -math.floor(math.log10(spread)) + (f"{spread:e}"[0] in "12")
    if abs(mean) >= 10:  # percentages, seconds: one or two decimals, none when the spread is 10 or more
        digits = min(max(digits, 1), 2) if spread < 10 else 0
    digits = min(max(digits, 0), 4)
    return f"{mean:z.{digits}f} ± {spread:.{digits}f}{tail}"


def result_table(
    frame: pd.DataFrame, by: Sequence[str] = ("method",), metrics: Sequence[str] = ("accuracy",)
) -> pd.DataFrame:
    """Table of 'mean ± standard deviation (runs)' per combination of `by`, in the order of the frame.

    Values are shown as they are. Headers are `words`; columns whose name ends as one of `PERCENT` are labelled with %,
    and are refused if they hold fractions.
    """
    by, metrics = list(by), list(metrics)
    need(frame, *by, *metrics)
    headers = [words(metric) for metric in metrics]
    if len(set(headers)) < len(headers):
        raise ValueError(f"two of the metrics {', '.join(map(repr, metrics))} have the same name in words: pass one")
    columns = {}
    for metric, header in zip(metrics, headers, strict=True):
        need_percent(frame[metric], unit_of(metric), metric)
        table = aggregate(frame, by, metric).set_index(by)
        columns[header] = [mean_text(mean, spread, int(n)) for mean, spread, n in table.itertuples(index=False)]
    return pd.DataFrame(columns, index=table.index.set_names([words(name, "") for name in by]))
