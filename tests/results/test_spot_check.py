"""Recorded results are what the code gives: some cheap cells of each study are computed again.

They must come closer to what was recorded of their setting than to any other setting's results, so that a study that runs
with a wrong setting is found out, and not only one that is far off.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from tl_helpers import runtime
from tl_helpers.book import results
from tl_helpers.book.results import Study
from tl_helpers.book.studies.catalogue import STUDIES

SLOWEST = 45.0  # seconds of all cells of a check, as recorded
MOST_SEEDS = 3


@pytest.fixture(autouse=True)
def common_store(tmp_path_factory, monkeypatch):
    """A cold store for all studies and all workers together: features that one study has computed are there for another."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    monkeypatch.setenv("TL_CACHE", str(base / "spot-checks"))
    runtime.current.cache_clear()
    yield
    runtime.current.cache_clear()


@dataclass
class Check:
    """Cells of one setting, and how far the nearest other setting is.

    Attributes
    ----------
    recorded : pandas.DataFrame
        The chosen rows: one setting, some seeds.
    rival : pandas.DataFrame
        Those of the nearest other setting, for the same seeds in the same order.
    scale : pandas.Series
        Of each metric: the spread over the seeds, or a thousandth of its size where there is none.
    apart : float
        Mean distance between the two.
    """

    recorded: pd.DataFrame
    rival: pd.DataFrame
    scale: pd.Series
    apart: float

    def distance(self, found: pd.DataFrame) -> float:
        """Mean over cells and metrics, in units of the spread over seeds."""
        metrics = self.scale.index
        return float(
            apart(self.recorded[metrics].to_numpy(float), found[metrics].to_numpy(float), self.scale.to_numpy())
        )

    def holds(self, found: pd.DataFrame) -> bool:
        """Whether it is this setting that was computed: closer than half way to any other."""
        return self.distance(found) < self.apart / 2


def apart(one: np.ndarray, others: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean distance of metrics, (cells, metrics), from one or more such tables; a metric that both lack does not count."""
    gap = np.abs(one - others) / scale
    lacking = np.isnan(one) & np.isnan(others)
    gap = np.where(np.isnan(gap) & ~lacking, np.inf, gap)
    return np.nanmean(gap, axis=(-2, -1))


def check_of(study: Study) -> Check:
    """The same each time: among the settings that are farthest from all others, one drawn by a seed."""
    frame = results.load(study.name)
    settings = [name for name in study.grid if name != "seed"]
    metrics = [
        name
        for name in frame.columns
        if name not in study.grid and not name.endswith("seconds") and pd.api.types.is_numeric_dtype(frame[name])
    ]
    spread = frame.groupby(settings)[metrics].std(ddof=1).median().fillna(0)
    scale = np.maximum(spread, 1e-3 * np.maximum(1, frame[metrics].abs().median().fillna(0)))
    groups = [group.sort_values("seed").set_index("seed", drop=False) for _, group in frame.groupby(settings)]
    found = []
    for group in groups:
        cheap = group[group["seconds"].cumsum() < SLOWEST].head(MOST_SEEDS)
        others = [other for other in groups if other is not group and cheap.index.isin(other.index).all()]
        if len(cheap) and others:
            rows = np.stack([other.loc[cheap.index, metrics].to_numpy(float) for other in others])
            distances = apart(cheap[metrics].to_numpy(float), rows, scale.to_numpy())
            nearest = int(distances.argmin())
            found.append(Check(cheap, others[nearest].loc[cheap.index], scale, float(distances[nearest])))
    assert found, f"no setting of {study.name} has cells of {SLOWEST:.0f} s: give the study one that a test can compute"
    found.sort(key=lambda check: -check.apart)
    return found[int(np.random.default_rng(2026).integers(max(1, len(found) // 4)))]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_recorded_and_fits_its_grid(name):
    study, frame = STUDIES[name], results.load(name)
    found = results.recorded(study)
    assert 0 < len(found) == len(frame) == results.facts(name)["cells_done"] <= len(study.cells())
    scores = frame[[column for column in frame.columns if "accuracy" in column]]
    assert scores.notna().any(axis=1).all()  # a cell may lack a metric (some parts never read the test split), not all
    assert scores.stack().dropna().between(0, 100).all()


@pytest.mark.parametrize("name", STUDIES)
def test_a_check_finds_out_a_wrong_setting(name):
    """What was recorded of the nearest other setting is refused; a run that differs by rounding is not."""
    check = check_of(STUDIES[name])
    assert check.holds(check.recorded)
    assert not check.holds(check.rival)
    rounded = check.recorded.copy()
    rounded[check.scale.index] += 0.2 * check.scale * min(1, check.apart)
    assert check.holds(rounded)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_cells_of_one_setting_give_what_was_recorded(name):
    study = STUDIES[name]
    check = check_of(study)
    cells = [
        {column: study.read(column, str(row[column])) for column in study.grid} for _, row in check.recorded.iterrows()
    ]
    with runtime.exact():  # recorded in float32
        found = pd.DataFrame([study.cell(**cell) for cell in cells])
    said = f"{cells}: {check.distance(found):.2f} from what was recorded, the nearest setting is {check.apart:.2f} away"
    print(said)
    assert check.holds(found), said
