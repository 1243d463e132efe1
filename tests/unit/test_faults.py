"""Faults and checks: a healthy toy project passes, each broken one is noticed by the check that is made for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from tl_helpers import runtime
from tl_helpers.book.studies import faults
from tl_helpers.data import Samples
from tl_helpers.models.backbone import Backbone, Preprocessing


def small(*layers: torch.nn.Module) -> Backbone:
    """A backbone of one stage that is fed as EfficientNet-Lite0 is."""
    with runtime.RandomNumbers(0), torch.no_grad():
        stage = torch.nn.Sequential(*layers)
        for weights in stage.parameters():
            weights.uniform_(-0.3, 0.3)
        width = stage.eval()(torch.zeros(1, 3, 8, 8)).shape[1]
    return Backbone("small", {"stage": stage}, width, Preprocessing((0.5,) * 3, (0.5,) * 3, 32)).eval()


def toy(seed: int = 0) -> faults.Pipeline:
    """Bright and dark squares, and a small random network that sees them."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], 60)
    pixels = rng.integers(0, 60, size=(120, 1, 32, 32)) + 150 * labels[:, None, None, None]
    probability = labels.astype(float)
    samples = Samples(
        "toy/all",
        torch.as_tensor(pixels, dtype=torch.uint8),
        torch.as_tensor(labels),
        ("dark", "bright"),
        np.arange(120),
        {"probability": probability},
    )
    network = small(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    parts = samples.take(range(80)), samples.take(range(80, 120)), samples.take(range(20))
    return faults.Pipeline(network, network, *parts, seed=seed)


CHECKS = faults.CHECKS


@pytest.fixture(scope="module")
def healthy() -> faults.Pipeline:
    return toy()


QUIET = [
    "beats guessing",
    "inputs in the source's range",
    "one picture fed as published",
    "frozen weights",
    "frozen weights and statistics",
    "no picture on both sides",
    "two evaluations agree",
    "training ignores validation",
    "cells you have looked at",
]


@pytest.mark.parametrize("check", QUIET)
def test_no_alarm_without_a_fault(healthy, check):
    assert not CHECKS[check].caught(healthy)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("training labels inverted", "beats guessing"),
        ("training labels inverted", "cells you have looked at"),
        ("class names exchanged", "cells you have looked at"),
        ("head with three outputs", "fresh head: loss near ln 2"),
        ("head not in the optimiser", "learns 20 cells by heart"),
        ("copies in training", "no picture on both sides"),
        ("standardised by all cells", "training ignores validation"),
        ("validation cells turned at random", "two evaluations agree"),
    ],
)
def test_each_check_notices_its_fault(healthy, fault, check):
    assert CHECKS[check].caught(faults.FAULTS[fault](healthy))


def test_exchanged_everywhere_looks_healthy(healthy):
    broken = faults.names_exchanged(healthy)
    assert broken.score == healthy.score
    assert (broken.validation.labels == 1 - healthy.validation.labels).all()


def test_shuffled_labels_keep_their_number(healthy):
    broken = faults.shuffled(healthy)
    both = [torch.cat([p.train.labels, p.validation.labels]) for p in (healthy, broken)]
    assert both[0].sum() == both[1].sum()
    assert not torch.equal(*both)


def test_copies_have_other_row_numbers(healthy):
    broken = faults.copies(healthy)
    assert len(broken.train) == len(healthy.train)
    assert not np.isin(broken.train.rows, healthy.validation.rows).any()
    assert faults.seen_before(broken) == len({p.numpy().tobytes() for p in healthy.validation.inputs})


def test_moved_weights_and_moved_statistics():
    project = toy()
    network = small(torch.nn.BatchNorm2d(3))
    project = dataclasses.replace(project, backbone=network, published=network)
    drifted = faults.norm_drifts(project)
    assert faults.weights_moved(drifted) == 0
    assert faults.tensors_moved(drifted) > 0
    assert faults.tensors_moved(project) == 0  # the one that was handed in stays as it was


def test_table_limits_and_picture(healthy):
    some = {name: faults.FAULTS[name] for name in ("no fault", "class names exchanged")}
    checks = {name: CHECKS[name] for name in ("beats guessing", "cells you have looked at")}
    found = faults.table([healthy], some, checks)
    assert found["caught"].tolist() == [False, False, False, True]
    assert set(found["seed"]) == {0}
    ax = faults.draw(found)
    assert [text.get_text() for text in ax.texts] == ["·", "·", "·", "×"]
    assert isinstance(faults.limits(), pd.DataFrame)
    assert faults.limits().loc["learns 20 cells by heart", "fine"] == "at most 0.1"
    assert faults.limits().loc["beats guessing", "fine"] == "at least 60 %"
