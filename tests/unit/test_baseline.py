"""tl_helpers.book.baseline: what chapter 01 writes out, for chapters 02 to 05."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tl_helpers import features
from tl_helpers.book import baseline
from tl_helpers.data import load_task
from tl_helpers.models import load_backbone


@pytest.fixture(scope="module")
def few():
    return load_task("elpv", seed=3).few_labels(50, 3)


def test_scores_are_those_of_a_head_fitted_by_hand(few):
    x = features.extract_stages(load_backbone("efficientnet_lite0"), few.all_samples(64), stages=["stage6"])["stage6"]
    learn, asked = x[few.rows("train")], x[few.rows("validation")]
    mean, spread = learn.mean(0), learn.std(0)
    fitted = baseline.head()[-1].fit((learn - mean) / spread, few.labels("train"))
    said = fitted.predict((asked - mean) / spread)
    found = baseline.scores(few, "validation")
    assert found["accuracy"] == pytest.approx(100 * np.mean(said == few.labels("validation")), abs=0.6)
    want = 100 * balanced_accuracy_score(few.labels("validation"), said)
    assert found["balanced_accuracy"] == pytest.approx(want, abs=1)


def test_fewer_labels_another_size_and_stage_change_the_scores(few):
    here = baseline.scores(few, "validation")
    assert baseline.scores(load_task("elpv", seed=3), "validation") != here
    assert baseline.scores(few, "validation", stage="stage5") != here
    assert baseline.scores(few, "validation", size=32) != here


def test_bad_input(few):
    with pytest.raises(KeyError, match="holdout"):
        baseline.scores(few, "holdout")
    with pytest.raises(ValueError, match="no stage layer9"):
        baseline.scores(few, stage="layer9")


def test_description_names_what_is_used():
    said = " ".join(baseline.describe())
    assert all(word in said for word in (baseline.BACKBONE, baseline.STAGE, str(baseline.SIZE), str(baseline.C)))
