"""task.report: what it says of data whose dirt is known, and that reading takes little memory."""

import re
import tracemalloc

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tl_helpers import features, runtime, store
from tl_helpers.data import DataReport, DataWarning, images, load_task, task_from
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, fit


def shades(home, counts):
    """Different grey pictures: {"cat": 4} makes cat/0.png to cat/3.png."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (home / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (12, 16), dtype=np.uint8)).save(home / name / f"{number}.png")
    return home


def notes(count=40):
    return pd.DataFrame(
        {"text": [f"a sentence, number {n}" for n in range(count)], "label": ["cat", "dog"] * (count // 2)}
    )


def test_what_a_folder_of_pictures_is(tmp_path):
    home = shades(tmp_path / "pets", {"cat": 9, "dog": 7})
    Image.new("RGBA", (20, 10), (255, 0, 0, 9)).save(home / "cat" / "clear.png")
    (home / "notes.txt").write_text("mine")
    with pytest.warns(DataWarning, match=r"1 left out: 1 x not a picture \(.txt\)"):
        task = load_task(home)
    report = task.report
    assert isinstance(report, DataReport)
    assert report is task.report
    assert report.counts.loc["train"].sum() == len(task.rows("train"))
    assert report.counts.to_numpy().sum() == 17
    assert set(report.rows["split"]) == {"train", "validation", "test"}
    odd = report.rows.set_index("file").loc["cat/clear.png"]
    assert (odd["width"], odd["height"], odd["mode"], odd["converted"]) == (20, 10, "RGBA", "on white")
    frame = report.to_frame().set_index("file")
    assert frame.loc["notes.txt", "reason"] == "not a picture (.txt)"
    assert not frame.loc["notes.txt", "used"]
    assert frame["used"].sum() == 17
    for line in (
        "17 samples used",
        "16 x 12 (16), 20 x 10 (1)",
        "modes: L (16), RGBA (1)",
        "on white (1)",
        "cut off train, seed 0",
    ):
        assert line in str(report)


def test_clean_data_raise_no_concern(tmp_path, recwarn):
    task = load_task(shades(tmp_path / "pets", {"cat": 8, "dog": 8}))
    assert task.report.concerns == []
    assert not [each for each in recwarn if issubclass(each.category, DataWarning)]
    assert "converted: nothing" in str(task.report)


def test_a_packaged_task_has_a_report_too():
    report = load_task("tweets").report
    assert len(report.rows) == report.counts.to_numpy().sum() == len(report.to_frame())
    assert re.search(r"words in a text: \d+ \(median\)", str(report))


def test_copies_are_counted_by_content():
    table = notes()
    table.loc[1, "text"] = "A SENTENCE,  number 0"
    table.loc[4, "text"] = table.loc[2, "text"]
    with pytest.warns(
        DataWarning, match=r"4 samples are copies of one another \(2 contents, 1 of them with different labels\)"
    ):
        report = task_from(table).report
    assert report.copies["file"].tolist() == ["row 0", "row 1", "row 2", "row 4"]
    assert report.copies["copy"].tolist() == [0, 0, 1, 1]
    assert report.copies["across_classes"].tolist() == [True, True, False, False]
    assert not report.copies["across_splits"].any()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_no_copy_is_left_in_two_given_splits(split):
    parts = {name: notes() for name in ("train", "validation", "test")}
    for number, table in enumerate(parts.values()):
        table["text"] = f"{number} " + table["text"]
    parts[split].loc[5, "text"] = parts["test"].loc[9, "text"]
    with pytest.warns(DataWarning, match="1 left out: 1 x a copy of a test sample"):
        task = task_from(parts)
    assert task.report.left_out.to_numpy().tolist() == [[f"{split} row 5", "a copy of a test sample"]]
    assert len(task.rows("test")) == 40  # what scores are reported on stays as it is
    assert len(task.rows(split)) == 39


def features_of(report, seed=0):
    """Two classes far apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(len(report.rows), 8))
    x[report.rows["class"] == "dog"] += 3
    return x


def test_near_copies_are_pairs_of_similar_features():
    report = task_from(notes()).report
    x = features_of(report)
    x[30] = x[3] * 1.0001
    found = report.near_copies(x, at_least=0.999)
    assert found[["file", "other"]].to_numpy().tolist() == [["row 3", "row 30"]]
    assert found.loc[0, "cosine"] > 0.999
    assert found.loc[0, ["class", "other_class", "copy"]].tolist() == ["dog", "cat", False]
    everything = report.near_copies(x, at_least=-1.0)
    assert len(everything) == 40 * 39 / 2
    assert everything["cosine"].is_monotonic_decreasing
    assert report.near_copies(x, at_least=1.1).empty


def test_suspicious_labels_are_those_that_were_swapped():
    table = notes()
    clean = task_from(table).report
    x = features_of(clean)
    assert clean.suspicious_labels(x).empty
    table.loc[[4, 11], "label"] = ["dog", "cat"]
    found = task_from(table).report.suspicious_labels(x)
    assert sorted(found["file"]) == ["row 11", "row 4"]
    assert found.set_index("file").loc["row 4", ["class", "suggested"]].tolist() == ["dog", "cat"]
    assert (found["margin"] < 0).all()
    assert found["margin"].is_monotonic_increasing


@pytest.mark.parametrize("wrong", [np.ones((3, 8)), np.ones(40), np.full((40, 8), np.nan)])
def test_features_that_are_not_of_these_samples(wrong):
    report = task_from(notes()).report
    for ask in (report.near_copies, report.suspicious_labels):
        with pytest.raises(ValueError, match="one finite row each"):
            ask(wrong)


def test_a_part_of_a_task_keeps_the_report_of_the_whole():
    report = task_from(notes()).few_labels(4).report
    assert len(report.rows) == 40
    assert report.counts.loc["in no split"].sum() > 0


@pytest.fixture
def looked_at(monkeypatch):
    """How many pictures each call of `look` had to decode."""
    counts, each = [], images._each
    monkeypatch.setattr(
        images, "_each", lambda t, do, *a, **k: counts.extend([len(t)] * (do is images._look)) or each(t, do, *a, **k)
    )
    images._LOOKED.clear()  # as in another process
    return counts


def test_a_look_is_stored_by_content(tmp_path, looked_at):
    home = shades(tmp_path / "pets", {"cat": 6, "dog": 6})
    first = load_task(home).report.rows
    images._LOOKED.clear()
    assert load_task(home).report.rows.equals(first)
    assert sum(looked_at) == 12


def test_splits_are_looked_at_once(tmp_path, looked_at):
    for split in ("train", "test"):
        shades(tmp_path / "pets" / split, {"cat": 6, "dog": 6})
    for path in (tmp_path / "pets" / "test").rglob("*.png"):
        Image.open(path).rotate(90).save(path)
    for _ in range(2):
        assert len(load_task(tmp_path / "pets").report.rows) == 24
        assert sum(looked_at) == 24
        images._LOOKED.clear()


def test_reading_holds_few_files_at_a_time(tmp_path):
    """As many bytes as there are, one by one: 24 files of 3 MB."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "large" / name).mkdir(parents=True)
        for number in range(12):
            image = np.repeat(rng.integers(0, 256, (1000, 1, 3), dtype=np.uint8), 1000, axis=1)
            Image.fromarray(image).save(tmp_path / "large" / name / f"{number}.bmp")
    runtime.current()
    tracemalloc.start()
    try:
        samples = load_task(tmp_path / "large").samples("train", 64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples.inputs.shape == (14, 3, 64, 64)
    assert peak < 25e6  # all of it would be 72 MB


def test_images_of_one_table_share_a_decoding():
    table = datasets.Dataset.from_dict({"image": [Image.new("L", (8, 8), shade) for shade in (0, 9)]})
    store.TALLY.clear()
    for _ in range(3):
        images.decode(table.cast_column("image", datasets.Image()), 8)
    assert store.TALLY["images", "computed"] == 1


def test_texts_that_an_encoder_cuts_are_counted(recwarn):
    table = notes(12)
    table.loc[[2, 7], "text"] += " and so on" * 100
    backbone = load_backbone("minilm", pretrained=False)
    said = "2 of 12 texts are longer than the 64 tokens that minilm reads.*first: row 2"
    with pytest.warns(DataWarning, match=said):
        features.extract(backbone, task_from(table).all_samples())
    with pytest.warns(DataWarning, match=said):
        fit(
            Classifier(backbone, 2), task_from(table).all_samples(), None, Recipe(epochs=1, freeze_depth=backbone.depth)
        )
    recwarn.clear()
    features.extract(backbone, task_from(notes(12)).all_samples())
    assert not [each for each in recwarn if issubclass(each.category, DataWarning)]
