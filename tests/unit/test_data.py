"""tl_helpers.data: packaged tasks, own folders, and every way in which data can be wrong."""

import dataclasses
import itertools
import os

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tl_helpers import store
from tl_helpers.book.studies.transfer import with_proportions
from tl_helpers.data import (
    CORRUPTIONS,
    PACKAGED,
    Samples,
    TaskError,
    UnreadableImageError,
    corrupt,
    images,
    load_task,
    task_from,
)
from tl_helpers.data import sources as data_sources

from .small import stripes


def image_folder(home, counts, size=12, seed=0):
    """A folder of small random PNG images: {"cat": 4} makes cat/0.png to cat/3.png."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (home / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, size=(size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(home / name / f"{number}.png")
    return home


@pytest.mark.slow
@pytest.mark.usefixtures("decoded_once")
@pytest.mark.parametrize(
    ("name", "total", "classes", "shape"),
    [
        ("elpv", 2624, 2, (1, 300, 300)),
        ("mnist5k", 5000, 10, (1, 28, 28)),
        ("optdigits", 1797, 10, (1, 8, 8)),
        ("fonts", 3300, 10, (1, 28, 28)),
        ("textile", 2000, 3, (3, 250, 250)),
    ],
)
def test_packaged_task(name, total, classes, shape):
    task = load_task(name)
    counts = task.describe()
    assert counts["total"].sum() == total
    assert len(task.classes) == classes
    assert counts["total"]["train"] == pytest.approx(0.6 * total, rel=0.01 if name != "fonts" else 0.05)  # whole fonts
    assert all((task.licence, task.citation, task.source, task.label_rule))
    if name != "elpv":  # decoding 2,624 large images is for the chapters
        samples = task.samples("validation")
        assert samples.inputs.shape[1:] == shape
        assert samples.inputs.dtype == torch.uint8
        assert samples.inputs.max() == 255


def test_elpv_labels_probabilities_and_domains():
    task = load_task("elpv")
    rows = pd.concat([task.splits[part].remove_columns("image").to_pandas() for part in task.splits])
    assert len(rows) == rows["row"].nunique() == 2624
    assert (rows["label"] == (rows["probability"] >= 0.5)).all()
    counts = rows["probability"].round(2).value_counts()
    assert counts.to_dict() == {0.0: 1508, 1.0: 715, 0.33: 295, 0.67: 106}
    assert rows["domain"].value_counts().to_dict() == {"poly": 1550, "mono": 1074}
    shares = [np.mean(np.asarray(table["domain"]) == "mono") for table in task.splits.values()]
    assert np.ptp(shares) < 0.02  # stratified by domain too


def test_elpv_blocks_keep_neighbours_together():
    task = load_task("elpv", split="blocks")
    where = {group: part for part in task.splits for group in task.splits[part]["group"]}
    assert len(where) >= 44
    rows = {row: part for part in task.splits for row in task.splits[part]["row"]}
    borders = sum(rows[row] != rows[row + 1] for row in range(2623))
    assert borders < 100  # a random split has about 1,500
    with pytest.raises(ValueError, match="blocks"):
        load_task("mnist5k", split="blocks")


@pytest.mark.slow
def test_split_seeds_differ_and_repeat():
    assert np.array_equal(load_task("elpv", seed=1).rows("test"), load_task("elpv", seed=1).rows("test"))
    assert not np.array_equal(load_task("elpv", seed=1).rows("test"), load_task("elpv", seed=2).rows("test"))


@pytest.mark.slow
def test_few_labels_are_nested_and_leave_the_rest_alone():
    task = load_task("optdigits")
    small, large = task.few_labels(20, seed=1), task.few_labels(50, seed=1)
    assert len(small.rows("train")) == 20
    assert set(small.rows("train")) < set(large.rows("train")) < set(task.rows("train"))
    assert np.array_equal(small.rows("test"), task.rows("test"))
    assert np.bincount(small.labels("train")).tolist() == [2] * 10
    with pytest.raises(TaskError, match="10 \\(one for each class\\)"):
        task.few_labels(9)


def test_only_a_domain():
    mono = load_task("elpv").only(domain="mono")
    assert sum(len(table) for table in mono.splits.values()) == 1074
    assert mono.domain == "mono"
    with pytest.raises(TaskError, match="no column 'colour'"):
        mono.only(colour="red")
    with pytest.raises(TaskError, match="no train sample"):
        mono.only(domain="poly")


@pytest.mark.slow
def test_pixels_are_decoded_once():
    task = load_task("optdigits")
    first = task.samples("train", 16)
    images._DECODED.clear()  # as in a new process
    computed = store.TALLY["images", "computed"]
    again = load_task("optdigits", seed=3).all_samples(16)  # another split of the same table
    assert store.TALLY["images", "computed"] == computed
    assert torch.equal(again.inputs[first.rows], first.inputs)
    assert torch.equal(again.labels[first.rows], first.labels)


def test_a_file_that_is_overwritten_is_read_again_whatever_its_time_stamp_says(tmp_path):
    """In the process that has decoded the old one, with the same name, size and time of writing."""
    home = image_folder(tmp_path / "pets", {"cat": 10, "dog": 10})
    before = load_task(home).all_samples(12)
    first = home / "cat" / "0.png"
    second, status = (home / "dog" / "1.png").read_bytes(), first.stat()
    raw = second.ljust(status.st_size, b"\0")[: max(status.st_size, len(second))]
    first.write_bytes(raw)
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert first.stat().st_mtime_ns == status.st_mtime_ns
    after = load_task(home).all_samples(12)
    assert (before.inputs != after.inputs).flatten(1).any(dim=1).sum() == 1


@pytest.mark.slow
def test_damaged_pixel_cache_is_recomputed(own_cache):
    first = load_task("optdigits").samples("test")
    images._DECODED.clear()
    path = next((own_cache / "images").glob("*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.warns(store.StoreWarning, match="damaged"):
        again = load_task("optdigits").samples("test")
    assert torch.equal(first.inputs, again.inputs)


def test_own_folder(tmp_path):
    task = load_task(image_folder(tmp_path / "pets", {"cat": 12, "dog": 8}))
    assert task.classes == ("cat", "dog")
    assert task.describe()["total"].tolist() == [12, 3, 5]
    samples = task.samples("train", 32)
    assert samples.inputs.shape == (12, 3, 32, 32)
    assert samples.name == "pets/train"


def test_own_folder_with_splits_keeps_them(tmp_path):
    for part, count in {"train": 8, "test": 3}.items():
        image_folder(tmp_path / "pets" / part, {"cat": count, "dog": count}, seed=count)
    task = load_task(str(tmp_path / "pets"))
    assert len(task.rows("test")) == 6
    assert len(task.rows("train")) + len(task.rows("validation")) == 16
    assert len(task.rows("validation")) >= 2


def test_csv_and_groups_through_datasets(tmp_path):
    image_folder(tmp_path, {"all": 24})
    frame = pd.DataFrame(
        {
            "file": [str(tmp_path / "all" / f"{n}.png") for n in range(24)],
            "kind": ["a", "b"] * 12,
            "plant": [n // 4 for n in range(24)],
        }
    )
    data = datasets.Dataset.from_pandas(frame)
    task = task_from(data, name="plants", image="file", label="kind", group="plant")
    groups = [set(table["group"]) for table in task.splits.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert task.samples("test").inputs.ndim == 4


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({}, "No images in"),
        ({"cat": 9, "dog": 0}, "nothing in the class folder dog"),
        ({"cat": 9}, "only one class"),
        ({"cat": 9, "dog": 2}, "only 2 row"),
    ],
)
def test_folders_that_are_no_task(tmp_path, counts, says):
    home = tmp_path / "pets"
    home.mkdir()
    image_folder(home, counts)
    with pytest.raises(TaskError, match=says):
        load_task(home)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all"])
def test_wrong_folder(name):
    with pytest.raises(TaskError, match="There is no folder"):
        load_task(name)


def test_hub_while_offline():
    with pytest.raises(RuntimeError, match="TL_ONLINE=1"):
        load_task("someone/some-dataset")


def test_unreadable_image_is_named(tmp_path):
    home = image_folder(tmp_path / "pets", {"cat": 8, "dog": 8})
    (home / "dog" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n not an image after all")
    with pytest.raises(UnreadableImageError, match=r"3\.png"):
        load_task(home).samples("train", 16)


def test_truncated_image_is_named(tmp_path):
    home = image_folder(tmp_path / "pets", {"cat": 8, "dog": 8}, size=64)
    raw = (home / "cat" / "0.png").read_bytes()
    (home / "cat" / "0.png").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UnreadableImageError, match=r"0\.png"):
        load_task(home).samples("train", 16)


def test_sizes_that_differ_need_one(tmp_path):
    home = image_folder(tmp_path / "pets", {"cat": 8})
    image_folder(home / "x", {"y": 1})
    (home / "dog").mkdir()
    for number in range(8):
        Image.new("L", (10 + number, 20)).save(home / "dog" / f"{number}.png")
    (home / "x" / "y" / "0.png").unlink()
    (home / "x" / "y").rmdir()
    (home / "x").rmdir()
    task = load_task(home)
    with pytest.raises(TaskError, match="differ in size"):
        task.samples("train")
    assert task.samples("train", 16).inputs.shape[1:] == (3, 16, 16)  # one grey image becomes colour with the rest


def test_sixteen_bit_and_transparent_images(tmp_path):
    for name in ("deep", "clear"):
        (tmp_path / "odd" / name).mkdir(parents=True)
    for number in range(6):
        deep = np.linspace(0, 65535 - 1000 * number, 144).reshape(12, 12).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / "odd" / "deep" / f"{number}.png")
        Image.new("RGBA", (12, 12), (255, number, 0, 128)).save(tmp_path / "odd" / "clear" / f"{number}.png")
    samples = load_task(tmp_path / "odd").all_samples()
    deep = samples.inputs[samples.labels == samples.classes.index("deep")]
    assert deep.amin(dim=(1, 2, 3)).tolist() == [0] * 6
    assert deep.amax(dim=(1, 2, 3)).tolist() == [255, 251, 247, 243, 239, 236]  # one scale for all


def arrays(labels, **columns):
    images = [Image.new("L", (8, 8), color=n % 256) for n in range(len(labels))]
    return datasets.Dataset.from_dict({"image": images, "label": labels, **columns})


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0.0, 1.0, float("nan")] * 6, "missing"),
        ([0, 1, -1] * 6, "whole numbers from 0"),
        ([0.5, 1.0] * 6, "whole numbers"),
        ([], "no samples"),
    ],
)
def test_labels_that_cannot_be(labels, says):
    with pytest.raises(TaskError, match=says):
        task_from(arrays(labels), name="odd")


def test_missing_column_lists_what_is_there():
    with pytest.raises(TaskError, match="the columns are image, label"):
        task_from(arrays([0, 1] * 9), name="odd", label="target")


def test_label_out_of_range_of_its_class_names():
    data = arrays([0, 1] * 9).cast_column("label", datasets.ClassLabel(names=["a", "b"]))
    task = task_from(data, name="fine")
    with pytest.raises(TaskError, match="numbered 0 to 0"):
        dataclasses.replace(task, classes=("a",))


def test_leaking_group_is_refused():
    parts = datasets.DatasetDict(
        train=arrays([0, 1] * 12, plant=[f"p{n}" for n in range(24)]), test=arrays([0, 1], plant=["p3", "q"])
    )
    with pytest.raises(TaskError, match="leakage"):
        task_from(parts, name="plants", group="plant")


def test_unknown_split_names():
    with pytest.raises(TaskError, match="use train"):
        task_from(datasets.DatasetDict(all=arrays([0, 1] * 9)), name="odd")
    with pytest.raises(KeyError, match="no split"):
        load_task("optdigits").samples("dev")


def test_samples_refuse_what_they_cannot_hold():
    good = stripes(8)
    with pytest.raises(TaskError, match="uint8"):
        Samples("x", good.inputs.float(), good.labels, good.classes, good.rows)
    with pytest.raises(TaskError, match="8 images but 7"):
        Samples("x", good.inputs, good.labels[:7], good.classes, good.rows)
    with pytest.raises(TaskError, match="Renumber"):
        Samples("x", good.inputs, good.labels + 1, good.classes, good.rows)


def test_take_keeps_everything_in_step():
    samples = stripes(10)
    part = samples.take([7, 2])
    assert part.rows.tolist() == [7, 2]
    assert torch.equal(part.inputs[1], samples.inputs[2])
    assert part.fingerprint != samples.fingerprint


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corruptions_grow_with_severity(kind):
    samples = stripes(6, size=96)
    distance = [
        (corrupt(samples, kind, severity).inputs.float() - samples.inputs.float()).abs().mean().item()
        for severity in range(6)
    ]
    assert distance[0] == 0
    assert all(low < high for low, high in itertools.pairwise(distance))
    assert torch.equal(corrupt(samples, kind, 3, seed=1).inputs, corrupt(samples, kind, 3, seed=1).inputs)


def test_corruptions_out_of_range():
    with pytest.raises(ValueError, match="Unknown corruption"):
        corrupt(stripes(4), "rain", 1)
    with pytest.raises(ValueError, match="0 \\(none\\) to 5"):
        corrupt(stripes(4), "blur", 6)


def test_classes_in_other_proportions():
    task = load_task("optdigits")
    shares = (0.5, *[0.5 / 9] * 9)
    skewed = with_proportions(task, shares, seed=1)
    for split in ("train", "validation", "test"):
        found = np.bincount(skewed.labels(split), minlength=10) / len(skewed.labels(split))
        assert np.abs(found - shares).max() < 0.03
        assert np.isin(skewed.rows(split), task.rows(split)).all()
    assert np.bincount(skewed.labels("train"))[0] == np.bincount(task.labels("train"))[0]  # as many as can be had
    assert np.array_equal(skewed.rows("test"), with_proportions(task, shares, seed=1).rows("test"))
    for wrong in ((0.5, 0.5), (1.0, *[0.0] * 9), (0.2,) * 10):
        with pytest.raises(ValueError, match="10 numbers above 0"):
            with_proportions(task, wrong)


def test_packaged_names():
    images = {"elpv", "mnist5k", "optdigits", "fonts", "textile", "twemoji", "openmoji"}
    assert set(PACKAGED) == images | {"tweets", "film", "product", "editorial"}


@pytest.mark.slow
@pytest.mark.usefixtures("decoded_once")
def test_printed_digits_are_the_same_data_whatever_the_split_and_share_no_font():
    first, other = load_task("fonts", seed=0), load_task("fonts", seed=1)
    assert torch.equal(first.all_samples().inputs, other.all_samples().inputs)
    assert set(first.rows("test")) != set(other.rows("test"))
    fonts = {split: set(first.splits[split]["group"]) for split in first.splits}
    assert set.union(*fonts.values()) == set(data_sources.FACES)
    assert not fonts["train"] & fonts["test"]
    pixels = first.all_samples().inputs
    assert (pixels.flatten(1).max(dim=1).values > 100).all()  # no print is empty
    assert pixels[:, :, :3].max() == 0  # the margin that MNIST has too
    assert len({image.numpy().tobytes() for image in pixels}) == len(pixels)
