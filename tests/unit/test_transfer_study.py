"""The tasks and the cells of chapter 8."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tl_helpers.book.studies import adaptation_limits, transfer
from tl_helpers.data import load_task, nested_subset
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import embed, evaluate


def rows_of(samples):
    return {image.numpy().tobytes() for image in samples.inputs}


@pytest.mark.parametrize(("name", "classes"), [("scripts", 5), ("kind", 2), ("artist", 2), ("parity", 2)])
def test_fresh_tasks_are_small_grey_and_whole(name, classes):
    samples = transfer.samples_of(name, "train", 0)
    assert samples.inputs.shape[1:] == (1, transfer.SIZE, transfer.SIZE)
    assert np.unique(samples.labels.numpy()).tolist() == list(range(classes))
    assert len(samples.classes) == classes
    few = transfer.samples_of(name, "train", 0, 30)
    assert len(few) == 30
    chosen = np.sort(nested_subset(samples.labels.numpy(), 30, 0))
    assert (few.inputs == samples.inputs[chosen]).all()


def test_a_fresh_task_is_split_as_the_sources_whose_images_it_shows():
    shown = transfer.samples_of("kind", "test", 3)
    mono, poly = (transfer.samples_of(name, "test", 3) for name in ("mono", "poly"))
    assert (shown.inputs[: len(mono)] == mono.inputs).all()
    assert (shown.inputs[len(mono) :] == poly.inputs).all()
    assert shown.labels.tolist() == [0] * len(mono) + [1] * len(poly)
    digits = transfer.samples_of("mnist5k", "test", 3)
    assert (transfer.samples_of("parity", "test", 3).labels == digits.labels % 2).all()


def test_characters_of_the_scripts_are_in_one_split_only():
    parts = [rows_of(transfer.samples_of("scripts", part, 0)) for part in ("train", "validation", "test")]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_the_penalty_of_a_suspect_is_one_of_those_offered():
    found = transfer.suspects_cell(transfer.NOTHING, "optdigits", 0)
    assert found["c"] in transfer.PENALTIES
    assert 60 < found["frozen_accuracy"] <= 100


class Twice:
    """A pair whose target is the source."""

    def __init__(self, task):
        self.task = task

    def source(self, split):
        return self.task.samples(split, 28)

    oracle_target = source


def test_a_bound_between_a_domain_and_itself():
    """No divergence, and the joint head errs twice as often as it does on one side."""
    digits = load_task("optdigits", seed=0)
    model = Classifier(load_backbone("digit_lenet", pretrained=False, seed=0), 10, seed=0)
    found = transfer.bound_terms(model, model, Twice(digits), seed=0)
    assert list(found) == ["source_error", "half_divergence", "joint_error"]
    test = digits.samples("test", 28)
    assert found["source_error"] == pytest.approx(100 - evaluate(model, test)["accuracy"])
    assert found["half_divergence"] < 12
    train = transfer.some_of(digits.samples("train", 28), 0)
    head = LogisticRegression(max_iter=3000)
    head.fit(embed(model, train), train.labels.numpy(), sample_weight=np.full(len(train), 2 * 1000 / len(train)))
    wrong = np.mean(head.predict(embed(model, test)) != test.labels.numpy())
    assert found["joint_error"] == pytest.approx(200 * wrong, abs=0.5)


def test_answers_in_other_proportions_are_bayes():
    p = np.array([[0.5, 0.5], [0.8, 0.2], [1.0, 0.0]])
    found = transfer.reproportioned(p, (0.5, 0.5), (0.1, 0.9))
    np.testing.assert_allclose(found, [[0.1, 0.9], [0.08 / 0.26, 0.18 / 0.26], [1, 0]])
    np.testing.assert_allclose(transfer.reproportioned(p, (0.3, 0.7), (0.3, 0.7)), p)


def test_sentences_have_one_strength():
    with pytest.raises(ValueError, match="strength=3"):
        adaptation_limits.sentences_cell("film -> tweets", "MMD", 3.0, 0)
