"""The tasks and the cells of chapter 8."""

import numpy as np
import pytest

from tl_helpers.book.studies import transfer
from tl_helpers.data import nested_subset


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
