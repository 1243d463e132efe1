"""Keeping a source: drawn ImageNet classes, answers kept, weights between two states, and the cells of chapter 12."""

from __future__ import annotations

import copy

import pandas as pd
import pytest
import torch

from tests.unit.small import small_model, stripes
from tl_helpers.book.studies import forgetting
from tl_helpers.book.studies.forgetting import drawn_imagenet
from tl_helpers.continual import KeepAnswers, between, distillation_loss
from tl_helpers.training import Recipe, fit

pytestmark = pytest.mark.usefixtures("decoded_once")

RECIPE = Recipe(epochs=3, batch_size=8, lr=1e-2, weight_decay=0.0)


def source_model():
    """A model that knows stripes, and its head."""
    model = small_model()
    fit(model, stripes(48, seed=4), None, Recipe(epochs=4, batch_size=8), fresh=True)
    return model, copy.deepcopy(model.head)


def turned(samples):
    """The same pictures with the answers exchanged."""
    return type(samples)(samples.name, samples.inputs, 1 - samples.labels, samples.classes, samples.rows)


@torch.no_grad()
def answers(model, head, samples):
    return head(model.eval().backbone(model.backbone.prepare(samples.inputs)))


@pytest.mark.slow
def test_both_artists_draw_the_same_imagenet_classes():
    (one, classes), (other, again) = drawn_imagenet("twemoji", 32), drawn_imagenet("openmoji", 32)
    assert classes == again
    assert one.classes == other.classes
    assert len(set(classes)) == len(classes) == len(one) > 100
    assert one.labels.tolist() == list(range(len(one)))
    assert classes[one.classes.index("tiger")] == 292  # in ImageNet's usual order
    assert classes[one.classes.index("banana")] == 954


def test_strength_nought_changes_nothing():
    model, head = source_model()
    plain, kept = copy.deepcopy(model), copy.deepcopy(model)
    train = turned(stripes(24, seed=1))
    fit(plain, train, None, RECIPE, fresh=True)
    fit(kept, train, None, RECIPE, method=KeepAnswers(head, 0.0), fresh=True)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), kept.parameters(), strict=True))


@pytest.mark.parametrize("rehearsed", [False, True])
def test_the_old_head_keeps_its_answers(rehearsed):
    model, head = source_model()
    train, other = turned(stripes(24, seed=1)), stripes(24, seed=9)
    asked = other if rehearsed else train
    wanted = answers(model, head, asked)
    gaps = {}
    for strength in (0.0, 10.0):
        new = copy.deepcopy(model)
        plugin = KeepAnswers(head, strength, rehearsal=other if rehearsed else None)
        fit(new, train, None, RECIPE, method=plugin, fresh=True)
        gaps[strength] = float(distillation_loss(answers(new, head, asked), wanted))
        assert all(torch.equal(p, q) for p, q in zip(plugin.head.parameters(), head.parameters(), strict=True))
    assert gaps[10.0] < 0.5 * gaps[0.0]


def test_the_old_heads_dropout_is_off_in_training_too():
    model, head = source_model()
    ends = []
    for dropout in (0.0, 0.9):
        ends.append(copy.deepcopy(model))
        asked = torch.nn.Sequential(torch.nn.Dropout(dropout), *head)
        fit(ends[-1], turned(stripes(24, seed=1)), None, RECIPE, method=KeepAnswers(asked), fresh=True)
    assert all(torch.equal(p, q) for p, q in zip(*(end.parameters() for end in ends), strict=True))


def test_the_teacher_is_the_model_as_it_began():
    model, head = source_model()
    before = copy.deepcopy(model.state_dict())
    plugin = KeepAnswers(head, 1.0)
    fit(model, turned(stripes(24, seed=1)), None, RECIPE, method=plugin, fresh=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in plugin._teacher[0].state_dict().items())


def test_a_negative_strength_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        KeepAnswers(small_model().head, -1.0)


def test_between_two_states():
    one, other = small_model(seed=0).state_dict(), small_model(seed=1).state_dict()
    copies = copy.deepcopy((one, other))
    assert all(torch.equal(tensor, one[name]) for name, tensor in between(one, other, 0.0).items())
    assert all(torch.equal(tensor, other[name]) for name, tensor in between(one, other, 1.0).items())
    for name, tensor in between(one, other, 0.25).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.75 * one[name] + 0.25 * other[name])
        else:
            assert torch.equal(tensor, other[name])
            assert tensor.dtype == other[name].dtype
    assert all(torch.equal(t, c[n]) for s, c in zip((one, other), copies, strict=True) for n, t in s.items())


def test_between_states_of_other_networks_is_refused():
    one = small_model().state_dict()
    with pytest.raises(ValueError, match="one architecture"):
        between(one, {name: tensor for name, tensor in list(one.items())[1:]}, 0.5)


def test_weights_of_one_state_with_statistics_of_another():
    states = {"before": small_model(seed=0).state_dict(), "after": small_model(seed=1).state_dict()}
    states["after"] = {n: t + 1 if ".running_" in n else t for n, t in states["after"].items()}
    mixed = forgetting.with_statistics_of(states, "before", "after")
    assert any(".running_" in name for name in mixed)
    for name, tensor in mixed.items():
        of = "after" if name.startswith("head.") or ".running_" in name else "before"
        assert torch.equal(tensor, states[of][name]), name


@pytest.mark.slow
def test_what_is_rehearsed_is_not_what_is_asked():
    asked = set(forgetting.source_test()[0].rows.tolist())
    pool = forgetting.rehearsal_pool(0)
    assert len(pool) == forgetting.REHEARSED
    assert not asked & set(pool.rows.tolist())


def test_an_unknown_mitigation_is_refused():
    with pytest.raises(ValueError, match="use none, frozen statistics"):
        forgetting.fine_tuned(forgetting.Start(0, 1e-3, "hope"), 0)


def points(validation, kept, rates=(1e-4, 1e-3, 1e-2)):
    return pd.DataFrame({"rate": rates, "validation_accuracy": validation, "kept": kept})


def test_kept_on_demand_takes_the_lowest_rate_that_reaches_each_demand():
    way = points([70.0, 80.0, 90.0], [110.0, 60.0, 10.0])
    assert forgetting.kept_on_demand(way, (70,)) == 100.0  # at most 100
    assert forgetting.kept_on_demand(way, (71, 80)) == 60.0
    assert forgetting.kept_on_demand(way, (80, 85, 95)) == pytest.approx((60 + 10 + 0) / 3)
    assert forgetting.kept_on_demand(way.iloc[::-1], (75,)) == 60.0  # in whatever order the rows come
    assert forgetting.kept_on_demand(points([70.0, 90.0, 60.0], [90.0, 50.0, 0.0]), (60,)) == 90.0


def test_the_twins_differ_by_their_norms_alone():
    batch, layer = (forgetting.small_backbone(norm, 0) for norm in ("batch norm", "layer norm"))
    one, other = dict(batch.named_parameters()), dict(layer.named_parameters())
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in layer.modules())


@pytest.mark.slow
def test_letters_held_out_are_not_learned():
    train, test = forgetting.letters("train"), forgetting.letters("test")
    assert train.classes == test.classes
    assert not set(train.rows.tolist()) & set(test.rows.tolist())
    assert (test.labels.bincount() == forgetting.LETTERS_HELD_OUT).all()
    assert train.inputs.float().mean() > 128  # dark on light
