"""Class means on a frozen backbone, in whichever order experiences come; and the recorded streams of real domains."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tests.unit.small import stripes
from tl_helpers import features
from tl_helpers.book.studies import domain_streams as study
from tl_helpers.book.studies.continual import RECIPE
from tl_helpers.continual import Experience, NearestMean, Stream, StreamingLDA, domain_stream, run_stream
from tl_helpers.data import Samples
from tl_helpers.models import Classifier, load_backbone

pytestmark = pytest.mark.usefixtures("decoded_once")

CLASSES = ("a", "b", "c", "d", "e", "f")


def stream_of(scenario="class", order=(0, 1, 2), each=30):
    """Three experiences of two classes (in the domain scenario the same two), in some order."""
    experiences = []
    for place, number in enumerate(order):
        parts = {}
        for seed, split in enumerate(("train", "validation", "test")):
            some = stripes(each, seed=10 * number + seed)
            pixels = some.inputs.clone()
            pixels[:, :, :, : 7 * number] //= 3  # so that experiences differ
            pixels[some.labels == 1, :, :9] //= 2  # and classes, even for random features
            parts[split] = Samples(
                name=f"{number}/{split}",
                inputs=pixels,
                labels=some.labels + (0 if scenario == "domain" else 2 * number),
                classes=CLASSES[:2] if scenario == "domain" else CLASSES,
                rows=some.rows,
                extra={"experience": np.full(each, place)},
            )
        own = (0, 1) if scenario == "domain" else (2 * number, 2 * number + 1)
        experiences.append(Experience(str(number), **parts, classes=own))
    return Stream("stripes", scenario, experiences[0].train.classes, tuple(experiences))


def make_for(stream):
    return lambda seed: Classifier(
        load_backbone("digit_mlp", pretrained=False, seed=seed), len(stream.classes), seed=seed
    )


def taught(strategy, stream, upto=None):
    """The strategy after the first `upto` experiences, and its model."""
    make = make_for(stream)
    strategy.before_stream(stream, make, 0)
    model = make(0)
    for now in range(len(stream) if upto is None else upto):
        strategy.now = now
        model = strategy.before_experience(model)
        strategy.learn(model, RECIPE)
        strategy.after_experience(model)
    return strategy, model


def embedded(model, samples):
    """Features of length 1, sample by sample."""
    found = features.extract(model.backbone, samples).astype(np.float64)
    return np.array([row / np.sqrt((row * row).sum()) for row in found])


# ---- nearest mean ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_the_nearest_mean_by_loops(scenario):
    stream = stream_of(scenario)
    strategy, model = taught(NearestMean(), stream)
    means, labels = [], []
    for experience in stream.experiences:
        x, own = embedded(model, experience.train), experience.train.labels.tolist()
        for label in experience.classes:
            members = [row for row, one in zip(x, own, strict=True) if one == label]
            means.append(sum(members) / len(members))
            labels.append(label)
    assert strategy.labels.tolist() == labels
    np.testing.assert_allclose(strategy.means, means, atol=1e-12)
    for number, experience in enumerate(stream.experiences):
        found = strategy.logits(model, experience.test, number)
        for row, logits in zip(embedded(model, experience.test), found, strict=True):
            for label in set(labels):
                apart = min(((row - m) ** 2).sum() for m, own in zip(means, labels, strict=True) if own == label)
                assert logits[label] == pytest.approx(-apart, abs=1e-6)


def test_nothing_is_trained_and_one_pass_is_all(monkeypatch):
    stream = stream_of()
    strategy, model = taught(NearestMean(), stream, upto=0)
    before = copy.deepcopy(model.state_dict())
    asked = []
    real = features.extract
    monkeypatch.setattr(features, "extract", lambda b, s: asked.append(s.name) or real(b, s))
    taught(strategy, stream)
    assert asked == ["0/train", "1/train", "2/train"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("scenario", ["domain", "class"])
@pytest.mark.parametrize("order", [(2, 0, 1), (2, 1, 0)])
def test_the_order_of_experiences_does_not_matter_to_class_means(scenario, order):
    one, model = taught(NearestMean(), stream_of(scenario))
    other, again = taught(NearestMean(), stream_of(scenario, order))
    for number in range(3):
        samples = stream_of(scenario)[number].test
        found = one.logits(model, samples, number), other.logits(again, samples, order.index(number))
        np.testing.assert_array_equal(*found)


def test_the_order_of_experiences_does_not_matter_to_the_shared_covariance():
    one, model = taught(StreamingLDA(), stream_of())
    other, again = taught(StreamingLDA(), stream_of(order=(2, 0, 1)))
    np.testing.assert_allclose(one.scatter, other.scatter, atol=1e-12)
    samples = stream_of()[1].test
    np.testing.assert_allclose(one.logits(model, samples, 1), other.logits(again, samples, 2), rtol=1e-4, atol=1e-4)


def test_classes_not_seen_are_never_answered():
    strategy, model = taught(NearestMean(), stream_of(), upto=1)
    said = strategy.logits(model, stream_of()[2].test, 2).argmax(axis=1)
    assert set(said.tolist()) <= {0, 1}


def test_told_the_task_class_means_forget_nothing():
    stream = stream_of("task")
    outcome = run_stream(stream, NearestMean(), make_for(stream), RECIPE)
    assert outcome.forgetting == outcome.backward_transfer == 0
    assert outcome.average_accuracy > 60
    assert outcome.matrix[-1].tolist() == outcome.within.tolist()


def test_memory_is_that_of_the_means_and_of_one_covariance():
    strategy, model = taught(NearestMean(), stream_of())
    dim = model.backbone.dim
    assert strategy.memory() == 6 * dim * 8
    assert strategy.parameters_used(model) == sum(p.numel() for p in model.backbone.parameters())
    assert taught(StreamingLDA(), stream_of())[0].memory() == (6 * dim + dim * dim) * 8


def test_a_second_stream_starts_from_nothing():
    strategy, _ = taught(StreamingLDA(), stream_of())
    taught(strategy, stream_of(), upto=1)
    assert strategy.labels.tolist() == [0, 1]
    assert strategy.count == 30


# ---- linear discriminant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [0.01, 0.3])
def test_streaming_lda_is_scikit_learns_on_everything_at_once(shrinkage):
    """Same means, same pooled covariance; scikit-learn adds the logarithm of how frequent a class is."""
    stream = stream_of()
    strategy, model = taught(StreamingLDA(shrinkage), stream)
    x = np.concatenate([embedded(model, e.train) for e in stream.experiences])
    y = np.concatenate([e.train.labels.numpy() for e in stream.experiences])
    known = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=None).fit(x[:, :8], y)  # shrunk by hand below
    residuals = np.concatenate([x[y == label] - x[y == label].mean(axis=0) for label in range(6)])
    covariance = residuals.T @ residuals / len(x)
    np.testing.assert_allclose(covariance[:8, :8], known.covariance_, atol=1e-12)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / len(covariance) * np.eye(x.shape[1])
    inverse = np.linalg.inv(covariance)
    for number, experience in enumerate(stream.experiences):
        held_out = embedded(model, experience.test)
        found = strategy.logits(model, experience.test, number)
        for label in range(6):
            mean = x[y == label].mean(axis=0)
            want = held_out @ inverse @ mean - 0.5 * mean @ inverse @ mean
            np.testing.assert_allclose(found[:, label], want, rtol=1e-3, atol=1e-3)


def test_scores_are_scikit_learns_decision_function():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(90, 5)), np.arange(90) % 3
    x[:, 0] += y
    x[:, 1] += 2 * x[:, 0]
    strategy = StreamingLDA(1e-12)
    strategy.before_stream(stream_of(), make_for(stream_of()), 0)
    for some in (y == 0, y > 0):
        strategy.take_in(torch.from_numpy(x[some]), torch.from_numpy(y[some]))
    want = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)
    found = strategy.scores(torch.from_numpy(x)).numpy() - np.log(3)
    np.testing.assert_allclose(found, want.decision_function(x), atol=1e-6)


# ---- streams of real domains -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_solar_cells_come_in_two_kinds():
    stream = study.stream_of("solar cells", 0)
    assert [e.name for e in stream.experiences] == ["mono", "poly"]
    assert stream.scenario == "domain"
    for number, experience in enumerate(stream.experiences):
        rows = [set(experience.split(split).rows.tolist()) for split in ("train", "validation", "test")]
        assert len(set.union(*rows)) == sum(map(len, rows))
        assert set(experience.train.extra["experience"].tolist()) == {number}
        assert experience.train.inputs.shape[1:] == (1, study.CELLS, study.CELLS)
    mono, poly = (set(e.train.rows.tolist()) for e in stream.experiences)
    assert not mono & poly


@pytest.mark.slow
def test_sentences_come_from_four_domains():
    stream = study.stream_of("sentiment", 0)
    assert len(stream) == 4
    assert all(len(e.split(s)) <= study.SENTENCES for e in stream.experiences for s in ("train", "validation", "test"))
    assert all(set(e.train.labels.tolist()) == {0, 1} for e in stream.experiences)
    assert study.stream_of("sentiment", 0) is stream


@pytest.mark.parametrize("strategy", study.STRATEGIES)
def test_every_strategy_of_the_studies_can_be_made(strategy):
    if strategy in study.WEIGHTED:
        usual, make = study.WEIGHTED[strategy]
        assert make(usual).name == strategy
    else:
        assert study.PLAIN[strategy]().name == strategy


@pytest.mark.slow
def test_a_domain_stream_of_one_domain_has_nothing_to_forget():
    from tl_helpers.data import load_task

    stream = domain_stream([load_task("mnist5k", seed=0)], most=60)
    outcome = run_stream(stream, NearestMean(), make_for(stream), RECIPE)
    assert outcome.forgetting == 0
    assert outcome.matrix.shape == (1, 1)
