"""Zero-shot: each formula against slow direct loops, each refusal with its reason, CLIP on a tiny random model."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import skew
from sklearn.linear_model import Ridge

from tl_helpers import zeroshot
from tl_helpers.book.studies import accented_letters, zero_shot_arms
from tl_helpers.book.studies import zero_shot as study
from tl_helpers.data import Samples
from tl_helpers.data.text import encode_texts
from tl_helpers.models import load_imagenet_classifier

pytestmark = pytest.mark.usefixtures("decoded_once")


def cloud(n: int, d: int = 5, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def shares(n: int, s: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(s), size=n)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sentences(*texts: str) -> Samples:
    return Samples(
        "texts", encode_texts(texts), torch.zeros(len(texts), dtype=torch.int64), ("x",), np.arange(len(texts))
    )


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_names_in_a_template():
    assert zeroshot.fill("a photo of a {}", ["cat"]) == ["a photo of a cat"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: zeroshot.check_names([]), "0 labels"),
        (lambda: zeroshot.check_names(["cat"]), "two or more"),
        (lambda: zeroshot.check_names("cat"), "list of names"),
        (lambda: zeroshot.check_names(["cat", " "]), "label 2 of 2 is empty"),
        (lambda: zeroshot.check_names(["cat", "dog", "CAT "]), "twice"),
        (lambda: zeroshot.check_split(["cat", "dog"], ["Dog"]), "both seen and unseen"),
        (lambda: zeroshot.fill("a photo", ["cat"]), "once"),
        (lambda: zeroshot.embed_texts(["cat", " "]), "text 2 is empty"),
        (lambda: zeroshot.embed_texts([]), "no texts"),
        (lambda: zeroshot.embed_labels(["cat", "dog"], []), "no template"),
        (lambda: zeroshot.cosine(np.full((2, 3), np.nan), cloud(2, 3)), "NaN"),
        (lambda: zeroshot.cosine(cloud(2, 3), np.full((2, 3), np.inf)), "label embeddings hold NaN"),
        (lambda: zeroshot.cosine(cloud(2, 4), cloud(2, 3)), "different spaces"),
        (lambda: zeroshot.cosine(cloud(0, 3), cloud(2, 3)), "from 1 on"),
        (lambda: zeroshot.conse(cloud(3, 4), cloud(4)), "softmax"),
        (lambda: zeroshot.conse(shares(3, 4), cloud(5)), "4 source classes"),
        (lambda: zeroshot.conse(shares(3, 4), cloud(4), top=5), "from 1 to 4"),
        (lambda: zeroshot.ridge_map(cloud(3), cloud(4)), "3 samples but 4"),
        (lambda: zeroshot.ridge_map(cloud(1), cloud(1)), "two or more"),
        (lambda: zeroshot.ridge_map(cloud(3), cloud(3), strength=0), "above 0"),
        (lambda: zeroshot.ridge_map(cloud(3), cloud(3))(cloud(2, 4)), "trained on 5"),
        (lambda: zeroshot.ranking_map(cloud(3), cloud(1), [0, 0, 0]), "two names"),
        (lambda: zeroshot.eszsl_map(cloud(3), cloud(3), [0, 1, 3]), "run from 0 to 3"),
        (lambda: zeroshot.eszsl_map(cloud(3), cloud(3), [0, 1, 2], signature_strength=0), "both above 0"),
        (lambda: accented_letters.learned("magic", cloud(3), np.arange(3), (1,)), "magic"),
        (lambda: zeroshot.ranking_map(cloud(3), cloud(3), [0, 1, 3]), "run from 0 to 3"),
        (lambda: zeroshot.ranking_map(cloud(3), cloud(3), [0, 1, 2], margin=0), "no loss"),
        (lambda: zeroshot.ranks(cloud(3), np.array([0, 1])), "3 samples"),
        (lambda: zeroshot.ranks(cloud(3), np.array([0, 1, 5])), "5 labels"),
        (lambda: zeroshot.occurrences(cloud(3), 6), "from 1 to 5"),
        (lambda: zeroshot.inverted_softmax(cloud(3), cloud(3, 4)), "bank"),
        (lambda: zeroshot.inverted_softmax(cloud(3), beta=0), "above 0"),
        (lambda: zeroshot.csls(cloud(3), k=4), "from 1 to 3"),
        (lambda: zeroshot.harmonic_mean(-1, 2), "below 0"),
        (lambda: zeroshot.generalised(cloud(2), np.array([0, 1]), np.ones(5, bool)), "needs both"),
        (lambda: zeroshot.generalised(cloud(2), np.array([0, 1]), np.ones(5)), "True or False"),
        (lambda: zeroshot.probabilities(cloud(2), 0), "above 0"),
        (lambda: zeroshot.probabilities_of(cloud(2)), "1280"),
        (lambda: study.split_concepts(0, seen=5000), "of 1377"),
        (lambda: study.make_scorer("magic", "twemoji", np.arange(3), 1, size=96, layer="stage7", seed=0), "magic"),
    ],
)
def test_what_cannot_be_says_why(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_texts_are_embedded_once_with_length_one(own_cache):
    first = zeroshot.embed_texts(["a cat", "a dog", "income tax"])
    assert first.shape == (3, 384)
    assert first.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert len(list((own_cache / "features").glob("*"))) == 1
    np.testing.assert_array_equal(zeroshot.embed_texts(["a cat", "a dog", "income tax"]), first)
    assert len(list((own_cache / "features").glob("*"))) == 1
    assert first[0] @ first[1] > first[0] @ first[2]


def test_templates_are_averaged():
    one, other = (zeroshot.embed_labels(["cat", "dog"], template) for template in ("a {}", "the {} here"))
    both = zeroshot.embed_labels(["cat", "dog"], ["a {}", "the {} here"])
    np.testing.assert_allclose(both, (one + other) / np.linalg.norm(one + other, axis=1, keepdims=True), atol=1e-6)


def test_nearest_text():
    model = zeroshot.nearest_text()
    samples = sentences("I love this film, it is wonderful.", "The engine of the car is broken.")
    assert model.predict(samples, ["movies", "vehicles"]).tolist() == [0, 1]
    assert model.scores(samples, ["movies", "vehicles", "food"], "about {}").shape == (2, 3)


# ---- maps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [1, 3, 6])
def test_conse_term_by_term(top):
    p, labels = shares(7, 6), cloud(6)
    for row, found in zip(p, zeroshot.conse(p, labels, top=top), strict=True):
        best = sorted(range(6), key=lambda k: -row[k])[:top]
        want = sum(row[k] * labels[k] for k in best) / sum(row[k] for k in best)
        np.testing.assert_allclose(found, want, atol=1e-9)


@pytest.mark.parametrize("p", [4, 30])
def test_ridge_is_scikit_learns(p):
    x, targets = cloud(20, p) * 3 + 1, cloud(20, 3, seed=1)
    centred = x - x.mean(axis=0)
    peer = Ridge(alpha=0.3 * np.mean(np.sum(centred**2, axis=1))).fit(x, targets)
    new = cloud(5, p, seed=2)
    np.testing.assert_allclose(zeroshot.ridge_map(x, targets, strength=0.3)(new), peer.predict(new), atol=1e-6)


@pytest.mark.parametrize("p", [4, 30])
def test_eszsl_by_its_equation(p):
    """With a matrix Y of ones and zeros; minus ones, as in the paper, give twice that, as the features are centred."""
    x, signatures, own = cloud(20, p) * 2 + 1, cloud(6, 3, seed=1), np.random.default_rng(2).integers(0, 6, 20)
    centred, y = x - x.mean(axis=0), np.eye(6)[own]
    gamma = 0.3 * np.mean(np.sum(centred**2, axis=1)) * np.eye(p)
    lam = 0.7 * np.mean(np.sum(signatures**2, axis=1)) * np.eye(3)
    inverse = np.linalg.inv
    found = zeroshot.eszsl_map(x, signatures, own, strength=0.3, signature_strength=0.7)
    for targets, times in ((y, 1), (2 * y - 1, 2)):
        want = inverse(centred.T @ centred + gamma) @ centred.T @ targets @ signatures
        want = want @ inverse(signatures.T @ signatures + lam)
        np.testing.assert_allclose(times * found.weight, want, atol=1e-8)
        np.testing.assert_allclose(times * found(x), centred @ want, atol=1e-8)


def test_ranking_loss_term_by_term():
    v, t, own = cloud(4), cloud(3, seed=1), [2, 0, 1, 2]
    want = np.mean(
        [sum(max(0.0, 0.3 - t[y] @ x + t[j] @ x) for j in range(3) if j != y) for x, y in zip(v, own, strict=True)]
    )
    found = zeroshot.ranking_loss(*map(torch.from_numpy, (v, t)), torch.tensor(own), margin=0.3)
    assert found.item() == pytest.approx(want, abs=1e-9)


def test_ranking_map_learns_and_repeats_itself():
    turn = np.linalg.qr(cloud(8, 8))[0]
    names = unit(cloud(60, 8, seed=1))
    x = names @ turn
    state = torch.random.get_rng_state()
    one = zeroshot.ranking_map(x[:40], names[:40], np.arange(40), steps=400, lr=0.02, seed=3)
    torch.manual_seed(99)
    again = zeroshot.ranking_map(x[:40], names[:40], np.arange(40), steps=400, lr=0.02, seed=3)
    np.testing.assert_array_equal(one.weight, again.weight)
    torch.random.set_rng_state(state)
    found = zeroshot.accuracy(zeroshot.cosine(one(x[40:]), names[40:]), np.arange(20))
    assert found > 60  # chance is 5
    assert not np.array_equal(
        one.weight, zeroshot.ranking_map(x[:40], names[:40], np.arange(40), steps=400, lr=0.02, seed=4).weight
    )


# ---- scores ----------------------------------------------------------------------------------------------------------


def test_ranks_and_accuracy_by_hand():
    s = np.array([[0.9, 0.1, 0.5], [0.2, 0.2, 0.1], [0.3, 0.1, 0.2]])
    assert zeroshot.ranks(s, np.array([2, 0, 1])).tolist() == [1, 1, 2]  # a tie counts against
    assert zeroshot.accuracy(s, np.array([2, 0, 1]), 2) == pytest.approx(200 / 3)
    assert zeroshot.chance(200) == 0.5
    assert zeroshot.chance(3, 5) == 100


def test_occurrences_and_their_skewness():
    s = cloud(30, 8)
    want = [sum(j in sorted(range(8), key=lambda k: -row[k])[:3] for row in s) for j in range(8)]
    assert zeroshot.occurrences(s, 3).tolist() == want
    assert zeroshot.hubness(s, 3) == pytest.approx(skew(want))


@pytest.mark.parametrize("own", [True, False])
def test_inverted_softmax_term_by_term(own):
    s = cloud(6, 4)
    bank = s if own else cloud(9, 4, seed=1)
    found = zeroshot.inverted_softmax(s, None if own else bank, beta=2.5)
    for i, j in np.ndindex(6, 4):
        want = np.exp(2.5 * s[i, j]) / sum(np.exp(2.5 * bank[n, j]) for n in range(len(bank)))
        assert np.exp(found[i, j]) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("own", [True, False])
def test_csls_term_by_term(own):
    s = cloud(6, 4)
    bank = s if own else cloud(9, 4, seed=1)
    found = zeroshot.csls(s, None if own else bank, k=2)
    for i, j in np.ndindex(6, 4):
        of_sample = np.mean(sorted(s[i])[-2:])
        of_label = np.mean(sorted(bank[:, j])[-2:])
        assert found[i, j] == pytest.approx(2 * s[i, j] - of_sample - of_label, abs=1e-6)


def test_globally_corrected_puts_the_rank_first():
    s = cloud(6, 4)
    found = zeroshot.globally_corrected(s)
    for i in range(6):
        rank = [sum(s[n, j] > s[i, j] for n in range(6)) for j in range(4)]
        assert found[i].argmax() == min(range(4), key=lambda j: (rank[j], -s[i, j]))


def test_corrections_tame_a_hub():
    names = unit(cloud(40, 10))
    s = unit(names + 0.25 * cloud(40, 10, seed=1)) @ names.T
    s[:, 7] += 1.0  # near to everything
    assert zeroshot.occurrences(s)[7] > 30
    for corrected in (zeroshot.inverted_softmax(s), zeroshot.csls(s), zeroshot.globally_corrected(s)):
        assert zeroshot.hubness(corrected) < zeroshot.hubness(s)
        assert zeroshot.accuracy(corrected, np.arange(40)) > zeroshot.accuracy(s, np.arange(40)) + 20


def test_generalised_is_a_mean_over_labels_and_their_harmonic_mean():
    s = np.eye(4)[[0, 0, 1, 2, 2, 3, 0]] + 0.0
    truth, seen = np.array([0, 0, 0, 2, 2, 3, 3]), np.array([True, True, False, False])
    found = zeroshot.generalised(s, truth, seen)
    assert found["seen_accuracy"] == pytest.approx(100 * 2 / 3)
    assert found["unseen_accuracy"] == pytest.approx(100 * (1 + 0.5) / 2)
    a, b = found["seen_accuracy"], found["unseen_accuracy"]
    assert found["harmonic_accuracy"] == pytest.approx(1 / ((1 / a + 1 / b) / 2), abs=1e-6)
    assert zeroshot.harmonic_mean(0, 0) == 0


def test_stacking_moves_from_seen_to_unseen():
    names = unit(cloud(40, 10))
    seen = np.arange(40) < 20
    s = unit(names + 0.3 * cloud(40, 10, seed=1)) @ names.T + 0.4 * seen
    np.testing.assert_array_equal(zeroshot.stacked(s, seen, 0.4)[:, :20], s[:, :20] - 0.4)
    gammas = np.linspace(-1, 2, 13)
    curve = zeroshot.seen_unseen_curve(s, np.arange(40), seen, gammas)
    assert all(a["seen_accuracy"] >= b["seen_accuracy"] for a, b in itertools.pairwise(curve))
    assert all(a["unseen_accuracy"] <= b["unseen_accuracy"] for a, b in itertools.pairwise(curve))
    best = zeroshot.best_gamma(s, np.arange(40), seen, gammas)
    assert max(row["harmonic_accuracy"] for row in curve) == pytest.approx(
        zeroshot.generalised(zeroshot.stacked(s, seen, best), np.arange(40), seen)["harmonic_accuracy"]
    )


def test_temperature_that_made_the_data_is_found():
    random, s = np.random.default_rng(0), cloud(4000, 6) / 10
    p = zeroshot.probabilities(s, 0.05)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    truth = np.array([random.choice(6, p=row) for row in p])
    found = zeroshot.best_temperature(s, truth)
    assert found == pytest.approx(0.05, rel=0.2)
    assert zeroshot.expected_calibration_error(s, truth, found) < 4
    assert zeroshot.expected_calibration_error(s, truth, 0.005) > 20


# ---- images ----------------------------------------------------------------------------------------------------------


def drawings(n: int = 3) -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, size=(n, 3, 64, 64), dtype=np.uint8)
    return Samples("noise", torch.from_numpy(pixels), torch.zeros(n, dtype=torch.int64), ("x",), np.arange(n))


def test_the_head_on_features_is_the_whole_classifier():
    samples = drawings()
    x = (samples.inputs.float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        want = load_imagenet_classifier()(x).softmax(1).numpy()
    np.testing.assert_allclose(zeroshot.imagenet_probabilities(samples), want, atol=1e-5)
    assert len(zeroshot.IMAGENET_NAMES) == 1000


@pytest.mark.slow
def test_images_behind_the_same_interface():
    samples, names = drawings(), ["goldfish", "hammer", "bicycle"]
    mapping = zeroshot.ridge_map(cloud(10, 1280), cloud(10, 384))
    for model in (zeroshot.by_conse(top=5), zeroshot.by_map(mapping)):
        scores = model.scores(samples, names)
        assert scores.shape == (3, 3)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(model.predict(samples, names), scores.argmax(1))
        with pytest.raises(ValueError, match="twice"):
            model.predict(samples, ["cat", "cat"])
    with pytest.raises(ValueError, match="different spaces"):
        zeroshot.ZeroShot(lambda s: cloud(len(s), 7), zeroshot.embed_labels).scores(samples, names)


def test_clip_needs_a_network_and_says_so():
    with pytest.raises(RuntimeError, match="TL_ONLINE=1"):
        zeroshot.by_clip()


def tiny_clip(folder) -> None:
    """A CLIP with random weights and a vocabulary of letters, saved as the hub's folders are."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    last = len(tokens) - 1
    text = {
        "vocab_size": len(tokens), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 40, "eos_token_id": last, "bos_token_id": last - 1,
    }  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 16}  # fmt: skip
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    tokeniser = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=40)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokeniser).save_pretrained(folder)


def test_clip_from_a_local_folder(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    tiny_clip(folder)
    model = zeroshot.by_clip(folder)
    samples, names = drawings(40), ["goldfish", "hammer", "a bicycle"]
    scores = model.scores(samples, names, ["a photo of a {}", "a drawing of a {}"])
    assert scores.shape == (40, 3)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(
        scores[:5], model.scores(samples.take(range(5)), names, ["a photo of a {}", "a drawing of a {}"]), atol=1e-5
    )
    assert not np.allclose(scores, model.scores(samples, names))  # the template counts
    grey = Samples("grey", samples.inputs[:, :1].contiguous(), samples.labels, samples.classes, samples.rows)
    assert model.scores(grey, names).shape == (40, 3)


# ---- the study's concepts --------------------------------------------------------------------------------------------


def test_families_join_what_differs_in_gender_direction_or_hour():
    found = {
        name: study.family(code, name)
        for code, name in (
            ("1F3C3", "runner"), ("1F3C3-200D-2642-FE0F", "man running"), ("1F3C3-200D-2640-FE0F-200D-27A1-FE0F", "right"),
            ("1F468-200D-1F9B0", "man: red hair"), ("1F469-200D-1F9B0", "woman: red hair"), 
            ("1F550", "clock face one oclock"), ("1F551", "clock face two oclock"), ("1F436", "dog face"),
        )
    }  # fmt: skip
    assert found["runner"] == found["man running"] == found["right"]
    assert found["man: red hair"] == found["woman: red hair"] != found["runner"]
    assert found["clock face one oclock"] == found["clock face two oclock"]
    assert len(set(found.values())) == 4


@pytest.mark.slow
def test_splits_share_no_family_and_are_nested():
    known = study.concepts()
    families = np.array([study.family(c, n) for c, n in zip(known.codes, known.names, strict=True)])
    assert len(known.chosen) == len(set(families[known.chosen])) == study.SEEN[-1] + study.UNSEEN
    assert (known.categories[known.chosen] != "Flags").all()
    whole, small, short = (study.split_concepts(3, **s) for s in ({}, {"seen": 50}, {"unseen": 20}))
    for split in (whole, small, short):
        parts = [set(part.tolist()) for part in (split.train, split.validation, split.unseen)]
        assert sum(map(len, parts)) == len(set.union(*parts))
        zeroshot.check_split(known.names[split.seen], known.names[split.unseen])
    assert set(small.seen) <= set(whole.seen)
    assert small.unseen.tolist() == whole.unseen.tolist()
    assert short.unseen.tolist() == whole.unseen[:20].tolist()
    assert set(short.seen) == set(whole.seen)
    assert len(whole.unseen) == 200
    assert len(whole.validation) == 200
    assert len(small.validation) == 10
    assert study.split_concepts(4).unseen.tolist() != whole.unseen.tolist()


def test_choosing_never_looks_at_the_unseen(monkeypatch):
    split = study.split_concepts(0, seen=100)
    asked = []

    def scorer(method, source, rows, setting, **_):
        asked.append(set(rows.tolist()))

        def score(artist, n, of):
            asked.append(set(n.tolist()) | set(of.tolist()))
            return np.eye(len(n)) * setting

        return score

    monkeypatch.setattr(study, "make_scorer", scorer)
    chosen = study.choose("ridge", "twemoji", split)
    assert not set.union(*asked) & set(split.unseen.tolist())
    assert chosen.validation_accuracy == 100
    assert asked[-1] == set(split.seen.tolist())  # trained again on all that is seen


# ---- the arms that chapters run live -----------------------------------------------------------------------------------


def test_a_wording_is_chosen_on_other_domains_and_its_worth_measured_on_the_other_half():
    rows = [
        ("a", "x", 60, 58, 62), ("b", "x", 70, 75, 65), ("a", "y", 50, 50, 50), ("b", "y", 80, 82, 78),
        ("a", "z", 90, 91, 89), ("b", "z", 55, 60, 50),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["wording", "domain", "accuracy", "one_half", "other_half"])
    found = zero_shot_arms.chosen_elsewhere(table)
    assert found["wording"].tolist() == ["a", "a", "b"]
    assert found["accuracy"].tolist() == [60, 50, 55]
    assert found["mean"].tolist() == [65, 65, 72.5]
    assert found["worth"].tolist() == [(3 + 17) / 2, (28 + 32) / 2, (39 + 31) / 2]


def test_seen_and_unseen_compete_for_drawings_that_the_map_has_not_seen():
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(40, 6)))
    x = {artist: vectors + 0.01 * random.normal(size=(40, 6)) for artist in study.ARTISTS}
    train, aside, new = np.arange(30), np.arange(5, 12), np.arange(30, 40)
    scores, truth, seen = zero_shot_arms.generalised_task(x, vectors, train, aside, new)
    assert scores.shape == (17, 40)
    assert truth.tolist() == [*range(5, 12), *range(30, 40)]
    assert seen.tolist() == [True] * 30 + [False] * 10
    changed = x | {"openmoji": np.where(np.isin(np.arange(40), aside)[:, None], 9.0, x["openmoji"])}
    again, *_ = zero_shot_arms.generalised_task(changed, vectors, train, aside, new)
    np.testing.assert_allclose(again[7:], scores[7:])  # what is set aside teaches the map nothing


def test_relatives_are_the_nearest_names():
    vectors = unit(cloud(12, 4))
    found = zero_shot_arms.relatives(vectors, np.arange(8), np.array([9, 11]), each=2)
    nearest = {k for other in (9, 11) for k in np.argsort(-(vectors[:8] @ vectors[other]))[:2]}
    assert set(np.flatnonzero(found)) == nearest


def test_the_controls_rows():
    columns = {"method": ["ridge"], "artist": ["twemoji"], "seen": [50], "seed": [0]}
    for start in ("", "across_"):
        columns |= {f"{start}accuracy{end}": [1.0] for end in ("", "_20", "_50", "_100")}
    found = zero_shot_arms.by_artists(pd.DataFrame(columns))
    assert set(found["artists"]) == {"Twemoji → Twemoji", "Twemoji → OpenMoji"}
    assert sorted(set(found["offered"])) == [20, 50, 100, 200]
    assert len(found) == 8


def test_letters_are_case_letter_and_mark():
    known = accented_letters.letters()
    table = known.table.set_index("character")
    assert table.loc["é", ["case", "letter", "mark"]].tolist() == ["small", "e", "acute"]
    assert table.loc["Ž", "name"] == "latin capital letter z with caron"
    assert "ế" not in table.index  # two marks
    assert (known.attributes.sum(axis=1) == 3).all()
    assert len(np.unique(known.attributes, axis=0)) == len(table)  # no two characters have the same attributes
    one = known.attributes[table.index.get_loc("é")]
    assert {known.columns[k] for k in np.flatnonzero(one)} == {"case: small", "letter: e", "mark: acute"}
    assert known.prints.shape == (len(known.own), 784)
    assert 0 <= known.prints.min() < known.prints.max() <= 1


def test_unseen_letters_are_made_of_parts_that_were_seen():
    known, split = accented_letters.letters(), accented_letters.split_letters(3)
    parts = [set(part.tolist()) for part in (split.train, split.validation, split.unseen)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(known.table)
    assert known.attributes[split.train].any(axis=0).all()
    rows = accented_letters.rows_of(split.unseen[:2])
    assert known.own[rows].tolist() == np.repeat(split.unseen[:2], len(rows) // 2).tolist()


def test_a_choice_among_letters_never_looks_at_the_unseen(monkeypatch):
    split, asked = accented_letters.split_letters(0), []
    rows_of = accented_letters.rows_of
    monkeypatch.setattr(accented_letters, "rows_of", lambda some: asked.append(set(some.tolist())) or rows_of(some))
    monkeypatch.setattr(accented_letters, "SETTINGS", {"ridge": [(1.0,), (3.0,)]})
    one, setting = accented_letters.choose("ridge", accented_letters.letters().attributes, split)
    assert not set.union(*asked) & set(split.unseen.tolist())
    assert setting in [(1.0,), (3.0,)]
    scores, truth = accented_letters.answers(one, accented_letters.letters().attributes, split.unseen)
    assert zeroshot.accuracy(scores, truth) > 10 * zeroshot.chance(len(split.unseen))
