"""What a Recipe can ask for does what it says: schedules, unfreezing, regularisation, weights; and the range test."""

import copy
import dataclasses
import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_helpers import freezing, ledger, training
from tl_helpers.training import Method, Recipe, Watcher, fit, inputs, line_at, range_test, rate_at
from tl_helpers.training.range_test import _read

from .small import small_model, stripes

TRAIN = stripes(48)
SURE = dataclasses.replace(TRAIN, extra={"probability": np.where(np.arange(48) % 3, TRAIN.labels.numpy(), 0.5)})
SHORT = Recipe(epochs=2, lr=3e-3, batch_size=16)


def trained(recipe, *, train=TRAIN, seed=0, model=None):
    model = model or small_model()
    run = fit(model, train, None, recipe, seed=seed, fresh=True)
    return model, run


@pytest.mark.parametrize("warmup", [0.1, 0.3, 0.5])
def test_one_cycle_equals_torchs(warmup):
    steps = 50
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    recipe = Recipe(schedule="one_cycle", warmup=warmup)
    for step in range(steps):
        assert rate_at(step, steps, recipe) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        scheduler.step() if step + 1 < steps else None


@settings(max_examples=100, deadline=None)
@given(
    steps=st.integers(1, 300),
    warmup=st.floats(0, 0.99),
    schedule=st.sampled_from(["constant", "cosine", "step", "one_cycle"]),
)
def test_rates_are_shares_of_the_peak(steps, warmup, schedule):
    rates = [rate_at(step, steps, Recipe(schedule=schedule, warmup=warmup)) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


@settings(max_examples=100, deadline=None)
@given(
    depth=st.integers(1, 12), target=st.integers(0, 12), step=st.integers(1, 5),
    unfreeze=st.sampled_from(["at_once", "head_first", "gradual"]),
)  # fmt: skip
def test_the_line_falls_to_its_place_and_stays(depth, target, step, unfreeze):
    recipe = Recipe(freeze_depth=min(target, depth), unfreeze=unfreeze, unfreeze_step=step)
    lines = [line_at(epoch, depth, recipe) for epoch in range(20)]
    assert lines == sorted(lines, reverse=True)
    assert lines[-1] == recipe.freeze_depth
    if unfreeze != "at_once":
        assert lines[0] == depth
    if unfreeze == "gradual":
        assert all(one - other <= step for one, other in itertools.pairwise(lines))


def test_frozen_statistics_stay_and_weights_learn():
    before = small_model().state_dict()
    model, _ = trained(dataclasses.replace(SHORT, batch_norm="frozen"))
    after = model.state_dict()
    for name in before:
        frozen = "running" in name or "num_batches" in name
        assert torch.equal(before[name], after[name]) == frozen, name
    name = "backbone.stages.conv1.1.running_mean"
    assert not torch.equal(before[name], trained(SHORT)[0].state_dict()[name])


def test_class_weights_equal_torchs():
    few = TRAIN.take(np.r_[np.arange(0, 48, 2), np.arange(1, 9, 2)])
    weights = inputs.weights_of(few, "class")
    counts = torch.bincount(few.labels).float()
    logits = torch.randn(len(few), 2, generator=torch.Generator().manual_seed(0))
    each = torch.nn.functional.cross_entropy(logits, few.labels, reduction="none")
    want = torch.nn.functional.cross_entropy(logits, few.labels, weight=1 / counts)
    assert float((each * weights).sum() / weights.sum()) == pytest.approx(float(want), abs=1e-6)
    totals = [float(weights[few.labels == c].sum()) for c in (0, 1)]
    assert totals[0] == pytest.approx(totals[1])


def test_soft_labels_and_confidence_by_hand():
    targets = inputs.targets_of(SURE, "soft")
    assert targets[0].tolist() == [0.5, 0.5]
    assert targets[1].tolist() == [1 - TRAIN.labels[1], TRAIN.labels[1]]
    weights = inputs.weights_of(SURE, "confidence")
    assert weights[0] == 0
    assert float(weights.mean()) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"labels": "soft"}, {"weights": "confidence"}, {"weights": "class"}, {"batch_norm": "frozen"},
        {"unfreeze": "gradual"}, {"unfreeze": "head_first"}, {"schedule": "one_cycle"}, {"augment": "crops"},
        {"label_smoothing": 0.2},
    ],
)  # fmt: skip
def test_each_change_changes_the_run_and_repeats(change):
    train = SURE if change.get("weights") != "class" else SURE.take(np.r_[0:48:2, 1:9:2])
    recipe = dataclasses.replace(SHORT, epochs=3, **change)
    runs = [trained(r, train=train)[1] for r in (recipe, recipe, dataclasses.replace(SHORT, epochs=3))]
    losses = [[epoch["train_loss"] for epoch in run.history] for run in runs]
    assert losses[0] == losses[1] != losses[2]
    assert runs[0].key == runs[1].key != runs[2].key


def test_crops_repeat_differ_and_stay_inside():
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(40, 200, size=(6, 3, 20, 28), dtype=np.uint8))
    seeds = inputs.turns_of(6, "crops", seed=1, epoch=0)
    found = inputs.crops_of(pixels, seeds)
    assert found.shape == pixels.shape
    assert found.dtype is torch.uint8
    assert torch.equal(found, inputs.crops_of(pixels, seeds))
    assert torch.equal(found[2:3], inputs.crops_of(pixels[2:3], seeds[2:3]))  # whatever it is cropped together with
    assert all(not torch.equal(one, other) for one, other in zip(found, pixels, strict=True))
    assert not torch.equal(seeds, inputs.turns_of(6, "crops", seed=1, epoch=1))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_a_crop_shows_35_to_100_percent_of_the_image_in_a_ratio_of_3_to_4(seed):
    """Seen by its scale: an image whose values are its coordinates becomes one whose values run more slowly."""
    size = 64
    rows = (torch.arange(size) * 3).to(torch.uint8)
    ramps = torch.stack([rows[:, None].expand(size, size), rows[None].expand(size, size)])[None]
    down, across = inputs.crops_of(ramps, torch.tensor([seed]))[0].float()
    height = float(down[-1].mean() - down[0].mean()) / 3 + 1
    width = abs(float(across[:, -1].mean() - across[:, 0].mean())) / 3 + 1
    assert 0.3 < height * width / size**2 <= 1.02
    assert 0.7 < width / height < 1.43


def test_the_key_follows_the_probabilities_only_where_they_count():
    other = dataclasses.replace(SURE, extra={"probability": SURE.extra["probability"] * 0.9})
    for recipe, differs in ((SHORT, False), (dataclasses.replace(SHORT, labels="soft"), True)):
        keys = {training.run_key(small_model(), samples, None, recipe) for samples in (SURE, other)}
        assert (len(keys) == 2) == differs


@pytest.mark.parametrize(
    ("recipe", "train", "says"),
    [
        ({"labels": "soft"}, TRAIN, "column 'probability'"),
        ({"weights": "confidence"}, TRAIN, "column 'probability'"),
        ({"weights": "confidence"}, dataclasses.replace(TRAIN, extra={"probability": np.full(48, 0.5)}), "one half"),
        ({"labels": "soft"}, dataclasses.replace(TRAIN, extra={"probability": np.full(48, np.nan)}), "NaN"),
        ({"labels": "soft"}, dataclasses.replace(TRAIN, extra={"probability": np.full(48, 2.0)}), "between 0 and 1"),
        ({"augment": "flips"}, dataclasses.replace(TRAIN, inputs=TRAIN.inputs[..., :20]), "square"),
    ],
)
def test_recipes_that_do_not_fit_the_data(recipe, train, says):
    with pytest.raises(ValueError, match=says):
        fit(small_model(), train, None, dataclasses.replace(SHORT, **recipe))


@pytest.mark.parametrize(
    ("field", "value"), [("unfreeze", "slow"), ("unfreeze_step", 0), ("labels", "noisy"),
                         ("weights", "all"), ("batch_norm", "off")]
)  # fmt: skip
def test_recipes_that_cannot_be(field, value):
    with pytest.raises(ValueError, match=f"Recipe: {field}"):
        Recipe(**{field: value})
    if field == "batch_norm":
        with pytest.raises(ValueError, match="batch_norm"):
            freezing.freeze(small_model(), 0, batch_norm=value)


def test_stopped_within_a_step(own_cache):
    seen = []

    def stop(record):
        seen.append(record)
        return record["step"] < 2

    run = fit(small_model(), TRAIN, stripes(16, seed=1), SHORT, watch=Watcher(each_step=stop))
    assert [record["step"] for record in seen] == [1, 2]
    assert seen[0]["steps"] == 6
    assert seen[0]["loss"] > 0
    assert run.history == []
    assert not list((own_cache / "runs").glob("*.safetensors"))
    assert ledger.default().records("run") == []
    assert len(ledger.default().records("stopped run")) == 1


# ---- range test ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_range_test_finds_a_rate_that_learns_and_leaves_the_model_alone():
    model = small_model()
    before = copy.deepcopy(model.state_dict())
    random = torch.random.get_rng_state()
    found = range_test(model, TRAIN, SHORT, low=1e-6, high=10, steps=60)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert found.suggestion is not None
    assert 1e-4 < found.suggestion < 1
    assert list(found.rates) == sorted(found.rates)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 60
    again = range_test(model, TRAIN, SHORT, low=1e-6, high=10, steps=60)
    assert again == found
    _, run = trained(dataclasses.replace(SHORT, lr=found.suggestion, epochs=6))
    assert run.history[-1]["train_loss"] < 0.7 * found.losses[0]
    assert random.shape == torch.random.get_rng_state().shape


def test_range_test_is_told_how_far_it_is_and_computes_as_a_run_does(monkeypatch):
    shown = []

    class Shown(Method):
        def task_loss(self, step):
            shown.append(step.progress)
            return super().task_loss(step)

    monkeypatch.setattr(importlib.import_module("tl_helpers.training.range_test"), "Method", Shown)
    torch.use_deterministic_algorithms(False)
    range_test(small_model(), TRAIN, SHORT, steps=12, high=1e-3)
    assert torch.are_deterministic_algorithms_enabled()
    assert shown == [step / 12 for step in range(12)]


def test_range_test_says_when_the_range_is_too_high_too_low_or_flat():
    too_high = range_test(small_model(), TRAIN, SHORT, low=50, high=1e5, steps=20)
    assert too_high.suggestion is None
    assert "too high" in too_high.note or "never fell" in too_high.note
    too_low = range_test(small_model(), TRAIN, SHORT, low=1e-9, high=1e-8, steps=20)
    assert too_low.suggestion is None
    assert "never fell" in too_low.note


def test_reading_a_curve_by_hand():
    rates = np.geomspace(1e-5, 1, 41)
    falls_then_rises = [1 - 0.5 * math.exp(-(((math.log10(r) + 2) / 0.8) ** 2)) for r in rates]
    found = _read(rates, falls_then_rises)
    assert 1e-3 <= found.suggestion < 1e-2  # the minimum is at 1e-2; the average lags behind it
    still_falling = _read(rates, list(np.linspace(1, 0.2, 41)))
    assert "lower bound" in still_falling.note
    assert _read(rates[:5], [1, 1, 2, 9, math.nan]).suggestion is None


@pytest.mark.parametrize(("change", "says"), [({"low": 1.0, "high": 0.1}, "low"), ({"steps": 3}, "10 or more")])
def test_range_tests_that_cannot_be(change, says):
    with pytest.raises(ValueError, match=says):
        range_test(small_model(), TRAIN, SHORT, **change)
