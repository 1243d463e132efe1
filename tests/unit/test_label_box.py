"""The box for class names: what it shows at the start, after typing, and for what cannot be used."""

from __future__ import annotations

import ipywidgets
import numpy as np
import pytest

from tl_helpers.book import widgets

TEXTS = ["a short one", "a much longer <sentence> & more of it, so long that nobody reads it in a drop-down list"]


def letters(names, place):
    """Longer names first; the second example turns that round."""
    return [len(name) * (1 - 2 * place) for name in names]


@pytest.fixture
def box():
    return widgets.label_box(letters, ["cat", "horse"], TEXTS)


def test_starts_with_answers_for_every_example_and_says_that_typing_needs_a_kernel(box):
    first, second = (view.value for view in box.answers.children)
    assert first.index("horse") < first.index("cat")
    assert second.index("cat") < second.index("horse")
    assert "&lt;sentence&gt; &amp; more" in second
    assert "kernel" in box.message.value
    assert box.table().loc[TEXTS[0]]["name"].tolist() == ["horse", "cat"]


def test_the_example_is_linked_in_the_browser(box):
    links = [w for w in box._links if isinstance(w, ipywidgets.widgets.widget_link.Link)]
    assert [(link.source[0], link.source[1], link.target[0], link.target[1]) for link in links] == [
        (box.example, "index", box.answers, "selected_index"),
        (box.names, "value", box.note, "typed"),
        (box.note, "gone", box.names, "disabled"),
        (box.note, "gone", box.button, "disabled"),
    ]
    assert len(box.example.options) == 2
    assert max(len(text) for text, _ in box.example.options) < 70


def test_typing_ranks_anew_and_the_note_goes(box):
    box.names.value = "ant,  elephant\n\nbee\n"
    assert box.message.value == ""
    assert box.table().loc[TEXTS[0]]["name"].tolist() == ["elephant", "ant", "bee"]
    box.button.click()
    assert box.message.value == ""


def test_the_note_knows_which_names_were_answered(box, monkeypatch):
    assert (box.note.typed, box.note.answered) == ("cat\nhorse", "cat\nhorse")
    for typed in ("ant, bee", "ant"):  # one that is ranked, one that is refused: both are answers
        box.names.value = typed
        assert box.note.answered == typed

    def interrupted(names, place):
        raise KeyboardInterrupt

    box._score = interrupted
    with pytest.raises(KeyboardInterrupt):
        box.names.value = "cow, dog"
    assert box.note.answered == "ant"  # the answers are still the old ones
    sent = []
    monkeypatch.setattr(box.note, "send", sent.append)
    box.note._handle_custom_msg({"type": "ping", "n": 1}, [])
    assert sent == [{"type": "pong", "n": 1}]


@pytest.mark.parametrize(
    ("typed", "says"),
    [("", "0 labels"), ("\n , ", "0 labels"), ("cat", "two or more"), ("cat, dog, Cat", "twice")],
)
def test_what_cannot_be_used_is_said_in_the_box(box, typed, says):
    before = box.answers.children[0].value
    box.names.value = typed
    assert box.update() is False
    assert says in box.message.value
    assert "Traceback" not in box.message.value
    assert 'role="alert"' in box.message.value
    assert box.answers.children[0].value == before
    box.names.value = "cat, dog"
    assert box.message.value == ""


def test_a_classifier_that_fails_is_no_traceback(box):
    def broken(names, place):
        raise RuntimeError("no <weights>")

    box._score = broken
    box.names.value = "cat, dog"
    assert "RuntimeError: no &lt;weights&gt;" in box.message.value
    box._score = lambda names, place: [np.nan] * len(names)
    assert not box.update()
    assert "NaN" in box.message.value


def test_names_cannot_smuggle_markup_in(box):
    box.names.value = "<script>alert(1)</script>, dog"
    assert "<script>" not in box.answers.children[0].value


def test_pictures_carry_their_text_and_only_the_nearest_are_shown():
    pictures = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    box = widgets.label_box(letters, [f"name {'x' * k}" for k in range(12)], TEXTS, pictures=pictures, most=3)
    page = box.answers.children[0].value
    assert 'alt="a short one"' in page
    assert "data:image/png;base64," in page
    assert page.count("<tr>") == 3
    assert "the 3 nearest of 12" in page
    assert len(box.table()) == 6
    assert "text/plain" in box._repr_mimebundle_()
    assert widgets.label_box(letters, ["a", "b"], TEXTS, pictures=pictures[:, :1]).answers.children


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: widgets.label_box(letters, ["a", "b"], []), "no examples"),
        (lambda: widgets.label_box(letters, ["a"], TEXTS), "two or more"),
        (lambda: widgets.label_box(letters, ["a", "b"], TEXTS, most=0), "one name"),
        (lambda: widgets.label_box(letters, ["a", "b"], TEXTS, pictures=np.zeros((2, 3, 8, 8))), "uint8"),
        (
            lambda: widgets.label_box(letters, ["a", "b"], TEXTS, pictures=np.zeros((1, 3, 8, 8), np.uint8)),
            "1 pictures",
        ),
        (lambda: widgets.label_box(lambda names, place: [1.0], ["a", "b"], TEXTS), "scores for 2 names"),
    ],
)
def test_what_cannot_be_says_why(call, says):
    with pytest.raises(ValueError, match=says):
        call()
