"""tl_helpers.book.studies.domain_shift: what scores are worth, and samples in other proportions."""

import numpy as np
import pandas as pd
import pytest

from tl_helpers.book.studies.domain_shift import judged, log_odds, values, with_share


def test_a_push_ruins_the_threshold_and_leaves_the_order():
    scores, labels = np.array([-2.0, -1, 1, 2]), np.array([0, 0, 1, 1])
    at_home, pushed = judged(scores, labels), judged(scores + 10, labels)
    assert at_home["balanced accuracy"] == 100
    assert pushed["balanced accuracy"] == 50
    assert pushed["best threshold"] == pushed["AUC"] == 100
    assert (at_home["called defective"], pushed["called defective"], pushed["defective"]) == (50, 100, 50)


def test_values_come_in_the_order_of_the_seeds():
    rows = [(1, "mono", 3.0), (0, "mono", 2.0), (0, "poly", 9.0)]
    frame = pd.DataFrame(rows, columns=["seed", "trained on", "balanced accuracy"])
    assert values(frame, trained_on="mono").tolist() == [2, 3]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_the_wanted_share_is_there_and_one_class_is_whole(share):
    labels = np.repeat([0, 1], [140, 60])
    kept = with_share(labels, share, seed=0)
    assert len(set(kept)) == len(kept)
    assert labels[kept].mean() == pytest.approx(share, abs=0.01)
    ones = labels[kept].sum()
    assert ones == 60 or len(kept) - ones == 140
    assert kept.tolist() == with_share(labels, share, seed=0).tolist()


def test_log_odds_are_zero_at_one_half_and_bounded():
    assert log_odds(0.5) == 0
    assert log_odds(0.0) == log_odds(0.01) == pytest.approx(-log_odds(0.99))
