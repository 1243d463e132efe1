"""Recorded results are what the code gives: one cheap cell of each study, chosen by a seed, is computed again."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tl_helpers import runtime
from tl_helpers.book import results
from tl_helpers.book.studies.catalogue import STUDIES

SLOWEST = 60.0  # seconds, as recorded; dearer cells are not drawn
AT_LEAST = 3.0  # points: what another processor's rounding may do to a run


@pytest.fixture(autouse=True)
def common_store(tmp_path_factory, monkeypatch):
    """A cold store for all studies and all workers together: features that one study has computed are there for another."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    monkeypatch.setenv("TL_CACHE", str(base / "spot-checks"))
    runtime.current.cache_clear()
    yield
    runtime.current.cache_clear()


SCORES = ("validation_accuracy", "accuracy", "oracle_accuracy", "fine_tuned_accuracy")


def score_of(row) -> float:
    return next(row[name] for name in SCORES if name in row)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_recorded_and_fits_its_grid(name):
    study, frame = STUDIES[name], results.load(name)
    found = results.recorded(study)
    assert 0 < len(found) == len(frame) == results.facts(name)["cells_done"] <= len(study.cells())
    scores = frame[[column for column in frame.columns if "accuracy" in column]]
    assert scores.notna().any(axis=1).all()  # a cell may lack a metric (some parts never read the test split), not all
    assert scores.stack().dropna().between(0, 100).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_sampled_cell_gives_what_was_recorded(name):
    study = STUDIES[name]
    found = results.recorded(study)
    cheap = sorted(found, key=lambda key: found[key]["seconds"])
    cheap = [key for key in cheap[: max(1, len(cheap) // 4)] if found[key]["seconds"] < SLOWEST]
    assert cheap, f"every cell of {name} takes more than {SLOWEST:.0f} s: give the study one that a test can compute"
    key = cheap[int(np.random.default_rng(2026).integers(len(cheap)))]
    cell = dict(zip(study.grid, key, strict=True))
    same = [
        score_of(metrics)
        for other, metrics in found.items()
        if all(a == b for column, a, b in zip(study.grid, key, other, strict=True) if column != "seed")
    ]
    spread = float(np.std(same, ddof=1)) if len(same) > 1 else 0.0
    with runtime.exact():  # recorded in float32
        again = study.cell(**cell)
    assert score_of(again) == pytest.approx(score_of(found[key]), abs=max(3 * spread, AT_LEAST)), cell
