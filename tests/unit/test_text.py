"""Sentences and the packaged sentence encoder go through the same functions as images."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tl_helpers import features
from tl_helpers.adaptation import DeepCORAL
from tl_helpers.book.studies import with_adapter
from tl_helpers.data import TaskError, load_task, sentiment, task_from, without_labels
from tl_helpers.data.text import decode_texts, encode_texts
from tl_helpers.freezing import assert_frozen, freeze, snapshot
from tl_helpers.models import Classifier, WeightsError, load_backbone, text
from tl_helpers.training import Recipe, evaluate, fit

LINES = [
    "a good film",
    "what a dreadful, dreadful bore",
    "fine \N{SNOWMAN}",
    "I would see it again at any time of the year",
]


@pytest.fixture(scope="module")
def minilm():
    return load_backbone("minilm").eval()


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip), min_size=1)
)
def test_texts_come_back_as_they_were(texts):
    assert decode_texts(encode_texts(texts)) == texts


@pytest.mark.parametrize(("texts", "says"), [(["fine", "  "], "text 1 is empty"), (["a\0b"], "zero")])
def test_texts_that_cannot_be_kept(texts, says):
    with pytest.raises(TaskError, match=says):
        encode_texts(texts)


def test_images_are_no_sentences():
    with pytest.raises(ValueError, match="images"):
        decode_texts(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))


@pytest.mark.slow
def test_embeddings_are_those_of_the_reference_implementation(minilm):
    """transformers' whole BertModel with its own tokenizer, and the mean over tokens as sentence-transformers take it."""
    import transformers

    folder = text.minilm_folder()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    reference = transformers.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(LINES, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = reference(**batch).last_hidden_state
        found = minilm(minilm.prepare(encode_texts(LINES)))
    mask = batch["attention_mask"][..., None]
    want = (states * mask).sum(1) / mask.sum(1)
    assert (found - want).abs().max() < 1e-5


def test_padding_changes_nothing(minilm):
    together = minilm(minilm.prepare(encode_texts(LINES)))
    alone = torch.cat([minilm(minilm.prepare(encode_texts([line]))) for line in LINES])
    assert torch.allclose(together, alone, atol=1e-5)


def test_long_sentences_are_cut_off(minilm):
    assert minilm.prepare(encode_texts(["word " * 500])).shape == (1, 2, 64)


def test_features_come_in_the_order_of_the_samples(minilm):
    task = _task()
    found = features.extract(minilm, task.samples("train"))
    with torch.no_grad():
        want = minilm(minilm.prepare(task.samples("train").inputs)).numpy()
    assert np.allclose(found, want, atol=1e-5)


def test_the_freeze_contract_holds_for_a_transformer():
    model = Classifier(load_backbone("minilm", pretrained=False), 2)
    freeze(model, 5)
    before = snapshot(model)
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(model.backbone.prepare(encode_texts(LINES))).logsumexp(1).sum().backward()
    optimizer.step()
    assert_frozen(model, before)


@pytest.mark.slow
def test_fine_tuning_a_sentence_encoder_goes_through_the_common_fit():
    task = _task()
    model = Classifier(load_backbone("minilm"), 2)
    run = fit(model, task.samples("train"), task.samples("validation"), Recipe(epochs=3, lr=1e-4, batch_size=8))
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert evaluate(model, task.samples("test"))["accuracy"] > 60


@pytest.mark.slow
@pytest.mark.parametrize("depth", [3, 7])
def test_behind_any_freeze_line_training_is_what_it_is_without_the_cache(depth):
    task, trained = _task(), []
    for cached in (True, False):
        model = Classifier(load_backbone("minilm"), 2)
        recipe = Recipe(epochs=2, lr=1e-3, batch_size=20, freeze_depth=depth)
        fit(model, task.samples("train"), task.samples("validation"), recipe, cached=cached)
        trained.append(model)
    found = [evaluate(model, task.samples("test"))["loss"] for model in trained]
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.slow
def test_domains_with_sentences_of_other_lengths_are_aligned():
    task = _task()
    target = without_labels(task.samples("test"))
    for depth, backbone in ((0, load_backbone("minilm")), (8, with_adapter(load_backbone("minilm")))):
        model = Classifier(backbone, 2)
        recipe = Recipe(epochs=1, lr=1e-4, batch_size=8, freeze_depth=depth)
        run = fit(model, task.samples("train"), None, recipe, method=DeepCORAL(target))
        assert run.history[-1]["alignment_loss"] > 0


def test_random_weights_come_from_the_seed():
    one, same, other = (load_backbone("minilm", pretrained=False, seed=seed).state_dict() for seed in (0, 0, 1))
    name = "stages.layer1.layer.output.dense.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


def test_a_damaged_weight_file_is_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes((text.minilm_folder() / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is not the expected one"):
        text.checked_bytes(damaged, text.MINILM_SHA256)


def test_a_text_task_has_no_size():
    with pytest.raises(ValueError, match="no size in pixels"):
        _task().samples("train", 96)
    with pytest.raises(ValueError, match="images"):
        _ = load_task("optdigits").samples("train").texts


@pytest.mark.slow
@pytest.mark.parametrize("genre", sentiment.FILES)
def test_sentiment_tasks(genre):
    task = load_task(genre)
    assert task.modality == "text"
    assert task.classes == ("negative", "positive")
    samples = task.samples("test")
    assert all(samples.texts)
    assert np.array_equal(samples.extra["rating"] > 0, samples.labels.numpy() == 1)
    assert np.abs(samples.extra["rating"]).min() > sentiment.NEUTRAL


def test_reviews_and_articles_stay_in_one_split():
    task = load_task("editorial")
    parts = [set(task.splits[split]["source"]) for split in ("train", "validation", "test")]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    assert len(parts[0]) < len(task.splits["train"])


def test_sentences_that_were_not_fetched_or_are_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("TL_SENTIMENT", str(tmp_path / "none.tar.gz"))
    with pytest.raises(TaskError, match=r"python -m tl_helpers\.data\.sentiment"):
        load_task("tweets")
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(b"not the file")
    monkeypatch.setenv("TL_SENTIMENT", str(damaged))
    with pytest.raises(TaskError, match="damaged"):
        load_task("tweets")


def test_fetching_keeps_a_good_file_and_never_another(tmp_path, monkeypatch):
    good = sentiment.archive().read_bytes()
    kept = tmp_path / "kept.tar.gz"
    kept.write_bytes(good)
    monkeypatch.setenv("TL_SENTIMENT", str(kept))
    monkeypatch.setattr(sentiment.subprocess, "run", _no_pip)
    assert sentiment.fetch() == kept
    monkeypatch.setenv("TL_SENTIMENT", str(tmp_path / "absent.tar.gz"))
    with pytest.raises(TaskError, match="could not fetch"):
        sentiment.fetch()
    monkeypatch.setattr(sentiment.subprocess, "run", _another_file)
    with pytest.raises(TaskError, match="not the expected file"):
        sentiment.fetch()
    assert not (tmp_path / "absent.tar.gz").exists()


@pytest.fixture
def unfetched(tmp_path, monkeypatch):
    """An environment without the sentences, and a pip that has them; returns where the environment would keep them."""
    good = sentiment.archive().read_bytes()

    def pip(command, **options):
        Path(command[-1], f"vaderSentiment-{sentiment.VERSION}.tar.gz").write_bytes(good)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.delenv("TL_SENTIMENT", raising=False)
    monkeypatch.setattr(sentiment.sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(sentiment.subprocess, "run", pip)
    return tmp_path / "environment" / "share" / "tl_helpers"


@pytest.mark.slow
def test_fetched_into_the_environment(unfetched, own_cache):
    assert sentiment.fetch().parent == unfetched
    assert sentiment.fetch() == sentiment.archive()
    assert not own_cache.exists()
    assert len(load_task("tweets").samples("train"))


@pytest.mark.slow
def test_fetched_into_the_cache_where_the_environment_is_read_only(unfetched, own_cache):
    unfetched.parent.parent.mkdir()
    unfetched.parent.write_text("a file where a folder would be: nobody, not even root, writes below it")
    kept = sentiment.fetch()
    assert kept.is_relative_to(own_cache)
    assert sentiment.archive() == kept
    assert len(load_task("tweets").samples("train"))


def test_nowhere_to_keep_it(unfetched, own_cache):
    unfetched.parent.parent.mkdir()
    unfetched.parent.write_text("a file")
    own_cache.write_text("a file")
    with pytest.raises(TaskError, match=r"TL_SENTIMENT.*python -m tl_helpers\.data\.sentiment"):
        sentiment.fetch()


@pytest.mark.slow
def test_the_command_without_a_network_names_itself(tmp_path):
    """Real pip, offered nothing but an index that refuses."""
    environment = os.environ | {"TL_SENTIMENT": str(tmp_path / "none.tar.gz"), "PIP_RETRIES": "0", "PIP_TIMEOUT": "2"}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "tl_helpers.data.sentiment"]
    with socket.socket() as deaf:  # bound and never listening: every connection is refused
        deaf.bind(("127.0.0.1", 0))
        environment["PIP_INDEX_URL"] = f"http://127.0.0.1:{deaf.getsockname()[1]}/simple"
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "pip could not fetch" in done.stderr
    assert "python -m tl_helpers.data.sentiment" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def _no_pip(command, **options):
    return subprocess.CompletedProcess(command, 1, "", "no network")


def _another_file(command, **options):
    Path(command[-1], f"vaderSentiment-{sentiment.VERSION}.tar.gz").write_bytes(b"another file")
    return subprocess.CompletedProcess(command, 0, "", "")


def _task():
    good = [f"a {word} film, number {number}" for number in range(10) for word in ("good", "great", "lovely")]
    bad = [f"a {word} film, number {number}" for number in range(10) for word in ("bad", "dull", "awful")]
    table = datasets.Dataset.from_dict({"words": good + bad, "label": [1] * len(good) + [0] * len(bad)})
    return task_from(table, name="films", text="words")
