"""Episodes, heads and episodic losses against slow direct formulas, and SetFit's pairs and training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from tl_helpers import fewshot, heads, runtime
from tl_helpers.data import Samples
from tl_helpers.fewshot import EpisodeSampler
from tl_helpers.heads import HEADS
from tl_helpers.models import load_backbone


@pytest.fixture
def episode_features():
    random = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    return random.normal(size=(9, 6)) + labels[:, None], labels, random.normal(size=(7, 6)) + 1


def tensors(*arrays):
    return tuple(map(torch.from_numpy, arrays))


# ---- episodes ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    classes=st.integers(2, 7), each=st.integers(2, 9), shots=st.integers(1, 4), queries=st.integers(1, 4),
    seed=st.integers(0, 5), number=st.integers(0, 50), data=st.data(),
)  # fmt: skip
def test_an_episode_is_what_it_says(classes, each, shots, queries, seed, number, data):
    ways = data.draw(st.integers(2, classes))
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(classes) * 3, each))
    if shots + queries > each:
        with pytest.raises(ValueError, match=r"needs .* samples of each class"):
            EpisodeSampler(labels, ways=ways, shots=shots, queries=queries, seed=seed)
        return
    sampler = EpisodeSampler(labels, ways=ways, shots=shots, queries=queries, seed=seed)
    episode = sampler[number]
    used = np.concatenate([episode.support, episode.query])
    assert len(used) == len(set(used.tolist())) == ways * (shots + queries)
    assert len(set(episode.classes.tolist())) == ways == episode.ways
    for rows, numbers in ((episode.support, episode.support_labels), (episode.query, episode.query_labels)):
        np.testing.assert_array_equal(episode.classes[numbers], labels[rows])
    np.testing.assert_array_equal(np.bincount(episode.support_labels), [shots] * ways)
    np.testing.assert_array_equal(np.bincount(episode.query_labels), [queries] * ways)


def test_episodes_depend_on_seed_and_number_only():
    labels = np.repeat(np.arange(6), 8)
    sampler = EpisodeSampler(labels, ways=3, shots=2, queries=3, seed=4)
    later = sampler[9]
    again = list(EpisodeSampler(labels, ways=3, shots=2, queries=3, seed=4).take(2, start=8))[1]
    np.testing.assert_array_equal(later.support, again.support)
    other = EpisodeSampler(labels, ways=3, shots=2, queries=3, seed=5)[9]
    assert not np.array_equal(later.support, other.support)


def test_all_classes_and_samples_are_drawn_in_the_long_run():
    labels = np.repeat(np.arange(5), 6)
    counts, rows = np.zeros(5), set()
    for episode in EpisodeSampler(labels, ways=2, shots=1, queries=1).take(500):
        counts[episode.classes] += 1
        rows |= set(episode.support.tolist())
    assert len(rows) == 30
    assert abs(counts / 500 - 0.4).max() < 0.08


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ways": 1}, "ways=1: an episode needs 2"),
        ({"shots": 0}, "shots=0: an episode needs 1"),
        ({"queries": 0}, "queries=0"),
        ({"ways": 5}, r"5 ways, but there are 4 classes"),
        ({"shots": 4, "queries": 3}, r"needs 4 \+ 3 samples of each class, but class 0 has 6"),
        ({"labels": np.zeros(9, dtype=int)}, "there is 1 class to draw from"),
        ({"labels": np.zeros((0,), dtype=int)}, "one class number for each sample"),
    ],
)
def test_episodes_that_cannot_be_say_why(change, words):
    wanted = {"labels": np.repeat(np.arange(4), 6), "ways": 2, "shots": 2, "queries": 3} | change
    with pytest.raises(ValueError, match=words):
        EpisodeSampler(wanted.pop("labels"), **wanted)


def test_negative_episodes_do_not_exist():
    with pytest.raises(IndexError, match="numbered from 0"):
        EpisodeSampler(np.repeat(np.arange(3), 6), ways=2, shots=1, queries=1)[-1]


def test_the_score_is_the_mean_over_episodes_with_its_interval():
    labels = np.repeat(np.arange(4), 10)
    features = np.eye(4)[labels] + np.random.default_rng(0).normal(scale=0.7, size=(40, 4))
    sampler = EpisodeSampler(labels, ways=3, shots=2, queries=5, seed=1)
    found = fewshot.score_episodes(heads.nearest_centroid, features, sampler, count=50)
    by_hand = []
    for episode in sampler.take(50):
        means = [features[episode.support[episode.support_labels == way]].mean(axis=0) for way in range(3)]
        answers = [int(np.argmin([np.sum((features[row] - mean) ** 2) for mean in means])) for row in episode.query]
        by_hand.append(100 * np.mean(np.array(answers) == episode.query_labels))
    np.testing.assert_allclose(found.episodes, by_hand)
    assert found.accuracy == pytest.approx(np.mean(by_hand))
    assert found.half_width == pytest.approx(2.0096 * np.std(by_hand, ddof=1) / 50**0.5, rel=1e-3)  # t for 49 degrees
    assert "over 50 episodes" in str(found)


def test_nan_features_are_refused():
    sampler = EpisodeSampler(np.repeat(np.arange(3), 6), ways=2, shots=1, queries=1)
    with pytest.raises(ValueError, match="NaN"):
        fewshot.score_episodes(heads.ridge, np.full((18, 2), np.nan), sampler, count=3)


# ---- heads -------------------------------------------------------------------------------------------------------------


def test_centroids_and_soft_neighbours_agree_with_direct_formulas(episode_features):
    support, labels, query = episode_features
    means = np.stack([support[labels == way].mean(axis=0) for way in range(3)])
    direct = [[-sum((q[d] - m[d]) ** 2 for d in range(6)) for m in means] for q in query]
    np.testing.assert_allclose(heads.nearest_centroid(*tensors(support, labels, query)), direct, rtol=0, atol=1e-6)

    def cosine(a, b):
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    unit_means = [np.mean([s / np.linalg.norm(s) for s in support[labels == way]], axis=0) for way in range(3)]
    direct = [[cosine(q, m) for m in unit_means] for q in query]
    np.testing.assert_allclose(heads.cosine_centroid(*tensors(support, labels, query)), direct, rtol=0, atol=1e-6)

    direct = []
    for q in query:
        weights = np.array([np.exp(10 * cosine(q, s)) for s in support])
        direct.append([np.log(weights[labels == way].sum() / weights.sum()) for way in range(3)])
    np.testing.assert_allclose(heads.matching(*tensors(support, labels, query)), direct, rtol=0, atol=1e-6)


def test_ridge_agrees_with_scikit_learn(episode_features):
    support, labels, query = episode_features
    scale = np.linalg.norm(support - support.mean(axis=0), axis=1).mean()
    peer = Ridge(alpha=0.3).fit(support / scale, np.eye(3)[labels]).predict(query / scale)
    np.testing.assert_allclose(heads.ridge(*tensors(support, labels, query), strength=0.3), peer, rtol=0, atol=1e-6)


def test_refined_centroids_agree_with_a_slow_loop(episode_features):
    support, labels, query = episode_features
    means = [support[labels == way].mean(axis=0) for way in range(3)]
    unit = np.mean([[np.sum((q - m) ** 2) for m in means] for q in query])
    for _ in range(2):
        shares = []
        for q in query:
            weights = np.exp([-5 * np.sum((q - m) ** 2) / unit for m in means])
            shares.append(weights / weights.sum())
        shares = np.array(shares)
        means = [
            (support[labels == way].sum(axis=0) + sum(shares[k, way] * query[k] for k in range(len(query))))
            / ((labels == way).sum() + shares[:, way].sum())
            for way in range(3)
        ]
    direct = [[-np.sum((q - m) ** 2) for m in means] for q in query]
    episode = tensors(support, labels, query)
    found = heads.refined_centroid(*episode, steps=2, scale=5)
    np.testing.assert_allclose(found, direct, rtol=0, atol=1e-6)
    np.testing.assert_allclose(heads.refined_centroid(*episode, steps=0), heads.nearest_centroid(*episode))


def test_the_cosine_classifier_starts_at_the_class_means_and_lowers_its_loss(episode_features):
    support, labels, query = tensors(*episode_features)
    start = heads.cosine_classifier(support, labels, query, steps=0)
    np.testing.assert_allclose(start, 10 * heads.cosine_centroid(support, labels, query), atol=1e-6)

    def loss(steps):
        scores = heads.cosine_classifier(support, labels, support, steps=steps)
        return float(torch.nn.functional.cross_entropy(scores, labels))

    assert loss(50) < loss(0)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_finds_classes_that_lie_apart_and_says_what_it_cannot_use(name, episode_features):
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(4), 3)
    centres = 5 * np.eye(4, 8)
    support, asked = centres[labels] + random.normal(size=(12, 8)), centres[labels] + random.normal(size=(12, 8))
    support, labels, asked = tensors(support, labels, asked)
    scores = HEADS[name](support, labels, asked)
    assert scores.shape == (12, 4)
    assert (scores.argmax(dim=1) == labels).double().mean() > 0.9
    two = labels < 2
    assert HEADS[name](support[two], labels[two], asked[two]).shape == (6, 2)
    with pytest.raises(ValueError, match="one class only"):
        HEADS[name](support, torch.zeros(12, dtype=torch.int64), asked)
    with pytest.raises(ValueError, match="from 0 to n - 1"):
        HEADS[name](support, labels + 1, asked)
    with pytest.raises(ValueError, match="equally many columns"):
        HEADS[name](support, labels, asked[:, :3])
    with pytest.raises(ValueError, match="give one for each"):
        HEADS[name](support, labels[:5], asked)
    with pytest.raises(ValueError, match="NaN"):
        HEADS[name](support.masked_fill(support > 4, torch.nan), labels, asked)


def test_only_the_transductive_head_lets_queries_see_each_other(episode_features):
    support, labels, query = tensors(*episode_features)
    for name, head in HEADS.items():
        alone, together = head(support, labels, query[:1]), head(support, labels, query)[:1]
        assert np.allclose(alone, together) == (name != "refined centroid"), name


def test_centring_is_done_with_the_given_mean(episode_features):
    support, labels, query = episode_features
    mean = np.arange(6.0)

    def unit(x):
        return (x - mean) / np.linalg.norm(x - mean, axis=1, keepdims=True)

    np.testing.assert_allclose(
        heads.centred(heads.nearest_centroid, torch.from_numpy(mean))(*tensors(support, labels, query)),
        heads.nearest_centroid(*tensors(unit(support), labels, unit(query))),
    )


def test_wrong_strengths_and_steps_are_refused(episode_features):
    with pytest.raises(ValueError, match="above 0"):
        heads.ridge(*tensors(*episode_features), strength=0)
    with pytest.raises(ValueError, match="steps=-1"):
        heads.refined_centroid(*tensors(*episode_features), steps=-1)


# ---- networks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [*fewshot.networks.LOGITS.values(), heads.ridge])
def test_the_gradients_that_training_takes_through_a_head_are_right(head, episode_features):
    """The formulas of the scores themselves are tested above: training and evaluation share the function."""
    support, labels, query = tensors(*episode_features)
    given = support.requires_grad_(), query.requires_grad_()
    assert torch.autograd.gradcheck(lambda support, query: head(support, labels, query), given)


@pytest.fixture
def shapes():
    """Six classes of bars at different places, 12 noisy images each."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, size=(72, 1, 28, 28))
    labels = np.repeat(np.arange(6), 12)
    for image, label in zip(images, labels, strict=True):
        image[0, 4 * label : 4 * label + 4] += 150
    return Samples(
        "bars", torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels), tuple("abcdef"), np.arange(72)
    )


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TL_CACHE", str(tmp_path))
    runtime.current.cache_clear()
    yield
    runtime.current.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["prototypical", "matching"])
def test_episodic_training_learns_is_deterministic_and_is_remembered(kind, shapes, own_cache):
    def network():
        return load_backbone("conv4", pretrained=False, seed=1)

    wanted = {"kind": kind, "ways": 4, "shots": 2, "queries": 3, "episodes": 30, "lr": 5e-3, "seed": 2}
    one, two, three = network(), network(), network()
    run = fewshot.train_episodic(one, shapes, shapes, **wanted)
    assert run.losses[-5:].mean() < run.losses[:5].mean()
    assert [number for number, _ in run.validation] == [8, 15, 22, 30]
    assert fewshot.train_episodic(two, shapes, shapes, **wanted).seconds == run.seconds  # from the cache
    torch.random.manual_seed(99)  # the global random state must not matter
    again = fewshot.train_episodic(three, shapes, shapes, **wanted, fresh=True)
    np.testing.assert_array_equal(again.losses, run.losses)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
        assert torch.equal(value, three.state_dict()[name])


def test_episodic_training_refuses_what_cannot_be(shapes, own_cache):
    backbone = load_backbone("conv4", pretrained=False)
    for change, words in (
        ({"kind": "relation"}, "Unknown kind"),
        ({"episodes": 0}, "episodes=0"),
        ({"lr": 0.0}, "a rate above 0"),
        ({"ways": 7}, "7 ways, but there are 6 classes"),
        ({"shots": 10}, "samples of each class"),
    ):
        with pytest.raises(ValueError, match=words):
            fewshot.train_episodic(backbone, shapes, **({"ways": 3, "shots": 1, "queries": 3, "episodes": 2} | change))


def test_a_diverging_network_is_stopped(shapes, own_cache):
    from tl_helpers.training import TrainingDiverged

    backbone = load_backbone("conv4", pretrained=False)
    with torch.no_grad():
        next(backbone.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="Lower the learning rate"):
        fewshot.train_episodic(backbone, shapes, ways=3, shots=1, queries=3, episodes=2)


def test_fine_tuning_an_episode_learns_and_leaves_the_backbone_alone(shapes):
    backbone = load_backbone("conv4", pretrained=False, seed=0).eval()
    before = copy.deepcopy(backbone.state_dict())
    episode = EpisodeSampler(shapes.labels, ways=3, shots=4, queries=5)[0]
    few = fewshot.fine_tuned(backbone, shapes, episode, steps=0)
    with torch.inference_mode():
        known, asked = (backbone(backbone.prepare(shapes.inputs[rows])) for rows in (episode.support, episode.query))
    answers = heads.nearest_centroid(known, torch.from_numpy(episode.support_labels), asked).argmax(dim=1)
    np.testing.assert_array_equal(few.argmax(axis=1), answers)
    many = fewshot.fine_tuned(backbone, shapes, episode, steps=40)
    assert few.shape == many.shape == (15, 3)
    assert (many.argmax(axis=1) == episode.query_labels).mean() > 0.8
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    with pytest.raises(ValueError, match="steps=-1"):
        fewshot.fine_tuned(backbone, shapes, episode, steps=-1)


def test_turned_classes_are_quarter_turns_of_the_old_ones(shapes):
    turned = fewshot.with_turned_classes(shapes)
    assert len(turned.classes) == 24
    assert len(turned) == 4 * len(shapes)
    for quarter in range(4):
        rows = slice(72 * quarter, 72 * (quarter + 1))
        assert torch.equal(turned.inputs[rows], torch.rot90(shapes.inputs, quarter, dims=(2, 3)))
        assert torch.equal(turned.labels[rows], shapes.labels + 6 * quarter)


# ---- SetFit ------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 2), min_size=3, max_size=12), count=st.integers(2, 60), seed=st.integers(0, 3))
def test_pairs_are_of_one_class_or_of_two_half_and_half(labels, count, seed):
    if len(set(labels)) < 2 or max(np.bincount(labels)) < 2:
        with pytest.raises(ValueError, match=r"Only one class|One sentence a class"):
            fewshot.pairs_of(labels, count=count, seed=seed)
        return
    pairs = fewshot.pairs_of(labels, count=count, seed=seed)
    assert len(pairs) == count
    assert sum(target for *_, target in pairs) == count - count // 2
    for one, other, target in pairs:
        assert one < other
        assert (labels[one] == labels[other]) == bool(target)
    for target in (0.0, 1.0):  # none twice before all were there once
        mine = [(a, b) for a, b, t in pairs if t == target]
        every = [
            (a, b)
            for a in range(len(labels))
            for b in range(a + 1, len(labels))
            if (labels[a] == labels[b]) == bool(target)
        ]
        assert len(set(mine)) == min(len(mine), len(every))
    assert pairs == fewshot.pairs_of(labels, count=count, seed=seed)


@pytest.mark.parametrize("shown", [True, False])
def test_loading_the_sentence_encoder_leaves_no_bar_in_the_page(capfd, shown):
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    try:
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
        fewshot.sentence_encoder()
        assert logging.is_progress_bar_enabled() == shown
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()
    assert "Loading weights" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_the_sentence_encoder_has_the_weights_of_minilm():
    from tl_helpers.data.text import encode_texts

    texts = ["a fine day", "the film was far too long, and dull"]
    ours = load_backbone("minilm").eval()
    with torch.inference_mode():
        mean = ours(ours.prepare(encode_texts(texts)))
    encoder = fewshot.sentence_encoder()
    theirs = encoder.encode(texts)
    np.testing.assert_allclose(torch.nn.functional.normalize(mean, dim=1), theirs, atol=1e-5)


@pytest.mark.slow
def test_setfit_moves_classes_apart_and_is_deterministic():
    texts = ["good", "great", "lovely", "bad", "awful", "horrid"]
    labels = [1, 1, 1, 0, 0, 0]

    def gap(encoder):
        x = encoder.encode(texts)
        cosines = x @ x.T
        return float(cosines[:3, :3].mean() + cosines[3:, 3:].mean() - 2 * cosines[:3, 3:].mean())

    encoder, again = fewshot.sentence_encoder(), fewshot.sentence_encoder()
    before = gap(encoder)
    losses = fewshot.setfit(encoder, texts, labels, iterations=3, batch_size=6, lr=1e-4, seed=3)
    assert gap(encoder) > before
    torch.random.manual_seed(7)
    assert fewshot.setfit(again, texts, labels, iterations=3, batch_size=6, lr=1e-4, seed=3) == losses


def test_setfit_refuses_what_cannot_be():
    encoder = fewshot.sentence_encoder()
    for texts, labels, words in (
        (["a", "b"], [0], "2 texts, but 1 labels"),
        (["a", " "], [0, 1], "Text 1 is empty"),
        (["a", "b", "c"], [0, 0, 0], "Only one class"),
        (["a", "b"], [0, 1], "One sentence a class"),
    ):
        with pytest.raises(ValueError, match=words):
            fewshot.setfit(encoder, texts, labels)
    with pytest.raises(ValueError, match="rate above 0"):
        fewshot.setfit(encoder, ["a", "b", "c"], [0, 0, 1], lr=-1)


def test_the_first_shots_stay_when_more_are_drawn():
    from tl_helpers.book.studies.few_shot import drawn

    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], 9))
    few, many = drawn(labels, 2, seed=3), drawn(labels, 5, seed=3)
    assert set(few) < set(many)
    np.testing.assert_array_equal(np.bincount(labels[many]), [5, 5, 5])
    assert set(drawn(labels, 2, seed=4)) != set(few)
    with pytest.raises(ValueError, match="10 shots, but class 0 has 9"):
        drawn(labels, 10, seed=3)
