"""`Plugin` and `Retention` in the common `fit`: where they act, what is stored, and that a killed run goes on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.small import small_model, stripes
from tl_helpers import cache, runtime
from tl_helpers.adaptation import DeepCORAL
from tl_helpers.data import without_labels
from tl_helpers.training import Plugin, Recipe, Retention, checkpoint, fit, loop

RECIPE = Recipe(epochs=2, batch_size=8, weight_decay=0.0)


class Diary(Plugin):
    """Writes down when it is called, and counts steps in a buffer."""

    def __init__(self, rehearsal=None, mask=None) -> None:
        super().__init__()
        self.rehearsal, self.mask, self.lines = rehearsal, mask, []
        self.register_buffer("steps", torch.zeros(1))

    def begin(self, model, train):
        self.lines.append("begin")

    def allowed(self, positions):
        return None if self.mask is None else self.mask[positions]

    def loss(self, step):
        self.lines.append(("loss", tuple(step.x.shape[:1]), step.logits.dtype))
        self.again = step.again_positions
        return None

    def adjust(self, step):
        self.lines.append("adjust")
        self.gradient = step.model.head[-1].weight.grad.clone()
        self.weights = step.model.head[-1].weight.detach().clone()

    def after(self, step):
        self.lines.append("after")
        self.moved = not torch.equal(self.weights, step.model.head[-1].weight)
        self.steps += 1


def test_a_plugin_acts_in_order_and_in_every_step():
    diary = Diary()
    fit(small_model(), stripes(24, seed=1), None, RECIPE, plugin=diary, fresh=True)
    assert diary.lines[0] == "begin"
    assert diary.lines[1:] == [("loss", (8,), torch.float32), "adjust", "after"] * 6
    assert diary.moved
    assert diary.gradient.abs().sum() > 0
    assert int(diary.steps) == 6


def test_on_the_cpu_accelerate_is_told_so_from_its_first_word(monkeypatch):
    """Its state is one for the whole process: asked without, it takes a GPU wherever there is one, and keeps it."""
    asked, real = [], loop.accelerate.PartialState
    monkeypatch.setattr(loop.accelerate, "PartialState", lambda **how: (asked.append(how), real(**how))[1])
    fit(small_model(), stripes(24, seed=1), None, RECIPE, plugin=Diary(), fresh=True)
    assert asked
    assert all(how == {"cpu": runtime.current().device.type == "cpu"} for how in asked)


def test_a_plugin_that_does_nothing_changes_nothing():
    plain, watched = small_model(), small_model()
    fit(plain, stripes(24, seed=1), None, RECIPE, fresh=True)
    fit(watched, stripes(24, seed=1), None, RECIPE, plugin=Diary(), fresh=True)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), watched.parameters(), strict=True))


def test_a_stored_run_brings_the_plugins_state_back():
    first, second = Diary(), Diary()
    fit(small_model(), stripes(24, seed=1), None, RECIPE, plugin=first)
    run = fit(small_model(), stripes(24, seed=1), None, RECIPE, plugin=second)
    assert run.reused
    assert int(second.steps) == 6
    assert second.lines == ["begin"]


def test_another_state_or_setting_is_another_run():
    one, other = Diary(), Diary()
    other.steps += 1
    train, model = stripes(24, seed=1), small_model()
    keys = {loop.run_key(model, train, None, RECIPE, 0, plugin=plugin) for plugin in (None, one, other)}
    assert len(keys) == 3
    keys.add(loop.run_key(model, train, None, RECIPE, 0, plugin=Diary(rehearsal=stripes(6, seed=3))))
    assert len(keys) == 4


def test_the_rehearsal_samples_come_round_in_every_step_and_evenly():
    diary, seen = Diary(rehearsal=stripes(12, seed=2)), []

    def note(record):
        seen.append(diary.again.numpy())

    fit(small_model(), stripes(24, seed=1), None, RECIPE, plugin=diary, fresh=True, on_step=note)
    counts = np.bincount(np.concatenate(seen), minlength=12)
    assert len(seen) == 6
    assert counts.min() == counts.max() == 3  # six steps of 8 and 4 out of 12


def test_answers_that_are_not_allowed_get_no_gradient():
    mask = torch.tensor([[True, True, False]]).repeat(24, 1)
    model = small_model(classes=3)
    before = model.head[-1].weight.detach().clone()
    samples = stripes(24, seed=1)
    samples = type(samples)(samples.name, samples.pixels, samples.labels, ("a", "b", "c"), samples.rows)
    fit(model, samples, None, RECIPE, plugin=Diary(mask=mask), fresh=True)
    after = model.head[-1].weight.detach()
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[:2], after[:2])


def test_refusals():
    train = stripes(24, seed=1)
    mask = torch.ones(24, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="label_smoothing"):
        fit(small_model(), train, None, Recipe(epochs=1, label_smoothing=0.1), plugin=Diary(mask=mask))
    with pytest.raises(ValueError, match="second batch"):
        fit(small_model(), train, None, RECIPE, plugin=Diary(), align=DeepCORAL(without_labels(train)))
    with pytest.raises(ValueError, match="same size"):
        fit(small_model(), train, None, RECIPE, plugin=Diary(rehearsal=stripes(8, size=32)))
    with pytest.raises(ValueError, match="no rehearsal samples"):
        fit(small_model(), train, None, RECIPE, plugin=Diary(rehearsal=stripes(8).take([])))
    with pytest.raises(ValueError, match="no samples of the source"):
        Retention(stripes(8).take([]), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="outputs"):
        Retention(stripes(8), nn.Linear(2, 2), classes=[0])


def test_retention_is_measured_at_powers_of_two_and_at_the_end_of_each_epoch():
    source, model = stripes(20, seed=5), small_model()
    fit(model, stripes(40, seed=4), None, Recipe(epochs=6, batch_size=8), fresh=True)
    head = copy.deepcopy(model.head)
    retention = Retention(source, head)
    before = retention.accuracy(model)
    train = stripes(48, seed=6)
    turned = type(train)(train.name, train.pixels, 1 - train.labels, train.classes, train.rows)
    recipe = Recipe(epochs=4, batch_size=8, lr=1e-2)
    run = fit(model, turned, None, recipe, retention=retention, fresh=True)
    assert [m["step"] for m in run.retention] == [0, 1, 2, 4, 6, 8, 12, 16, 18, 24]
    assert run.retention[0]["accuracy"] == before
    assert run.retention[-1] == {"step": 24, "epoch": 4.0, "accuracy": retention.accuracy(model)}
    assert model.training is False
    assert all(torch.equal(p, q) for p, q in zip(head.parameters(), retention.head.parameters(), strict=True))


def test_retention_is_stored_and_does_not_change_the_run():
    retention = Retention(stripes(20, seed=5), small_model(seed=3).head)
    plain, measured = small_model(), small_model()
    fit(plain, stripes(24, seed=1), None, RECIPE, fresh=True)
    first = fit(measured, stripes(24, seed=1), None, RECIPE, retention=retention)
    again = fit(small_model(), stripes(24, seed=1), None, RECIPE, retention=retention)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), measured.parameters(), strict=True))
    assert again.reused
    assert again.retention == first.retention


def test_retention_among_some_outputs():
    model = small_model()
    head = nn.Linear(model.backbone.dim, 10)
    samples = stripes(20, seed=5)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.arange(10.0))
    assert Retention(samples, head, classes=[7, 3]).accuracy(model) == pytest.approx(50)  # always says "7": class 0
    assert Retention(samples, head).accuracy(model) == 0  # output 9 wins, which is no label here


def test_a_killed_run_goes_on_with_its_plugin(monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    recipe = Recipe(epochs=4, batch_size=8)
    retention = Retention(stripes(20, seed=5), small_model(seed=3).head)
    train, whole = stripes(24, seed=1), small_model()
    expected = fit(whole, train, None, recipe, plugin=Diary(), retention=retention, fresh=True)

    def kill(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small_model(), train, None, recipe, plugin=Diary(), retention=retention, fresh=True, on_epoch=kill)
    cache.shared("runs").drop(expected.key)
    resumed, diary = small_model(), Diary()
    run = fit(resumed, train, None, recipe, plugin=diary, retention=retention)
    assert len([line for line in diary.lines if line == "after"]) < 12
    assert int(diary.steps) == 12
    assert run.retention == expected.retention
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))
