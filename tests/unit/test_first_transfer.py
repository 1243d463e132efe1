"""tl_helpers.book.studies.first_transfer: equal trials, the choice that the recorded trials make, recipes, the baseline."""

import pandas as pd
import pytest

from tl_helpers.book import baseline, results
from tl_helpers.book.studies import first_transfer as study
from tl_helpers.data import load_task


def test_all_methods_have_as_many_trials_and_none_ends_up_at_the_edge():
    assert {len(trials) for trials in study.TRIALS.values()} == {4}
    assert all(study.CHOSEN[method] in study.TRIALS[method][1:-1] for method in study.METHODS)


def test_the_chosen_settings_are_what_the_recorded_trials_say():
    assert study.choose(results.load("first_transfer_trials")) == study.CHOSEN


def test_a_setting_is_chosen_by_its_mean_over_both_numbers_of_labels():
    rows = [("a", 0.1, 100, 70), ("a", 0.1, "all", 80), ("a", 0.2, 100, 74), ("a", 0.2, "all", 77), ("b", 3.0, 100, 1)]
    trials = pd.DataFrame(rows, columns=["method", "setting", "labels", "validation_accuracy"])
    assert study.choose(trials) == {"a": 0.2, "b": 3.0}


def test_equal_steps_differs_from_fine_tuning_in_its_rate_alone():
    one, other = (study.recipe_for(method, 100, 1e-3) for method in (study.TUNED, study.EQUAL))
    assert one == other
    assert one.patience is None


def test_until_it_stops_may_take_many_times_longer_and_keeps_its_best_epoch():
    recipe = study.recipe_for(study.UNTIL, study.ALL, 3e-3)
    assert (recipe.epochs, recipe.patience, recipe.keep) == (30, 10, "best")
    assert recipe.epochs > 10 * study.recipe_for(study.TUNED, study.ALL, 3e-3).epochs
    with pytest.raises(KeyError):
        study.recipe_for(study.UNTIL, 77, 1e-3)


def test_numbers_of_labels_in_order():
    rows = [("all", "from scratch, until it stops", 0), ("100", "fine-tuning", 1), ("100", "frozen features", 0)]
    frame = study.numbered(pd.DataFrame(rows, columns=["labels", "method", "seed"]), 1574)
    assert frame["labels"].tolist() == [100, 100, 1574]
    assert frame["method"].tolist() == ["frozen features", "fine-tuning", "from scratch, until it stops"]


@pytest.mark.slow
def test_the_frozen_features_of_the_study_are_the_baseline():
    task = load_task("elpv", seed=3)
    few = task.few_labels(100, 3)
    head = study.Head(study.FROZEN, task, 100, 3)
    assert head.scores(task.samples("test", study.SIZE)) == baseline.scores(few, "test")
