"""Tables of the recorded adaptation runs, as chapter 7 shows them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from tl_helpers import stats
from tl_helpers.book import results
from tl_helpers.book.studies.adaptation import METHODS

ORDER = ["source only", "AdaBN", *METHODS, "target-trained"]
"""From nothing to the target's labels."""

SCORES = {
    "source validation": "source_validation",
    "entropy": "negative_entropy",
    "mutual information": "mutual_information",
    "importance-weighted": "importance_weighted",
    "reverse validation": "reverse_validation",
    "oracle": "target accuracy",
}
"""The scores that may choose, and the oracle: the column of each."""


def recorded(*names: str, accuracy: str = "oracle_accuracy") -> pd.DataFrame:
    """Recorded runs in the order of the methods; `accuracy` becomes the column ``target accuracy``."""
    runs = pd.concat(map(results.load, names), ignore_index=True)
    place = runs["method"].map(ORDER.index)
    runs = runs.iloc[place.argsort(kind="stable")].reset_index(drop=True)
    return runs.rename(columns={accuracy: "target accuracy"})


def sentences() -> pd.DataFrame:
    """Film reviews and tweets in equal proportions, both ways, as `recorded` gives them."""
    there = recorded("proportions")
    there = there[there["share"] == 0.5].assign(source_target="film -> tweets", strength=1.0)
    both = pd.concat([there, recorded("sentences_adaptation")], ignore_index=True)
    return both[["source_target", "method", "strength", "seed", "target accuracy"]]


def of_method(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The runs of one method."""
    return frame[frame["method"] == name]


def usual(frame: pd.DataFrame) -> pd.DataFrame:
    """Every method at its usual strength, and those that have none."""
    return frame[frame["strength"].isin((0.0, 1.0))]


def per_seed(frame: pd.DataFrame, pair: str, value: str = "target accuracy") -> np.ndarray:
    """One value a seed of a pair of domains."""
    return frame[frame["source_target"] == pair].sort_values("seed")[value].to_numpy()


def chosen(frame: pd.DataFrame, score: str, by: Sequence[str] = ("source_target", "seed")) -> pd.DataFrame:
    """The run with the best score in each group."""
    return frame.loc[frame.groupby(list(by), sort=False)[score].idxmax()]


def against_statistics(frame: pd.DataFrame, names: Mapping[str, str], overlap: float) -> pd.DataFrame:
    """Each method at its usual strength minus AdaBN, seed by seed; p-values are Holm's over the table."""
    rows, p = [], []
    for (name, words), method in itertools.product(names.items(), METHODS):
        gain = per_seed(of_method(usual(frame), method), name) - per_seed(of_method(frame, "AdaBN"), name)
        rows.append([words, method, *stats.interval(gain, overlap=overlap)])
        p.append(stats.p_value(gain, overlap))
    table = pd.DataFrame(rows, columns=["domains", "method", "minus AdaBN (points)", "from", "to"]).round(1)
    return table.assign(p=stats.holm(p).round(3)).set_index(["domains", "method"])


def four_arms(frame: pd.DataFrame, names: Mapping[str, str], overlap: float) -> pd.DataFrame:
    """Source only, AdaBN, the best alignment and the target's labels: mean and interval over the seeds, in words.

    Best in hindsight: the method whose mean over the seeds is highest at its usual strength, which no choice without the
    target's labels can know.
    """
    rows = {}
    for name, words in names.items():
        here = usual(frame[frame["source_target"] == name])
        means = here[here["method"].isin(METHODS)].groupby("method")["target accuracy"].mean()
        best = means.idxmax()
        arms = {
            "source only": "source only",
            "AdaBN": "AdaBN",
            best: "best alignment",
            "target-trained": "target-trained",
        }
        rows[words] = {}
        for method, arm in arms.items():
            mean, low, high = stats.interval(per_seed(of_method(here, method), name), overlap=overlap)
            rows[words][arm] = f"{mean:.1f} [{low:.1f}, {min(100, high):.1f}]"
        rows[words]["which"] = best
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("domains")


def choices(frame: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """What each score chooses, seed by seed."""
    some = frame[frame["source_target"].isin(pairs)]
    return pd.concat(chosen(some, score).assign(choice=name) for name, score in SCORES.items())


def choice_table(selected: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Mean accuracy on the target of what each score chose, and the method chosen most often."""
    table = selected.pivot_table(index="choice", columns="source_target", values="target accuracy", sort=False)
    table.columns = [f"{names[pair]} (%)" for pair in table]
    methods = selected.groupby("choice", sort=False)["method"]
    table["which method, most often"] = methods.agg(lambda m: m.mode()[0])
    return table.round(1)


def rank_correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each score with the accuracy on the target, over the runs of a seed; NaN where a score is the same for all."""
    rows = []
    for (name, seed), runs in frame.groupby(["source_target", "seed"]):
        for words, score in SCORES.items():
            if words == "oracle":
                continue
            order = np.nan
            if runs[score].nunique() > 1:
                order = spearmanr(runs[score], runs["target accuracy"]).statistic
            rows.append({"choice": words, "source_target": name, "seed": seed, "rank correlation": order})
    return pd.DataFrame(rows)


def mean_per_seed(frame: pd.DataFrame, choice: str, value: str = "target accuracy") -> np.ndarray:
    """A score's value, one a seed: the mean over the pairs."""
    return frame[frame["choice"] == choice].groupby("seed")[value].mean().to_numpy()


def runs_below(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """For each method and strength, the share of runs that end below the target's statistics alone, in %."""
    rows = []
    trained = frame[frame["method"].isin(METHODS)]
    for (name, method, strength), runs in trained.groupby(["source_target", "method", "strength"]):
        gain = per_seed(runs, name) - per_seed(of_method(frame, "AdaBN"), name)
        rows.append([names[name], method, strength, 100 * (gain < 0).mean()])
    return pd.DataFrame(rows, columns=["domains", "method", "strength", "runs below (%)"])
