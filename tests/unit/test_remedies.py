"""The study of fine-tuning's remedies: what is chosen, and how the table of verdicts is made (chapter 4)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tl_helpers.book import results
from tl_helpers.book.studies import fine_tuning as study
from tl_helpers.book.studies import remedies
from tl_helpers.training import Recipe

SEEDS = range(6)


@pytest.fixture
def recorded(monkeypatch):
    """A record in which one remedy is better, one worse, one the same but for noise, at 50 and 300 labels."""
    noise = np.random.default_rng(0).normal(size=(4, len(SEEDS)))
    gains = {"plain, 0.001": 0.0, "L2-SP, 0.001": 10.0, "from scratch, 0.003": -10.0, "soft labels, 0.001": 0.0}
    rows = [
        {"arm": arm, "labels": labels, "seed": seed, "accuracy": 70 + gain + noise[number, seed]}
        for number, (arm, gain) in enumerate(gains.items())
        for labels in study.STRATEGY_EPOCHS
        for seed in reversed(SEEDS)
    ]
    monkeypatch.setattr(results, "load", lambda name: pd.DataFrame(rows))


PEAKS = {"plain": 1e-3, "L2-SP": 1e-3, "from scratch": 3e-3, "soft labels": 1e-3}


def test_verdicts_are_corrected_over_the_whole_table(recorded):
    table = study.verdicts(PEAKS, overlap=0.0)
    assert len(table) == 6
    for labels in study.STRATEGY_EPOCHS:
        assert table.loc[labels]["verdict"].to_dict() == {
            "L2-SP": "better",
            "from scratch": "worse",
            "soft labels": "cannot tell",
        }
    assert (table["low"] < table["difference"]).all()
    assert (table["difference"] < table["high"]).all()


def test_overlapping_splits_say_less(recorded):
    alone, overlapping = (study.verdicts(PEAKS, overlap=overlap) for overlap in (0.0, 1 / 3))
    assert (overlapping["high"] - overlapping["low"] > alone["high"] - alone["low"]).all()
    assert (overlapping["p"] >= alone["p"]).all()


def test_accuracies_come_in_the_order_of_the_seeds(recorded):
    first, last = (study.accuracies("plain", 50, 1e-3)[place] for place in (0, -1))
    frame = results.load("remedies").query("arm == 'plain, 0.001' and labels == 50").set_index("seed")["accuracy"]
    assert (first, last) == (frame[0], frame[5])
    with pytest.raises(KeyError):
        study.accuracies("plain", 50, 1e-2)


def test_the_best_peak_on_validation_is_compared():
    """What the chapter compares is what validation chose, and no choice lies at the edge of the grid."""
    chosen = study.validated_peaks()["peak"]
    assert {f"{remedy}, {peak:g}" for remedy, peak in chosen.items()} <= set(study.ARMS)
    assert not {*chosen} & {study.PEAKS[0], study.PEAKS[-1]}


def test_every_arm_names_a_remedy_and_a_rate():
    for arm in (*study.ARMS, *study.SHIFT_ARMS[2:]):
        remedy, rate = arm.rsplit(", ", 1)
        assert remedy in remedies.REMEDIES
        assert float(rate) in study.PEAKS
    for changes in remedies.REMEDIES.values():
        Recipe(**changes)
