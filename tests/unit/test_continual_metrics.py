"""The metrics of continual learning, and the matrix behind them, against computations that share no code with them."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tl_helpers.continual import (
    Naive,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    masked_cross_entropy,
    run_stream,
    split_stream,
)
from tl_helpers.data import task_from
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Method, Recipe, fit

PERCENT = st.floats(0, 100)
MATRICES = st.integers(1, 6).flatmap(lambda count: arrays(float, (count, count), elements=PERCENT))
BOTH = st.integers(1, 6).flatmap(
    lambda count: st.tuples(arrays(float, (count, count), elements=PERCENT), arrays(float, count, elements=PERCENT))
)

# Three experiences; by hand: the last row is 60, 70, 95; the best before it were 90 and 85; right after: 90 and 85.
# Before they were learned: 55 on the second, 40 on the third; the untrained model had 50 and 45 there.
EXAMPLE = np.array([[90.0, 55.0, 30.0], [80.0, 85.0, 40.0], [60.0, 70.0, 95.0]])
BASELINE = np.array([48.0, 50.0, 45.0])


# ---- metrics ---------------------------------------------------------------------------------------------------------


def slow_average(rows):
    """The mean of the last row."""
    total = 0.0
    for value in rows[-1]:
        total += value
    return total / len(rows)


def slow_forgetting(rows):
    """Chaudhry et al. 2018, with the maximum found by going through the rows."""
    count, total = len(rows), 0.0
    if count == 1:
        return 0.0
    for j in range(count - 1):
        best = -1e9
        for i in range(count - 1):
            if i >= j and rows[i][j] > best:
                best = rows[i][j]
        total += best - rows[count - 1][j]
    return total / (count - 1)


def slow_backward(rows):
    """Lopez-Paz and Ranzato 2017, BWT."""
    count, total = len(rows), 0.0
    if count == 1:
        return 0.0
    for j in range(count - 1):
        total += rows[count - 1][j] - rows[j][j]
    return total / (count - 1)


def slow_forward(rows, baseline):
    """Lopez-Paz and Ranzato 2017, FWT."""
    count, total = len(rows), 0.0
    if count == 1:
        return 0.0
    for j in range(1, count):
        total += rows[j - 1][j] - baseline[j]
    return total / (count - 1)


@settings(max_examples=200, deadline=None)
@given(both=BOTH)
def test_metrics_by_loops(both):
    matrix, baseline = both
    rows = matrix.tolist()
    assert average_accuracy(matrix) == pytest.approx(slow_average(rows), abs=1e-9)
    assert forgetting(matrix) == pytest.approx(slow_forgetting(rows), abs=1e-9)
    assert backward_transfer(matrix) == pytest.approx(slow_backward(rows), abs=1e-9)
    assert forward_transfer(matrix, baseline) == pytest.approx(slow_forward(rows, baseline.tolist()), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(matrix=MATRICES)
def test_forgetting_is_no_less_than_what_backward_transfer_lost(matrix):
    """The best accuracy is no worse than the one right after learning; for two experiences they are the same."""
    assert forgetting(matrix) >= -backward_transfer(matrix) - 1e-9
    if len(matrix) == 2:
        assert forgetting(matrix) == pytest.approx(-backward_transfer(matrix), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(matrix=MATRICES)
def test_what_the_metrics_do_not_look_at(matrix):
    """Accuracy before an experience was learned matters to forward transfer only, and the last row not to it."""
    other = matrix + np.triu(np.full(matrix.shape, 3.0), k=1)
    assert forgetting(other) == forgetting(matrix)
    assert backward_transfer(other) == backward_transfer(matrix)
    assert average_accuracy(other) == average_accuracy(matrix)
    other = matrix.copy()
    other[-1] += 5
    baseline = np.zeros(len(matrix))
    assert forward_transfer(other, baseline) == forward_transfer(matrix, baseline)


def test_metrics_by_hand():
    assert average_accuracy(EXAMPLE) == pytest.approx(75)  # (60 + 70 + 95) / 3
    assert forgetting(EXAMPLE) == pytest.approx(22.5)  # (90 - 60 + 85 - 70) / 2
    assert backward_transfer(EXAMPLE) == pytest.approx(-22.5)
    assert forward_transfer(EXAMPLE, BASELINE) == pytest.approx(0)  # (55 - 50 + 40 - 45) / 2


def test_the_best_may_come_after_an_experiences_own_row():
    rose = np.array([[70.0, 10.0, 10.0], [90.0, 60.0, 10.0], [50.0, 80.0, 40.0]])
    assert forgetting(rose) == pytest.approx(10)  # (90 - 50 + 60 - 80) / 2
    assert backward_transfer(rose) == pytest.approx(0)  # (50 - 70 + 80 - 60) / 2


def test_forgetting_is_negative_if_everything_got_better():
    assert forgetting(np.array([[50.0, 0.0], [80.0, 90.0]])) == pytest.approx(-30)


def test_one_experience_has_nothing_to_forget_or_to_transfer():
    one = np.array([[80.0]])
    assert average_accuracy(one) == 80
    assert forgetting(one) == backward_transfer(one) == forward_transfer(one, np.array([50.0])) == 0


@pytest.mark.parametrize(
    "metric", [average_accuracy, forgetting, backward_transfer, lambda m: forward_transfer(m, np.zeros(len(m)))]
)
@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (np.zeros((2, 3)), "as many rows"),
        (np.zeros(4), "as many rows"),
        (np.zeros((2, 2, 2)), "as many rows"),
        (np.zeros((0, 0)), "as many rows"),
        (np.array([[1.0, np.nan], [2.0, 3.0]]), "NaN"),
        (np.array([[1.0, 2.0], [np.inf, 3.0]]), "NaN or infinity"),
    ],
)
def test_matrices_that_cannot_be(metric, matrix, says):
    with pytest.raises(ValueError, match=says):
        metric(matrix)


@pytest.mark.parametrize("baseline", [np.zeros(2), np.zeros(4), np.zeros((3, 1)), np.array(0.0)])
def test_a_baseline_has_one_value_for_each_experience(baseline):
    with pytest.raises(ValueError, match="one value for each"):
        forward_transfer(EXAMPLE, baseline)


# ---- the matrix ------------------------------------------------------------------------------------------------------


RECIPE = Recipe(epochs=2, lr=3e-4, batch_size=16, weight_decay=0.01, schedule="constant", warmup=0.0)
"""So gentle that the accuracies are neither 0 nor 100."""


@pytest.fixture(scope="module")
def blobs():
    """Six classes: a faint bright spot in one of six places on noise; 50 images of each."""
    random, labels = np.random.default_rng(0), np.arange(300) % 6
    images = random.integers(0, 180, size=(300, 28, 28))
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 10 * (label // 3), 2 + 9 * (label % 3)
        image[row : row + 6, column : column + 6] += 50
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcdef"))})
    table = datasets.Dataset.from_dict({"image": list(images.astype(np.uint8)), "label": labels}, features=features)
    return task_from(table, name="faint blobs")


class Among(Method):
    """Cross-entropy among these classes only."""

    def __init__(self, classes):
        super().__init__(classes=" ".join(map(str, classes)))
        self.classes = classes

    def task_loss(self, step):
        allowed = torch.tensor([[label in self.classes for label in range(6)]] * len(step.x))
        return masked_cross_entropy(step.logits, step.targets, allowed)


def percent_right(model, samples, classes):
    """Of predictions among these classes, counted one by one."""
    given_as = model.backbone.preprocessing
    x = (samples.inputs.float() / 255 - given_as.mean[0]) / given_as.std[0]
    model.eval()
    with torch.no_grad():
        hidden = x
        for stage in model.backbone.stages.values():
            hidden = stage(hidden)
        logits = model.head(hidden)
    right = 0
    for row, label in zip(logits.tolist(), samples.labels.tolist(), strict=True):
        right += max(classes, key=lambda answer: row[answer]) == label
    return 100 * right / len(samples)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize("scenario", ["class", "task"])
def test_the_matrix_of_a_stream_learned_by_hand(blobs, scenario, split):
    pairs = [(0, 1), (2, 3), (4, 5)]
    stream = split_stream(blobs, scenario)

    def make(seed):
        return Classifier(load_backbone("digit_mlp", pretrained=False, seed=seed), 6, seed=seed)

    def answers(now, on):
        """After experience `now`, on samples of experience `on`."""
        if scenario == "task":
            return list(pairs[on])
        return [label for pair in pairs[: max(now, on) + 1] for label in pair]

    outcome = run_stream(stream, Naive(), make, RECIPE, seed=5, split=split, fresh=True)

    model = make(5)
    held_out = [getattr(experience, split) for experience in stream.experiences]
    before = [percent_right(model, held_out[on], answers(-1, on)) for on in range(3)]
    rows = []
    for now in range(3):
        fit(model, stream[now].train, None, RECIPE, seed=5, method=Among(answers(now, now)), fresh=True)
        rows.append([percent_right(model, held_out[on], answers(now, on)) for on in range(3)])
    within = [percent_right(model, held_out[on], list(pairs[on])) for on in range(3)]

    assert outcome.matrix.tolist() == pytest.approx(np.array(rows), abs=1e-9)
    assert outcome.baseline.tolist() == pytest.approx(before, abs=1e-9)
    assert outcome.within.tolist() == pytest.approx(within, abs=1e-9)
    assert len(np.unique(outcome.matrix)) > 3  # or the comparison says little
    row = outcome.row()
    assert row["accuracy"] == pytest.approx(slow_average(rows), abs=1e-3)
    assert row["forgetting"] == pytest.approx(slow_forgetting(rows), abs=1e-3)
    assert row["backward_transfer"] == pytest.approx(slow_backward(rows), abs=1e-3)
    assert row["forward_transfer"] == pytest.approx(slow_forward(rows, before), abs=1e-3)
    assert row["after_2_accuracy_1"] == pytest.approx(rows[1][0], abs=1e-3)
