"""Adaptation methods on the common `fit`: each does what its paper says, and none sees a target label."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.small import small_model, stripes
from tl_helpers import store
from tl_helpers.adaptation import CDAN, DAN, DANN, Alignment, DeepCORAL, SelfTraining, methods
from tl_helpers.data import Unlabelled, without_labels
from tl_helpers.training import Recipe, Watcher, fit

DIM = 16
RECIPE = Recipe(epochs=2, batch_size=8)
METHODS = {
    "DeepCORAL": lambda target: DeepCORAL(target, 1.0),
    "DAN": lambda target: DAN(target, 1.0),
    "DANN": lambda target: DANN(target, 1.0, dim=small_model().backbone.dim),
    "CDAN": lambda target: CDAN(target, 1.0, dim=small_model().backbone.dim),
    "SelfTraining": lambda target: SelfTraining(target, 1.0, threshold=0.5),
}


@pytest.fixture(scope="module")
def target():
    return without_labels(stripes(24, seed=7))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_its_facts_are_recorded(name, target):
    plain, aligned = small_model(), small_model()
    fit(plain, stripes(24, seed=1), None, RECIPE)
    run = fit(aligned, stripes(24, seed=1), None, RECIPE, method=METHODS[name](target))
    assert run.config["method"]["method"] == name
    assert all(np.isfinite(record["alignment_loss"]) for record in run.history)
    assert any(not torch.equal(p, q) for p, q in zip(plain.parameters(), aligned.parameters(), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_numbers_and_the_store_knows_the_run(name, target):
    first, second, third = small_model(), small_model(), small_model()
    one = fit(first, stripes(24, seed=1), None, RECIPE, method=METHODS[name](target), fresh=True)
    other = fit(second, stripes(24, seed=1), None, RECIPE, method=METHODS[name](target), fresh=True)
    again = fit(third, stripes(24, seed=1), None, RECIPE, method=METHODS[name](target), fresh=False)
    assert one.key == other.key == again.key
    assert again.reused
    for p, q, r in zip(first.parameters(), second.parameters(), third.parameters(), strict=True):
        assert torch.equal(p, q)
        assert torch.equal(p, r)


def test_settings_and_target_are_part_of_a_runs_name(target):
    other = without_labels(stripes(24, seed=8))
    ways = [
        None,
        DAN(target, 1.0),
        DAN(target, 2.0),
        DAN(other, 1.0),
        DeepCORAL(target),
    ]
    keys = [fit(small_model(), stripes(24, seed=1), None, RECIPE, method=alignment).key for alignment in ways]
    assert len(set(keys)) == len(ways)


def test_strength_zero_is_training_without_a_target(target):
    """Each domain goes through batch norm on its own, so the target leaves no trace in the weights: only in statistics."""
    plain, aligned = small_model(), small_model()
    fit(plain, stripes(24, seed=1), None, RECIPE)
    fit(aligned, stripes(24, seed=1), None, RECIPE, method=DAN(target, 0.0))
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), aligned.parameters(), strict=True))
    one, other = (model.backbone.stages["conv1"][1].running_mean for model in (plain, aligned))
    assert not torch.equal(one, other)


def test_what_is_below_the_line_stays_bit_identical(target):
    model = small_model()
    before = copy.deepcopy(model.backbone.stages["conv1"].state_dict())
    fit(
        model, stripes(24, seed=1), None, Recipe(epochs=2, batch_size=8, freeze_depth=1), method=METHODS["DANN"](target)
    )
    after = model.backbone.stages["conv1"].state_dict()
    assert before
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_killed_run_goes_on_with_its_discriminator(target, monkeypatch):
    from tl_helpers.training import checkpoint

    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    recipe = Recipe(epochs=3, batch_size=8)
    whole = small_model()
    alignment = METHODS["DANN"](target)
    done = fit(whole, stripes(24, seed=1), None, recipe, method=alignment, fresh=True)

    def kill(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    killed = small_model()
    with pytest.raises(KeyboardInterrupt):
        fit(
            killed,
            stripes(24, seed=1),
            None,
            recipe,
            method=METHODS["DANN"](target),
            fresh=True,
            watch=Watcher(each_epoch=kill),
        )
    store.shared("runs").drop(done.key)
    epochs, resumed, second = [], small_model(), METHODS["DANN"](target)
    run = fit(
        resumed,
        stripes(24, seed=1),
        None,
        recipe,
        method=second,
        watch=Watcher(each_epoch=lambda r: epochs.append(r["epoch"])),
    )
    assert epochs == [3]  # it went on, and did not begin again
    assert [record["epoch"] for record in run.history] == [1, 2, 3]
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert all(torch.equal(p, q) for p, q in zip(alignment.parameters(), second.parameters(), strict=True))


def test_reversal_turns_the_features_gradient_and_not_the_discriminators():
    target = without_labels(stripes(8, seed=2))
    alignment = DANN(target, 0.5, dim=DIM)
    plain = copy.deepcopy(alignment.discriminator)
    features = torch.randn(12, DIM, generator=torch.Generator().manual_seed(0), requires_grad=True)
    alignment.weighted(features, torch.zeros(12, 2), 6, progress=0.4).backward()

    x = features.detach().clone().requires_grad_()
    domain = torch.tensor([1.0] * 6 + [0.0] * 6)
    nn.functional.binary_cross_entropy_with_logits(plain(x)[:, 0], domain).backward()
    growth = 2 / (1 + np.exp(-10 * 0.4)) - 1
    assert torch.allclose(features.grad, -0.5 * growth * x.grad, atol=1e-7)
    for ours, theirs in zip(alignment.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_cdan_conditions_on_the_classifier_without_training_it_through_that():
    target = without_labels(stripes(8, seed=2))
    alignment = CDAN(target, 1.0, dim=DIM)
    logits = torch.randn(12, 2, requires_grad=True)
    alignment.weighted(torch.randn(12, DIM, requires_grad=True), logits, 6, progress=0.5).backward()
    assert logits.grad is None
    assert alignment.discriminator[0].in_features == DIM * 2


def test_self_training_believes_only_the_confident():
    target = without_labels(stripes(8, seed=2))
    alignment = SelfTraining(target, 2.0, threshold=0.9)
    logits = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 1.0], [0.0, 4.0]], requires_grad=True)  # 1 source, 3 target
    found = alignment.weighted(torch.zeros(4, DIM), logits, 1, progress=0.6)
    each = -logits.detach().log_softmax(1)
    assert found.item() == pytest.approx(2 * 0.5 * (each[1, 0] + each[3, 1]).item() / 3, abs=1e-6)
    assert alignment.facts["believed"].item() == pytest.approx(200 / 3, abs=1e-4)
    assert alignment.weighted(torch.zeros(4, DIM), logits, 1, progress=0.1).item() == 0


@pytest.mark.slow
@pytest.mark.parametrize("shifted", ["blurred", "mostly of one class"])
def test_alignment_brings_two_shifted_domains_together(shifted):
    """Each domain is seen with its own statistics, so what is left to align is more than batch norm removes."""
    source, other = stripes(48, seed=3), stripes(48, seed=4)
    if shifted == "blurred":
        pixels = nn.functional.avg_pool2d(other.inputs.float(), 3, 1, 1).byte()
    else:
        keep = torch.cat([torch.where(other.labels == 0)[0], torch.where(other.labels == 1)[0][:6]])
        pixels = other.inputs[keep]
    target = Unlabelled(shifted, pixels, other.classes, np.arange(len(pixels)))
    without, aligned = (
        fit(small_model(), source, None, Recipe(epochs=6, batch_size=16), method=DAN(target, strength))
        for strength in (0.0, 5.0)
    )
    assert aligned.history[-1]["alignment_loss"] < 0.7 * without.history[-1]["alignment_loss"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: DAN(t, -1.0), "strength"),
        (lambda t: DAN(t, float("nan")), "strength"),
        (lambda t: SelfTraining(t, threshold=0.0), "threshold"),
        (lambda t: DAN(without_labels(stripes(24, seed=1).take([0]))), "two or more"),
    ],
)
def test_wrong_settings_are_named(make, message, target):
    with pytest.raises(ValueError, match=message):
        make(target)


def test_a_target_that_does_not_fit_the_source_is_refused(target):
    source = stripes(24, seed=1)
    bare = {"rows": source.rows, "name": "other"}
    small = type(source)(inputs=source.inputs[..., :-2, :-2], labels=source.labels, classes=source.classes, **bare)
    renamed = type(source)(inputs=source.inputs, labels=source.labels, classes=("cat", "dog"), **bare)
    with pytest.raises(ValueError, match="shape"):
        fit(small_model(), source, None, RECIPE, method=DAN(without_labels(small)))
    with pytest.raises(ValueError, match="classes"):
        fit(small_model(), source, None, RECIPE, method=DAN(without_labels(renamed)))
    with pytest.raises(AttributeError, match="without labels"):
        _ = DAN(target).target.labels


def test_an_alignment_without_a_loss_cannot_be_made(target):
    with pytest.raises(TypeError, match="loss"):
        Alignment(target, 1.0)


class Ramp(Alignment):
    """Its loss is the share of training that is done: what an epoch's record must average."""

    def loss(self, features, logits, sources, progress):
        return 0 * features.sum() + progress


def test_an_epochs_record_holds_the_mean_over_its_steps(target):
    run = fit(small_model(), stripes(24, seed=1), None, RECIPE, method=Ramp(target))  # 2 epochs of 3 steps
    found = [record["alignment_loss"] for record in run.history]
    assert found == pytest.approx([(0 + 1 + 2) / 3 / 6, (3 + 4 + 5) / 3 / 6], abs=1e-6)


def test_the_code_that_a_loss_calls_is_part_of_a_runs_name(target, monkeypatch):
    class Own(DeepCORAL):
        def loss(self, features, logits, sources, progress):
            return methods.coral_loss(features[:sources], features[sources:])

    before = Own(target).key()
    assert Own(target).key() == before

    def otherwise(source, target):
        return (source - target).sum()

    monkeypatch.setattr(methods, "coral_loss", otherwise)
    assert Own(target).key() != before
