"""A target's labels are out of reach of whatever trains or chooses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.small import small_model, stripes
from tl_helpers import adaptation, features
from tl_helpers.data import DomainPair, TargetLabelsError, TaskError, Unlabelled, load_task, without_labels
from tl_helpers.training import Recipe, evaluate, fit

pytestmark = pytest.mark.usefixtures("decoded_once")


@pytest.fixture(scope="module")
def pair() -> DomainPair:
    task = load_task("elpv", seed=0)
    return DomainPair(task.only(domain="mono"), task.only(domain="poly"), size=32)


@pytest.mark.slow
def test_source_has_labels_and_the_target_has_not(pair):
    assert set(pair.source("train").labels.tolist()) == {0, 1}
    target = pair.target("train")
    assert len(target) == len(pair.oracle_target("train"))
    for name in ("labels", "extra"):
        with pytest.raises(TargetLabelsError, match="without"):
            getattr(target, name)
        assert not hasattr(target, name)
    held = {name for name in vars(target)}
    assert held == {"name", "inputs", "classes", "rows", "table", "modality"}


@pytest.mark.slow
def test_labels_are_reached_only_by_a_name_that_says_oracle(pair):
    """Every public way from a pair to labels of the target says so."""
    for name in [name for name in dir(pair) if not name.startswith("_")]:
        found = getattr(pair, name)
        found = found("train") if callable(found) else found
        labelled = hasattr(found, "labels") and found.name.startswith(pair.target().name.split("/")[0])
        assert labelled == name.startswith("oracle_"), name


def test_what_trains_or_scores_with_labels_refuses_a_target():
    target, labelled = without_labels(stripes(16)), stripes(32)
    model = small_model()
    with pytest.raises(TargetLabelsError):
        fit(model, target, None, Recipe(epochs=1))
    with pytest.raises(TargetLabelsError):
        fit(model, labelled, target, Recipe(epochs=1))
    with pytest.raises(TargetLabelsError):
        evaluate(model, target)


def test_what_needs_no_labels_takes_a_target():
    target = without_labels(stripes(16))
    model = small_model()
    assert isinstance(target, Unlabelled)
    adaptation.adapt_batch_norm(model, target)
    assert features.extract(model.backbone, target).shape == (16, model.backbone.dim)


def test_pseudo_labels_are_the_models():
    target = without_labels(stripes(10))
    found = target.pseudo_labelled(np.arange(10) % 2)
    assert found.labels.tolist() == [0, 1] * 5
    assert torch.equal(found.inputs, target.inputs)
    assert np.array_equal(found.rows, target.rows)


def test_a_pair_is_named_after_its_domains(pair):
    assert pair.name == "elpv-mono -> elpv-poly"


@pytest.mark.slow
def test_pairs_that_cannot_be():
    elpv, digits = load_task("elpv"), load_task("optdigits")
    with pytest.raises(TaskError, match="other classes"):
        DomainPair(elpv, digits)
    with pytest.raises(TaskError, match="nothing to adapt"):
        DomainPair(elpv, elpv)


@pytest.mark.slow
def test_cropping_frames_two_domains_alike():
    task = load_task("mnist5k", seed=0)
    whole, inner = task.samples("test"), task.cropped(4).samples("test")
    assert torch.equal(inner.inputs, whole.inputs[:, :, 4:24, 4:24])
    assert np.array_equal(inner.rows, whole.rows)
    assert inner.table != whole.table
    assert task.cropped(4).samples("test", 28).inputs.shape[-2:] == (28, 28)
    with pytest.raises(ValueError, match="0 or more"):
        task.cropped(-1)
    with pytest.raises(TaskError, match="leaves nothing"):
        task.cropped(14).samples("test")


def test_reverse_validation_rewards_a_model_that_separates_the_targets_classes():
    import datasets

    from tl_helpers.data import task_from

    def task(name: str, seed: int):
        part = stripes(80, seed=seed)
        images = [Image.fromarray(image) for image in part.inputs[:, 0].numpy()]
        table = datasets.Dataset.from_dict({"image": images, "label": part.labels.tolist()})
        return task_from(table, name=name)

    pair = DomainPair(task("one", 1), task("other", 2))
    recipe = Recipe(epochs=4, batch_size=8)

    def train(model, labelled, unlabelled):
        assert isinstance(unlabelled, Unlabelled)
        fit(model, labelled, None, recipe)

    good, fool = small_model(), small_model()
    fit(good, pair.source("train"), None, recipe)
    fool.head[-1].bias.data = torch.tensor([100.0, 0.0])
    before = {name: tensor.clone() for name, tensor in good.state_dict().items()}
    found = adaptation.reverse_validation(good, pair, train)
    assert found > 90
    assert adaptation.reverse_validation(fool, pair, train) == pytest.approx(
        100 * float((pair.source("validation").labels == 0).float().mean())
    )
    assert all(torch.equal(before[name], tensor) for name, tensor in good.state_dict().items())
