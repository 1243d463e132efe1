"""The few labelled target cells of chapter 07: what they are added to, and that they count."""

import pytest

from tl_helpers.book.studies import adaptation as study


def test_labels_of_the_target_change_the_answer_and_are_reproducible():
    none = study.few_target_labels("mono", "poly", 0, seed=1)
    fifty = study.few_target_labels("mono", "poly", 50, seed=1)
    assert none.keys() == fifty.keys() == {"balanced_accuracy"}
    assert none != fifty
    assert fifty == study.few_target_labels("mono", "poly", 50, seed=1)


def test_more_labels_are_worth_more_on_average():
    """Not a claim of the chapter: fifty labels against none, over three splits."""
    none, some = (
        sum(study.few_target_labels("mono", "poly", n, seed)["balanced_accuracy"] for seed in range(3)) for n in (0, 50)
    )
    assert some > none


def test_alone_the_source_says_nothing():
    """The labelled target cells decide, and not whether there is a source; both arms see the same cells."""
    both = study.few_target_labels("mono", "poly", 50, seed=1)
    alone = study.few_target_labels("mono", "poly", 50, seed=1, alone=True)
    assert alone != both
    assert alone["balanced_accuracy"] > 50
    with pytest.raises(ValueError, match="nothing to learn"):
        study.few_target_labels("mono", "poly", 0, seed=1, alone=True)


def test_more_labels_than_there_are():
    with pytest.raises(ValueError, match="5000"):
        study.few_target_labels("mono", "poly", 5000, seed=1)
