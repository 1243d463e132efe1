"""Recorded results are what the code gives: some cheap cells of each study are computed again.

They must come closer to what was recorded of their setting than to any other setting's results, so that a study that runs
with a wrong setting is found out, and not only one that is far off.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from tl_helpers import runtime
from tl_helpers.book import results
from tl_helpers.book.studies.catalogue import STUDIES

SLOWEST = 45.0  # seconds of all cells of a check, as recorded
MOST_SEEDS = 2
FAR = 10.0  # scales
ROUNDING = 0.75  # scales: so far apart two machines may end
STEADY = 2.0  # times the usual spread over the seeds; a setting with more, as at a rate that is too high, ends anywhere
UNKNOWN = 0.1  # times the spread over all settings: stands for that over the seeds where each setting has one seed


@pytest.fixture(autouse=True)
def common_store(tmp_path_factory, monkeypatch):
    """A cold store for all studies and all workers together: features that one study has computed are there for another."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    monkeypatch.setenv("TL_CACHE", str(base / "spot-checks"))
    runtime.current.cache_clear()
    yield
    runtime.current.cache_clear()


@dataclass(frozen=True)
class Check:
    """Cells of one setting, and how far the nearest other setting is.

    Attributes
    ----------
    recorded : pandas.DataFrame
        The chosen rows: one setting, some seeds.
    rival : numpy.ndarray, shape (seeds, metrics)
        What the nearest other setting gave with the same seeds.
    scale : pandas.Series
        Of each metric: its spread over the seeds, here or usually (see `UNKNOWN`), or a hundredth of its size, whichever
        is most.
    apart : float
        Distance between the two.
    """

    recorded: pd.DataFrame
    rival: np.ndarray
    scale: pd.Series
    apart: float

    def distance(self, found: np.ndarray) -> float:
        """How far metrics, (seeds, metrics), are from what was recorded."""
        return float(distance(self.recorded[self.scale.index].to_numpy(float), found, self.scale.to_numpy()))

    def holds(self, found: np.ndarray) -> bool:
        """Whether it is this setting that was computed: closer than half way to any other.

        Where another is so close that one machine's rounding may be half the way, most of the way will do.
        """
        return self.distance(found) < max(self.apart / 2, min(ROUNDING, 0.8 * self.apart))


def distance(one: np.ndarray, others: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean over seeds and metrics, the last two axes, of how many scales lie between one and others.

    At most ``FAR`` each, so that no single metric decides; so far, too, is a metric that only one of the two has.
    """
    gap = np.minimum(np.abs(one - others) / scale, FAR)
    lacking = np.isnan(one) & np.isnan(others)
    return np.nanmean(np.where(np.isnan(gap) & ~lacking, FAR, gap), axis=(-2, -1))


@functools.cache
def check_of(name: str) -> Check:
    """Of the settings that have cheap cells, the one that is farthest from all others: the same each time.

    Far by its own spread over the seeds, which is not much more than usual where there is a choice.
    """
    study, frame = STUDIES[name], results.load(name)
    settings = [column for column in study.grid if column != "seed"]
    numbers = frame.select_dtypes("number").columns
    metrics = [column for column in numbers if column not in study.grid and not column.endswith("seconds")]
    spreads = frame.groupby(settings)[metrics].std(ddof=1)
    wild = (spreads / spreads.median()).replace(np.inf, np.nan).mean(axis=1) > STEADY
    usual = spreads.median().fillna(UNKNOWN * frame[metrics].std())
    least = np.fmax(usual, 0.01 * np.fmax(1, frame[metrics].abs().median()))
    rows = frame.set_index([*settings, "seed"]).unstack("seed")
    seeds = rows["seconds"].shape[1]
    values = rows[metrics].to_numpy(float).reshape(len(rows), len(metrics), seeds).swapaxes(1, 2)
    cheap_cells = [np.flatnonzero(np.cumsum(each) < SLOWEST)[:MOST_SEEDS] for each in rows["seconds"].to_numpy()]
    usable = [number for number, cheap in enumerate(cheap_cells) if len(cheap)]
    if not usable:  # recorded on a slow or busy machine: its quickest cell must do
        quickest = rows["seconds"].stack().idxmin()
        usable = [rows.index.get_loc(quickest[:-1])]
        cheap_cells[usable[0]] = np.array([rows["seconds"].columns.get_loc(quickest[-1])])
    steady = [number for number in usable if not wild.loc[rows.index[number]]]
    best = Check(frame, np.empty(0), least, -1)
    for number in steady or usable:
        cheap = cheap_cells[number]
        scale = np.fmax(least, spreads.loc[rows.index[number]])
        apart = distance(values[number, cheap], values[:, cheap], scale.to_numpy())
        apart[number] = np.inf
        nearest = int(apart.argmin())
        if apart[nearest] > best.apart:
            chosen = frame.set_index(settings).loc[[rows.index[number]]].reset_index().sort_values("seed")
            chosen = chosen[chosen["seed"].isin(rows["seconds"].columns[cheap])]
            best = Check(chosen, values[nearest, cheap], scale, float(apart[nearest]))
    assert best.apart > 0, (
        f"no setting of {name} has cells of {SLOWEST:.0f} s: give the study one that a test can compute"
    )
    return best


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_recorded_and_fits_its_grid(name):
    study, frame = STUDIES[name], results.load(name)
    found = results.recorded(study)
    assert 0 < len(found) == len(frame) == results.facts(name)["cells_done"] <= len(study.cells())
    numbers = [column for column in frame.select_dtypes("number") if column not in study.grid]
    named = [column for column in numbers if "accuracy" in column]
    scores = frame[named or [column for column in numbers if not column.endswith("seconds")]]
    assert scores.notna().any(axis=1).all()  # a cell may lack a metric (some parts never read the test split), not all
    assert scores.stack().dropna().between(0, 100).all()


@pytest.mark.parametrize("name", STUDIES)
def test_a_check_finds_out_a_wrong_setting(name):
    """What was recorded of the nearest other setting is refused; a run that differs by rounding is not."""
    check = check_of(name)
    recorded, scale = check.recorded[check.scale.index].to_numpy(float), check.scale.to_numpy()
    assert check.holds(recorded)
    assert not check.holds(check.rival)
    assert check.holds(recorded + 0.2 * scale * min(1, check.apart))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_cells_of_one_setting_give_what_was_recorded(name, monkeypatch):
    """With the engine that it was recorded with: training makes much of the last digit."""
    study, check = STUDIES[name], check_of(name)
    engine = results.facts(name)["machine"].get("frozen stages", "torch")  # earlier records did not say
    monkeypatch.setenv("TL_ENGINE", engine.split()[0])
    runtime.current.cache_clear()
    cells = [
        {column: study.read(column, str(row[column])) for column in study.grid} for _, row in check.recorded.iterrows()
    ]
    with runtime.exact():  # recorded in float32
        found = pd.DataFrame([study.cell(**cell) for cell in cells])
    found = found.reindex(columns=check.scale.index).to_numpy(float)
    said = f"{cells}: {check.distance(found):.2f} from what was recorded, the nearest setting is {check.apart:.2f} away"
    print(said)
    assert check.holds(found), said
