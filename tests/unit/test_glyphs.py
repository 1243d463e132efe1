"""Glyphs: splits by script, no character twice, the same prints every time; and what is no meta-task."""

from __future__ import annotations

import dataclasses
import unicodedata

import numpy as np
import pytest
import torch

from tl_helpers.data import MetaTask, Samples, TaskError, glyphs, load_meta_task

pytestmark = [pytest.mark.usefixtures("decoded_once"), pytest.mark.slow]  # the prints are drawn: half a minute


@pytest.fixture(scope="module")
def task() -> MetaTask:
    return load_meta_task("glyphs")


def test_every_class_has_the_same_number_of_prints_and_belongs_to_one_split(task):
    names = [name for samples in task.splits.values() for name in samples.classes]
    assert len(names) == len(set(names))
    for split, samples in task.splits.items():
        assert samples.inputs.shape == (glyphs.PRINTS * len(samples.classes), 1, glyphs.SIDE, glyphs.SIDE)
        assert (np.bincount(samples.labels) == glyphs.PRINTS).all()
        assert set(samples.extra["script"]) == set(glyphs.SCRIPTS[split])


def test_scripts_are_what_unicode_says(task):
    words = {"Canadian syllabics": "CANADIAN SYLLABICS"}
    for samples in task.splits.values():
        for label, script in zip(
            samples.labels[:: glyphs.PRINTS], samples.extra["script"][:: glyphs.PRINTS], strict=True
        ):
            assert samples.classes[int(label)].startswith(words.get(str(script), str(script).upper()))


def test_no_two_classes_look_alike_when_printed_upright(task):
    looks = []
    for split, scripts in glyphs.SCRIPTS.items():
        for name, script in scripts.items():
            font = next(glyphs.faces(script))
            mine = task.splits[split]
            letters = {mine.classes[int(label)] for label in mine.labels[mine.extra["script"] == name]}
            looks += [glyphs.upright(unicodedata.lookup(letter), font) for letter in sorted(letters)]
    alike = np.stack(looks) @ np.stack(looks).T
    np.fill_diagonal(alike, 0)
    assert alike.max() <= glyphs.TWINS


def test_prints_are_light_on_dark_inside_the_frame_and_differ(task):
    for samples in task.splits.values():
        pixels = samples.inputs[:, 0]
        assert (pixels[:, 0] == 0).all()
        assert (pixels[:, :, 0] == 0).all()
        assert (pixels.flatten(1).amax(dim=1) > 120).all()
        assert not (pixels[0] == pixels[1]).all()


def test_the_same_character_is_printed_the_same_way_again(task):
    script = glyphs.SCRIPTS["test"]["Georgian"]
    available, samples = list(glyphs.faces(script)), task.splits["test"]
    code = glyphs.characters(script)[3]
    random = np.random.default_rng(code)
    order = random.permutation(len(available))
    again = [glyphs.print_of(chr(code), available[order[k % len(order)]], random) for k in range(glyphs.PRINTS)]
    label = samples.classes.index(unicodedata.name(chr(code)))
    np.testing.assert_array_equal(samples.inputs[samples.labels == label, 0].numpy(), np.stack(again))


def test_variable_fonts_give_a_light_and_a_bold_cut():
    light, bold = glyphs.faces(glyphs.Script(((0x41, 0x41),), ("comfortaa",)))
    assert (
        glyphs.print_of("A", bold, np.random.default_rng(0)).sum()
        > glyphs.print_of("A", light, np.random.default_rng(0)).sum()
    )


def test_a_font_that_is_not_there_names_the_package_to_install():
    with pytest.raises(TaskError, match="pip install fontpkg-no-such-font"):
        glyphs.font_file("no_such_font")


def test_unknown_meta_tasks_missing_splits_and_shared_classes_are_refused():
    with pytest.raises(TaskError, match="use 'glyphs'"):
        load_meta_task("omniglot")
    some = Samples("x", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"), np.arange(2))
    other = dataclasses.replace(some, classes=("c", "d"))
    facts = dict.fromkeys(("name", "licence", "citation", "source"), "x")
    with pytest.raises(TaskError, match="no split named test"):
        MetaTask(splits={"train": some, "validation": other}, **facts)
    with pytest.raises(TaskError, match="'b' is in train and in test"):
        MetaTask(
            splits={"train": some, "validation": other, "test": dataclasses.replace(some, classes=("e", "b"))}, **facts
        )
