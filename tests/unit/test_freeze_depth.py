"""tl_helpers.book.studies.freeze_depth: what a map of depth and rate says, and who chooses on what."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tl_helpers.book.studies import freeze_depth as study
from tl_helpers.book.studies.fine_tuning import DRAWS

MAP = pd.DataFrame([[70.0, 80.0, 60.0], [74.0, 79.0, 69.0]], index=[0, 9], columns=[1e-4, 1e-3, 1e-2])


def runs_of(tables: list[pd.DataFrame], labels: int = 50) -> pd.DataFrame:
    """Runs whose validation accuracy is a table of depths and rates, one a seed, and whose test accuracy is one less."""
    rows = [
        {
            "labels": labels,
            "depth": d,
            "lr": r,
            "seed": s,
            "validation_accuracy": t.loc[d, r],
            "accuracy": t.loc[d, r] - 1,
        }
        for s, t in enumerate(tables)
        for d, r in itertools.product(t.index, t.columns)
    ]
    return pd.DataFrame(rows)


def test_ranges_by_averages_and_best_against_best():
    rate, depth = study.ranges(MAP, "averages")
    assert (rate, depth) == pytest.approx((79.5 - 64.5, 74.0 - 70.0))
    assert study.ranges(MAP, "best against best") == (80.0 - 69.0, 80.0 - 79.0)
    with pytest.raises(KeyError):
        study.ranges(MAP, "worst")


def test_looks_gives_the_difference_of_the_ranges_and_corrects_for_the_rows():
    runs = runs_of([MAP, MAP + 1, MAP.mul(1.001)])
    frame = study.looks(runs, {"all": MAP.columns, "low": MAP.columns[:2]}, overlap=1 / 3)
    assert len(frame) == 2 * 2 * 2
    first = frame.iloc[0]
    assert (first["look"], first["split"], first["says"]) == ("averages", "validation", " rate")
    assert first["mean"] == pytest.approx(11, abs=0.1)
    table = study.looks_table(runs, {"all": MAP.columns}, overlap=1 / 3)
    assert table.loc[("all", "averages", "validation"), "50 labels"].endswith("rate")
    wild = runs_of([MAP, 100 - MAP, MAP * 0.2 + 60])
    assert set(study.looks(wild, {"all": MAP.columns}, overlap=1 / 3)["says"]) == {""}


def test_picked_takes_the_run_that_validation_prefers_and_averages_ties():
    tied = MAP.copy()
    tied.loc[9, 1e-3] = 80.0
    runs = runs_of([MAP, tied])
    runs.loc[(runs["seed"] == 1) & (runs["depth"] == 9), "accuracy"] = 50.0
    assert study.picked(runs) == pytest.approx([79.0, (79.0 + 50.0) / 2])


def test_picked_by_few_averages_over_the_draws():
    runs = runs_of([MAP])
    for draw in range(DRAWS):  # half of the draws prefer the best cell, half the worst
        runs[f"right_13_{draw:02d}"] = runs["accuracy"] if draw % 2 else -runs["accuracy"]
    assert study.picked_by_few(runs, 13) == pytest.approx([(79.0 + 59.0) / 2])


def test_cell_is_in_the_order_of_the_seeds():
    runs = runs_of([MAP, MAP + 1, MAP + 2]).sample(frac=1, random_state=0)
    assert study.cell(runs, 9, 1e-2).tolist() == [68.0, 69.0, 70.0]


def test_halves_are_halves_and_differ_by_seed():
    a, b = study.halves(3)
    assert sorted([*a, *b]) == list(range(10))
    assert study.halves(3)[0].tolist() == a.tolist() != study.halves(4)[0].tolist()


def test_six_stages_are_the_same_for_the_same_seed():
    one, same, other = (study.six_stages(seed).stages["stage3"][0].weight for seed in (1, 1, 2))
    assert one.equal(same)
    assert not one.equal(other)
    assert study.six_stages(1).depth == 6


def test_five_digits_are_numbered_in_the_order_given():
    some = study.five_digits("train", [7, 1, 3, 0, 9], 40, seed=2)
    everything = study.five_digits("train", [7, 1, 3, 0, 9])
    assert (len(some), some.classes) == (40, ("7", "1", "3", "0", "9"))
    assert set(some.labels.tolist()) <= set(range(5))
    assert len(everything) > 40
    assert np.isin(some.rows, everything.rows).all()
