"""What chapter 5 need not print: digits whose first stages come from elsewhere, and what a map of depth and rate says."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from tl_helpers import activations, features, freezing, plots, stats
from tl_helpers.book import baseline, results
from tl_helpers.book.studies.fine_tuning import DRAWS, SIZE, labelled
from tl_helpers.data import Samples, load_task
from tl_helpers.models import Backbone, Classifier, Preprocessing
from tl_helpers.training import Recipe, evaluate, fit

FEW, MANY = 100, 600
"""Pictures of five digits: of the new task, and of the networks that stages are taken from."""

NAMES = {
    "BnB": "same task, frozen (BnB)",
    "AnB": "other task, frozen (AnB)",
    "AnB+": "other task, fine-tuned (AnB+)",
    "untrained": "no task: random weights, frozen",
}
"""Arms of the experiment as the figures name them."""

# ---- digits: what each stage is worth --------------------------------------------------------------------------------


def six_stages(seed: int) -> Backbone:
    """A small convolutional network with random weights: six stages of 3 x 3 convolution, batch norm and ReLU."""
    torch.manual_seed(seed)
    widths = (1, 16, 16, 32, 32, 64, 64)
    stages = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths), 1):
        layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        stages[f"stage{number}"] = nn.Sequential(*layers, *([] if number % 2 else [nn.MaxPool2d(2)]))
    return Backbone("six_stages", stages, 64, Preprocessing(mean=(0.13,), std=(0.31,), size=28))


def five_digits(split: str, digits: Sequence[int], most: int | None = None, *, seed: int = 0) -> Samples:
    """Pictures of five digits, whose labels are numbered 0 to 4; at most so many, drawn by the seed."""
    samples, names = load_task("mnist5k").samples(split), tuple(map(str, digits))
    labels = samples.labels.numpy()
    rows = np.flatnonzero(np.isin(labels, digits))
    rows = np.random.default_rng(seed).permutation(rows)[:most]
    chosen = samples.take(rows, name=f"digits {'-'.join(names)}/{split}")
    return dataclasses.replace(
        chosen, labels=torch.tensor([list(digits).index(digit) for digit in labels[rows]]), classes=names
    )


def halves(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which five digits are task A and which are task B."""
    digits = np.random.default_rng(seed).permutation(10)
    return digits[:5], digits[5:]


def network(samples: Samples, recipe: Recipe, seed: int) -> Classifier:
    """Six new stages, trained on these samples alone."""
    model = Classifier(six_stages(seed), len(samples.classes), seed=seed)
    fit(model, samples, None, recipe, seed=seed)
    return model


def converged(backbone: Backbone, few: Samples, test: Samples) -> float:
    """Test accuracy in % of a linear head on these features, trained to its end."""
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    head.fit(features.extract(backbone, few), few.labels)
    return 100 * head.score(features.extract(backbone, test), test.labels)


def transplants(
    transplant: Callable[..., Classifier], seeds: Sequence[int], recipe: Recipe, *, drawn: int = 3
) -> pd.DataFrame:
    """Every arm of the experiment, for each seed: which digits, which pictures, which first weights.

    Parameters
    ----------
    transplant : callable
        ``transplant(source, kept, few, fine_tuned, seed)``: the new network, trained.
    recipe : Recipe
        Of the network that learns from few pictures alone; those with many see each of them less often.
    drawn : int
        So many seeds run with 1 to 6 stages kept, for the figures; the others only with 3 and 6, which claims cite.

    Returns
    -------
    pandas.DataFrame
        ``what``, ``kept``, ``seed``; test accuracy in % as ``trained``, and with a head trained to its end, ``converged``.
    """
    rows = []
    for number, seed in enumerate(seeds):
        a, b = halves(seed)
        few, test = five_digits("train", b, FEW, seed=seed), five_digits("test", b)
        rows.append(("base B", 0, seed, evaluate(network(few, recipe, seed), test)["accuracy"], np.nan))
        passes = dataclasses.replace(recipe, epochs=4)
        of_a, of_b = (network(five_digits("train", half, MANY, seed=seed), passes, seed) for half in (a, b))
        untrained = Classifier(six_stages(seed), len(b), seed=seed)
        wanted = [
            (what, source, kept, what.endswith("+"))
            for kept in (range(1, 7) if number < drawn else (3, 6))
            for what, source in (("BnB", of_b), ("AnB", of_a), ("AnB+", of_a), ("untrained", untrained))
        ]
        for what, source, kept, fine_tuned in wanted:
            model = transplant(source, kept, few, fine_tuned, seed)
            best = converged(model.backbone, few, test)
            rows.append((what, kept, seed, evaluate(model, test)["accuracy"], best))
    return pd.DataFrame(rows, columns=["what", "kept", "seed", "trained", "converged"])


def worth(frame: pd.DataFrame, accuracy: str, title: str, names: dict[str, str] = NAMES) -> Axes:
    """A figure: accuracy (the column ``trained`` or ``converged``) against the number of kept stages, one line an arm."""
    frame = frame[frame["seed"].isin(frame.loc[frame["kept"] == 1, "seed"])]  # those with 1 to 6 stages kept
    base = frame.loc[frame["what"] == "base B", "trained"].mean()
    some = frame[frame["what"].isin(names)]
    some = some.assign(what=some["what"].map(names), accuracy=some[accuracy])
    axes = plots.stage_curve(some, x="kept", series="what", title=title)
    axes.axhline(base, color="#555555", linestyle="--", linewidth=1.1, zorder=1, label=f"base B: {base:.1f} %")
    axes.set(xlabel="stages kept", ylim=(20, 101))  # the same in all figures
    axes.legend(loc="lower left")
    return axes


# ---- the freeze line -------------------------------------------------------------------------------------------------


def lines(backbone: Backbone, samples: Samples) -> pd.DataFrame:
    """For each freeze depth: what still trains, and how much of an image is kept at the line."""
    rows = []
    for depth in range(backbone.depth + 1):
        model = Classifier(backbone, len(samples.classes))
        freezing.freeze(model, depth)
        line = activations.Line(backbone.eval(), depth, samples)([0]) if depth else None
        rows.append(
            {
                "depth": depth,
                "first stage that trains": (*backbone.stage_names, "head")[depth],
                "trainable parameters": f"{freezing.count_trainable(model):,}",
                "kB an image at the line": "" if line is None else f"{line.numel() * 4 / 1024:.0f}",
            }
        )
    freezing.freeze(Classifier(backbone, len(samples.classes)), 0)
    return pd.DataFrame(rows).set_index("depth")


# ---- the map ---------------------------------------------------------------------------------------------------------


def maps(grid: pd.DataFrame) -> np.ndarray:
    """A figure: mean test accuracy by depth and rate, a panel for each number of labels; a star on validation's choice."""
    sizes = list(dict.fromkeys(grid["labels"]))
    figure, many = plt.subplots(1, len(sizes), figsize=(plots.WIDTH, 3.4), layout="constrained")
    for axes, labels in zip(many, sizes, strict=True):
        runs = grid[grid["labels"] == labels]
        test, validation = (
            runs.pivot_table(index="lr", columns="depth", values=name) for name in ("accuracy", "validation_accuracy")
        )
        best = np.unravel_index(np.nanargmax(validation.to_numpy()), validation.shape)
        test.index = map(plots.number, test.index)
        names = {"xlabel": "freeze depth (stages)", "ylabel": "learning rate"}
        picture = plots.heat_map(test, title=f"{labels} labels", ax=axes, **names)
        axes.invert_yaxis()
        axes.plot(*best[::-1], "w*", markersize=13, markeredgecolor="black")
        figure.colorbar(picture, ax=axes, label="test accuracy (%)", location="bottom")
    return many


def ranges(table: pd.DataFrame, look: str) -> tuple[float, float]:
    """How far apart rates are, and how far apart depths are, in a table of accuracy: one row a depth, one column a rate.

    ``"averages"``: rates by their mean over the depths, and depths by their mean over the rates. ``"best against best"``:
    each rate at its best depth, and each depth at its best rate.
    """
    of = {"averages": table.mean, "best against best": table.max}[look]
    return float(np.ptp(of(axis=0))), float(np.ptp(of(axis=1)))


def looks(grid: pd.DataFrame, rates: dict[str, Sequence[float]], overlap: float) -> pd.DataFrame:
    """Does the rate matter more than the depth? Two ways of looking, two splits, some grids of rates.

    Returns
    -------
    pandas.DataFrame
        ``rate minus depth`` is the difference of the two `ranges`, with its interval over the seeds, in words.
        ``says`` is the verdict after Holm's correction for the number of rows.
    """
    rows, p = [], []
    splits = {"validation": "validation_accuracy", "test": "accuracy"}
    for (labels, runs), (edges, some), look, split in itertools.product(
        grid.groupby("labels", sort=False), rates.items(), ("averages", "best against best"), splits
    ):
        within = runs[runs["lr"].isin(some)]
        over = [
            ranges(of_seed.pivot(index="depth", columns="lr", values=splits[split]), look)
            for _, of_seed in within.groupby("seed")
        ]
        mean, low, high = stats.interval([rate - depth for rate, depth in over], overlap=overlap)
        p.append(stats.p_value([rate - depth for rate, depth in over], overlap=overlap))
        rows.append(
            {
                "rates": edges, "look": look, "split": split, "labels": labels,
                "mean": mean, "words": f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]",
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    said = np.where(frame["mean"] > 0, " rate", " depth")
    return frame.assign(says=np.where(stats.holm(p) < 0.05, said, ""))


def looks_table(grid: pd.DataFrame, rates: dict[str, Sequence[float]], overlap: float) -> pd.DataFrame:
    """`looks` as a table for readers: a column for each number of labels, difference and verdict in words."""
    frame = looks(grid, rates, overlap)
    frame["words"] += frame["says"]
    table = frame.pivot_table("words", ["rates", "look", "split"], "labels", aggfunc="first", sort=False)
    return table.add_suffix(" labels")


def picked(runs: pd.DataFrame, by: str = "validation_accuracy") -> np.ndarray:
    """Test accuracy of the run with the best `by`, seed by seed; of runs that tie, their mean."""
    best = runs[runs[by] == runs.groupby("seed")[by].transform("max")]
    return best.groupby("seed")["accuracy"].mean().to_numpy()


def picked_by_few(runs: pd.DataFrame, size: int) -> np.ndarray:
    """As `picked`, by small validation sets of `size` samples: the mean over all that were drawn, seed by seed."""
    return np.mean([picked(runs, f"right_{size}_{draw:02d}") for draw in range(DRAWS)], axis=0)


def cell(runs: pd.DataFrame, depth: int, lr: float) -> np.ndarray:
    """Test accuracy of one depth and rate, seed by seed."""
    chosen = runs[(runs["depth"] == depth) & (runs["lr"] == lr)]
    return chosen.sort_values("seed")["accuracy"].to_numpy()


def bar(labels: int | str, seeds: Iterable[int], *, task: str = "elpv", size: int = SIZE) -> np.ndarray:
    """Test accuracy in % of the baseline on the same labels, splits and pixels: frozen features, one logistic regression."""
    x, found = None, []
    for seed in seeds:
        few = labelled(load_task(task, seed=seed), labels, seed)
        x = baseline.embeddings(few, size=size) if x is None else x  # one table, whatever the split
        head = baseline.head().fit(x[few.rows("train")], few.labels("train"))
        found.append(100 * head.score(x[few.rows("test")], few.labels("test")))
    return np.array(found)


def by_labels(name: str) -> Iterator[tuple[int | str, pd.DataFrame]]:
    """The recorded runs of a study, number of labels by number of labels."""
    for labels, runs in results.load(name).groupby("labels", sort=False):
        yield labels if labels == "all" else int(labels), runs


def choices(chosen: dict[str, np.ndarray], title: str) -> Axes:
    """A figure: test accuracy that each way to choose a cell ends with, one dot a seed."""
    rows = [(name, value) for name, values in chosen.items() for value in values]
    return plots.bars(pd.DataFrame(rows, columns=["choice", "accuracy"]), series="choice", low=65, title=title)
