"""Chains of transfer: each link starts where the one before it ended, beginnings are shared, old heads are scored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tl_helpers import store
from tl_helpers.chains import Link, bridges, follow, retention_table
from tl_helpers.data import load_task
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, Retention, evaluate, fit

RECIPE = Recipe(epochs=2, lr=3e-3, batch_size=16)


@pytest.fixture(scope="module")
def tasks():
    digits = load_task("optdigits").few_labels(60)
    return {name: dataclasses.replace(digits.few_labels(40, seed), name=name) for seed, name in enumerate("abc")}


def start():
    return load_backbone("digit_cnn", pretrained=False, seed=3)


def link(tasks, name, **changes):
    return Link(tasks[name], dataclasses.replace(RECIPE, **changes), size=28)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_one_link_is_direct_transfer(tasks):
    (reached,) = follow(start(), [link(tasks, "a")], seed=1)
    model = Classifier(start(), classes=10, seed=1)
    fit(model, tasks["a"].samples("train", 28), tasks["a"].samples("validation", 28), RECIPE, seed=1)
    assert same(weights(model), weights(reached.model))


def test_a_link_starts_from_what_the_one_before_it_left(tasks):
    first, second = follow(start(), [link(tasks, "a"), link(tasks, "b", lr=1e-3)], seed=1)
    model = Classifier(start(), classes=10, seed=1)
    for name, lr in (("a", 3e-3), ("b", 1e-3)):
        model = Classifier(model.backbone, classes=10, seed=1)
        parts = (tasks[name].samples(split, 28) for split in ("train", "validation"))
        fit(model, *parts, dataclasses.replace(RECIPE, lr=lr), seed=1)
    assert same(weights(model), weights(second.model))
    assert not same(weights(first.model), weights(second.model))


def test_the_start_and_each_link_stay_as_they_were(tasks):
    backbone = start()
    before = weights(backbone)
    once = follow(backbone, [link(tasks, "a")])[0]
    first, _ = follow(backbone, [link(tasks, "a"), link(tasks, "b")])
    assert same(before, weights(backbone))
    assert same(weights(once.model), weights(first.model))


def test_chains_that_begin_alike_share_their_beginning(tasks):
    def computed():
        return store.TALLY["runs", "computed"]

    follow(start(), [link(tasks, "a"), link(tasks, "b")])
    before = computed()
    follow(start(), [link(tasks, "a"), link(tasks, "c")])
    assert computed() == before + 1  # c; a comes from the store
    follow(start(), [link(tasks, "a", lr=1e-3), link(tasks, "c")])
    assert computed() == before + 3


def test_what_is_kept_is_the_old_head_on_the_new_backbone(tasks):
    links = [link(tasks, name) for name in "abc"]
    reached = follow(start(), links)
    assert [list(each.kept) for each in reached] == [["a"], ["a", "b"], ["a", "b", "c"]]
    for each, own in zip(reached, links, strict=True):
        assert each.kept[each.name] == pytest.approx(evaluate(each.model, own.samples("validation"))["accuracy"])
        assert each.kept[each.name] == pytest.approx(each.run.metrics["accuracy"])
    old = Classifier(reached[2].model.backbone, classes=10)
    old.head = reached[0].model.head
    assert reached[2].kept["a"] == pytest.approx(evaluate(old, links[0].samples("validation"))["accuracy"])


def test_a_frozen_link_keeps_all_of_the_one_before(tasks):
    depth = start().depth
    first, second = follow(start(), [link(tasks, "a"), link(tasks, "b", freeze_depth=depth)])
    assert second.kept["a"] == first.kept["a"]
    assert same(weights(first.model.backbone), weights(second.model.backbone))


def test_the_table_of_what_is_kept(tasks):
    reached = follow(start(), [link(tasks, name) for name in "ab"])
    table = retention_table(reached)
    assert table.index.tolist() == table.columns.tolist() == ["a", "b"]
    assert np.isnan(table.loc["a", "b"])
    assert table.loc["b", "a"] == reached[1].kept["a"]


def test_the_test_split_is_not_read(tasks, monkeypatch):
    asked = []
    read = type(tasks["a"]).samples
    monkeypatch.setattr(
        type(tasks["a"]), "samples", lambda task, split, *size: asked.append(split) or read(task, split, *size)
    )
    follow(start(), [link(tasks, "a"), link(tasks, "b")])
    assert set(asked) == {"train", "validation"}


class TestErrors:
    def test_an_empty_chain(self):
        with pytest.raises(ValueError, match="An empty chain: give at least the link of the target"):
            follow(start(), [])

    def test_two_of_one_name(self, tasks):
        with pytest.raises(ValueError, match=r"The chain has a more than once.*dataclasses\.replace\(task, name="):
            follow(start(), [link(tasks, "a"), link(tasks, "b"), link(tasks, "a")])

    def test_texts_for_a_network_of_images_before_anything_is_trained(self, tasks):
        wrong = Link(dataclasses.replace(tasks["b"], modality="text"), RECIPE)
        before = store.TALLY["runs", "computed"]
        with pytest.raises(ValueError, match="Link 2, b: texts, but digit_cnn reads images"):
            follow(start(), [link(tasks, "a"), wrong])
        assert store.TALLY["runs", "computed"] == before

    def test_images_without_a_size(self, tasks):
        with pytest.raises(ValueError, match="Link 1, a: say at how many pixels"):
            follow(start(), [Link(tasks["a"], RECIPE)])


def cloud(center, seed, n=60):
    return np.random.default_rng(seed).normal(center, 1.0, size=(n, 6))


def test_the_nearest_to_both_ends_comes_first():
    table = bridges(
        cloud(0, 0), {"beyond": cloud(9, 1), "between": cloud(1, 2), "source again": cloud(0, 3)}, cloud(2, 4)
    )
    assert table.index.tolist()[0] == "between"
    assert table.loc["between", "widest gap"] == max(table.loc["between", ["from source", "to target"]])
    assert table.loc["between", "widest gap"] < table["direct"].iloc[0] <= table.loc["beyond", "widest gap"]


def test_no_candidates():
    with pytest.raises(ValueError, match="No candidates"):
        bridges(cloud(0, 0), {}, cloud(1, 1))


def test_retention_is_that_of_training(tasks):
    """The same measure as a run's own `Retention`, at its last step."""
    first, second = follow(start(), [link(tasks, "a"), link(tasks, "b")])
    model = Classifier(first.model.backbone, classes=10)
    watch = Retention(tasks["a"].samples("validation", 28), first.model.head)
    parts = (tasks["b"].samples(split, 28) for split in ("train", "validation"))
    fit(model, *parts, RECIPE, watch=watch)
    assert watch.measured[-1]["accuracy"] == pytest.approx(second.kept["a"])
