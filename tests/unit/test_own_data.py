"""Own data, good, bad and odd: each kind gives a right task or an error that names the place and the remedy.

A case is a small function that makes the data and loads it. `right` says how many samples must be used and what must be
named as left out; `refused` says which words the error must hold.
"""

import io
import json
import os
import re
import struct
import sys
import warnings

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from tl_helpers.data import DataWarning, TaskError, UnreadableImageError, load_task, task_from

CASES = []


def _case(made, ids, expected):
    for arguments in made:
        name = ids.__name__ + ("-" + "-".join(map(str, arguments)) if arguments else "")
        CASES.append(pytest.param(ids, arguments, expected, id=name))


def right(used, *left_out, classes=("cat", "dog"), each=((),)):
    """A case whose task uses so many samples; each of `left_out` (regular expressions) must be found among what it names."""

    def register(function):
        _case(each, function, (used, left_out, classes))
        return function

    return register


def refused(*words, each=((),), kind=TaskError):
    """A case whose error holds all these words."""

    def register(function):
        _case(each, function, (kind, words))
        return function

    return register


def picture(seed, mode="RGB", size=(12, 12)):
    rng = np.random.default_rng(abs(hash_of(seed)))
    return Image.fromarray(rng.integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def hash_of(text):
    return int.from_bytes(str(text).encode("utf-8", "surrogateescape")[-8:].rjust(8, b"\0"), "big") + len(str(text))


def put(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or picture(f"{path.parent.name[-4:]}{path.name}")).save(path, **options)
    return path


def pets(home, count=6, names=("cat", "dog"), pattern="{}.png"):
    """Different pictures in one folder for each name."""
    for number, name in enumerate(names):
        for each in range(count):
            put(home / name / pattern.format(each), picture(1000 * number + each + 7 * len(str(home.name))))
    return home


def frame(count=12, **columns):
    """Texts with labels."""
    rows = {"text": [f"a sentence with number {n}" for n in range(count)], "label": ["cat", "dog"] * (count // 2)}
    return pd.DataFrame(rows | columns)


def csv(home, table=None, name="notes.csv", **options):
    (frame() if table is None else table).to_csv(home / name, index=False, **options)
    return home / name


def first(task, file, size=None):
    """The pixels of one file."""
    rows = task.report.rows
    return task.all_samples(size).inputs[rows.index[rows["file"] == file][0]]


# Names


@right(24)
def names_with_split_words_in_them(home):
    return load_task(pets(home, 12, pattern="cat train {}.png"))


@right(18, classes=("bus", "car", "train"))
def a_class_called_train(home):
    return load_task(pets(home, names=("bus", "car", "train")))


@right(18, classes=("bottle", "cup", "test-tube"))
def a_class_with_test_in_its_name(home):
    return load_task(pets(home, names=("bottle", "cup", "test-tube")))


@right(12, classes=("training shoes", "validation stamp"))
def classes_that_begin_like_splits(home):
    return load_task(pets(home, names=("training shoes", "validation stamp")))


@right(
    12,
    each=[
        (text,)
        for text in (
            *(
                "with blank {}.png",
                "[1] {}.png",
                "{{{}}}.png",
                "100% {}.png",
                "ümlaut {}.png",
                "日本 {}.png",
                "a'b\"{}.png",
            ),
            *(
                "*{}.png",
                "?{}.png",
                "#{}.png",
                "a,b;{}.png",
                "-{}.png",
                "{}.tar.png",
                "{}.PNG",
                "line\nbreak {}.png",
                "e\u0301{}.png",
            ),
            *("x::y{}.png", "zip:{}.png", "😀{}.png", "a" * 200 + "{}.png"),
        )
    ],
)
def odd_file_names(home, text):
    return load_task(pets(home, pattern=text))


@right(
    12,
    each=[
        (text,) for text in ("my pets", "[pets]", "pets (2)", "größe", "pets.v1", "50%", "train", "a*b", "test", "csv")
    ],
)
def odd_folder_names(home, text):
    task = load_task(pets(home / text))
    assert task.name == text
    return task


@right(18, classes=("café", "the"))
def two_unicode_spellings_of_a_class(home):
    pets(home, names=("caf\u00e9", "the"))
    for number in range(6):
        put(home / "cafe\u0301" / f"other {number}.png", picture(500 + number))
    return load_task(home)


@right(12, classes=("Cat", "cat"))
def names_that_differ_in_case_are_told(home):
    task = load_task(pets(home, names=("Cat", "cat")))
    assert any("nearly the same name: Cat, cat" in line for line in task.report.concerns)
    return task


@right(12, "no valid Unicode")
def a_file_name_that_is_no_unicode(home):
    pets(home)
    (home / "cat" / os.fsdecode(b"\xff.png")).write_bytes((home / "cat" / "0.png").read_bytes())
    return load_task(home)


# Layouts


def splits(home, *names, count=6):
    for number, name in enumerate(names):
        for kind in ("cat", "dog"):
            for each in range(count):
                put(home / name / kind / f"{each}.png", picture(f"{number}{kind}{each}"))
    return home


@right(
    36,
    each=[
        ("Training", "Val", "Testing"),
        ("train", "val", "holdout"),
        ("train", "valid", "test"),
        ("TRAIN", "DEV", "TEST"),
        ("training", "validation", "evaluation"),
        ("train", "validation", "hold-out"),
    ],
)
def split_folders(home, *names):
    task = load_task(splits(home, *names))
    assert [len(task.rows(split)) for split in ("train", "validation", "test")] == [12, 12, 12]
    for split, name in zip(("train", "validation", "test"), names, strict=True):
        assert all(file.startswith(name + "/") for file in task.splits[split]["file"])
    return task


@right(24)
def training_and_testing_are_kept_apart(home):
    task = load_task(splits(home, "Training", "Testing"))
    assert all(file.startswith("Testing/") for file in task.splits["test"]["file"])
    assert all(file.startswith("Training/") for split in ("train", "validation") for file in task.splits[split]["file"])
    return task


@right(12)
def only_a_train_folder(home):
    return load_task(splits(home, "train"))


@refused("extra", "train", "rename")
def a_split_of_unknown_name(home):
    return load_task(splits(home, "train", "val", "extra"))


@refused("test and testing", "Merge")
def two_test_splits(home):
    return load_task(splits(home, "train", "test", "testing"))


@refused("no folder train")
def no_train_split(home):
    return load_task(splits(home, "val", "test"))


@refused("splits lie inside", "test/cat")
def splits_inside_of_classes(home):
    for kind in ("cat", "dog"):
        splits_of = home / kind
        for split in ("train", "test"):
            for each in range(6):
                put(splits_of / split / f"{each}.png", picture(f"{kind}{split}{each}"))
    return load_task(home)


@refused("train", "no class folders", "table")
def flat_split_folders(home):
    return load_task(pets(home, names=("train", "test")))


@right(12, "1.png.*outside of the class folders")
def unlabelled_test_pictures(home):
    splits(home, "train")
    for each in range(3):
        put(home / "test" / f"{each}.png", picture(f"t{each}"))
    return load_task(home)


@right(12, "cover.png.*outside of the class folders")
def a_picture_in_the_root(home):
    put(pets(home) / "cover.png", picture("cover"))
    return load_task(home)


@right(13)
def a_picture_in_a_deeper_folder(home):
    put(pets(home) / "cat" / "more" / "a.png", picture("deep"))
    task = load_task(home)
    assert any("below cat count as cat" in line for line in task.report.decisions)
    return task


@right(
    12,
    r"stray",
    each=[
        (name,)
        for name in (
            *(
                "stray.zip",
                "cat/stray.zip",
                "stray.txt",
                "dog/stray.csv",
                "stray.csv",
                "stray.mp4",
                "cat/stray",
                "stray.py",
            ),
            *("cat/.stray.png", ".stray", "stray.xlsx", "cat/stray.xml", "cat/stray.json", "stray.json"),
        )
    ],
)
def a_stray_file(home, name):
    pets(home)
    (home / name).write_bytes(b"whatever")
    return load_task(home)


@right(12, "DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", "ipynb_checkpoints")
def what_systems_leave_behind(home):
    pets(home)
    for name in ("cat/.DS_Store", "dog/Thumbs.db", "desktop.ini"):
        (home / name).write_bytes(b"x")
    put(home / "__MACOSX" / "cat" / "._0.png")
    put(home / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    return load_task(home)


@right(12, "log 7.csv.*beside class folders")
def twenty_logs(home):
    pets(home)
    for number in range(20):
        (home / f"log {number}.csv").write_text("epoch,loss\n1,2\n")
    return load_task(home)


@right(12)
def links_to_class_folders(home):
    pets(home.parent / "elsewhere")
    home.mkdir(exist_ok=True)
    for name in ("cat", "dog"):
        (home / name).symlink_to(home.parent / "elsewhere" / name)
    return load_task(home)


@right(12, "loop.*read already")
def a_link_that_goes_round(home):
    (pets(home) / "cat" / "loop").symlink_to(home)
    return load_task(home)


@right(12, "gone.png.*leads nowhere")
def a_dangling_link(home):
    (pets(home) / "cat" / "gone.png").symlink_to(home / "nowhere.png")
    return load_task(home)


@right(12)
def one_folder_around_all(home):
    task = load_task(pets(home / "pets-main").parent)
    assert any("pets-main" in line for line in task.report.decisions)
    return task


@right(24)
def one_folder_around_the_splits(home):
    task = load_task(splits(home / "unpacked", "train", "test").parent)
    assert len(task.rows("test")) == 12
    return task


@refused("nothing in the class folder bird", "remove the folder")
def an_empty_class_folder(home):
    (pets(home) / "bird").mkdir()
    return load_task(home)


@refused("nothing in the class folder bird")
def a_class_folder_without_pictures(home):
    (pets(home) / "bird").mkdir()
    (home / "bird" / "read me.txt").write_text("later")
    return load_task(home)


@refused("nothing in the class folder dog")
def a_class_that_is_missing_in_the_test_split(home):
    splits(home, "train", "test")
    for path in (home / "test" / "dog").iterdir():
        path.unlink()
    return load_task(home)


@refused("bird", "no training sample", "drop the class")
def a_class_only_in_the_test_split(home):
    put(splits(home, "train", "test") / "test" / "bird" / "0.png", picture("bird"))
    return load_task(home)


@refused("only one class", "cat")
def one_class(home):
    return load_task(pets(home, names=("cat",)))


@refused("class 'dog'", "only 2 row", "Collect more|collect more")
def a_rare_class(home):
    pets(home)
    for path in sorted((home / "dog").iterdir())[2:]:
        path.unlink()
    return load_task(home)


@refused("No images", "cat/1.png")
def nothing_at_all(home):
    return load_task(home)


@refused("No images", "beside", "sub-folder for each class")
def pictures_without_folders(home):
    for number in range(6):
        put(home / f"{number}.png", picture(number))
    return load_task(home)


@refused("heic|nef|svg|pdf|npy", "Convert", "skip_bad", each=[("heic",), ("nef",), ("svg",), ("pdf",), ("npy",)])
def a_format_that_is_not_read(home, ending):
    (pets(home) / "cat" / f"7.{ending}").write_bytes(b"ftypheic")
    return load_task(home)


@right(12, "7.heic.*does not read")
def such_a_format_left_out(home):
    (pets(home) / "cat" / "7.heic").write_bytes(b"ftypheic")
    return load_task(home, skip_bad=True)


@refused("There is no folder", "Check the path")
def a_path_that_is_not_there(home):
    return load_task(home / "nowhere")


@refused("no file of this name", "Check the path")
def a_table_that_is_not_there(home):
    return load_task("nowhere.csv")


@refused("pets.zip", "unpack")
def an_archive(home):
    (home / "pets.zip").write_bytes(b"PK")
    return load_task(home / "pets.zip")


# Formats and modes of pictures


@right(
    12,
    each=[
        (e,)
        for e in ("bmp", "gif", "jpg", "jpeg", "jfif", "tif", "tiff", "webp", "ppm", "tga", "png", "jp2", "avif", "ico")
    ],
)
def a_format(home, ending):
    if f".{ending}" not in Image.registered_extensions():
        pytest.skip(f"this Pillow has no {ending}")
    for number in range(6):
        for name in ("cat", "dog"):
            put(home / name / f"{number}.{ending}", picture(f"{name}{number}", size=(16, 16)))
    return load_task(home)


def odd(home, image, ending="png", **options):
    """The pixels of one odd picture among usual ones, grey of 12 x 12."""
    for number, name in enumerate(("cat", "dog")):
        for each in range(6):
            put(home / name / f"{each}.png", picture(100 * number + each, "L"))
    put(home / "cat" / f"odd.{ending}", image, **options)
    task = load_task(home)
    return task, first(task, f"cat/odd.{ending}").float()


def near(pixels, *values, by=2.0):
    """Every pixel has these values of its channels."""
    expected = torch.tensor([*values] if len(values) > 1 else [values[0]] * len(pixels)).float()
    assert ((pixels.flatten(1).T - expected).abs() <= by).all(), pixels.flatten(1)[:, 0]


@right(13, each=[("1", 255, "white"), ("L", 77, 77), ("P", 255, "white"), ("RGB", 255, "white")])
def a_usual_mode(home, mode, value, colour):
    task, pixels = odd(
        home, Image.new("RGB", (12, 12), (colour,) * 3 if isinstance(colour, int) else colour).convert(mode)
    )
    near(pixels, value)
    return task


@right(13, each=[("CMYK", "tif"), ("CMYK", "jpg"), ("YCbCr", "jpg"), ("P", "gif"), ("RGB", "bmp")])
def another_colour_space(home, mode, ending):
    colour = Image.new("RGB", (12, 12), (250, 4, 8))
    colour = colour.quantize(4) if mode == "P" else colour.convert(mode)
    task, pixels = odd(home, colour, ending)
    near(pixels, 250, 4, 8, by=6)
    return task


@refused("odd.tif", "cannot be read", kind=UnreadableImageError)
def a_mode_that_cannot_be_converted(home):
    return odd(home, Image.new("LAB", (12, 12)), "tif")[0]


@right(13, each=[("black",), ("white",)])
def what_lies_behind_transparency_does_not_matter(home, hidden):
    image = Image.new("RGBA", (12, 12), (0, 0, 0, 0) if hidden == "black" else (255, 255, 255, 0))
    image.paste((255, 0, 0, 255), (0, 0, 6, 12))
    task, pixels = odd(home, image)
    near(pixels[:, :, :6], 255, 0, 0)
    near(pixels[:, :, 6:], 255)
    assert "on white (1)" in str(task.report)
    return task


@right(13, each=[("LA",), ("RGBA",), ("PA",), ("La",)])
def other_kinds_of_transparency(home, mode):
    image = Image.new("LA", (12, 12), (0, 0))
    image = image.convert("RGBA") if mode != "LA" else image
    image = image.convert("P") if mode == "PA" else image
    task, pixels = odd(home, image, "tif" if mode == "La" else "png")
    near(pixels, 255)
    return task


@right(13)
def a_palette_with_a_transparent_colour(home):
    image = Image.new("P", (12, 12), 3)
    image.putpalette([0, 0, 0, 9, 9, 9, 5, 5, 5, 200, 10, 10])
    task, pixels = odd(home, image, "gif", transparency=3)
    near(pixels, 255)
    return task


@right(13)
def half_transparent(home):
    task, pixels = odd(home, Image.new("RGBA", (12, 12), (0, 0, 0, 128)))
    near(pixels, 127)
    return task


@right(13, each=[("png", 65535, 255), ("tif", 65535, 255), ("png", 32768, 128)])
def sixteen_bits(home, ending, value, expected):
    pixels = np.full((12, 12), value, dtype=np.uint16)
    pixels[0] = 65535
    task, found = odd(home, Image.fromarray(pixels), ending)
    near(found[:, 1:], expected)
    return task


@right(14)
def one_scale_for_all_pictures_of_sixteen_bits(home):
    put(home / "dog" / "bright.png", Image.fromarray(np.full((12, 12), 4000, dtype=np.uint16)))
    task, dark = odd(home, Image.fromarray(np.full((12, 12), 400, dtype=np.uint16)))
    near(dark, 400 / 4095 * 255)
    near(first(task, "dog/bright.png").float(), 4000 / 4095 * 255)
    return task


@right(13, each=[("whole", 1000000, 250), ("unit", 0.5, 127.5), ("bytes", 100.0, 100)])
def numbers_of_thirty_two_bits(home, kind, value, expected):
    pixels = np.full((12, 12), value, dtype=np.int32 if kind == "whole" else np.float32)
    task, found = odd(home, Image.fromarray(pixels), "tif")
    near(found, value / (2**20 - 1) * 255 if kind == "whole" else expected)
    return task


@refused("odd.tif", "scale", kind=UnreadableImageError, each=[(-1.0,), (300.0,), (float("nan"),), (float("inf"),)])
def numbers_without_a_scale(home, value):
    return odd(home, Image.fromarray(np.full((12, 12), value, dtype=np.float32)), "tif")[0]


@right(12, each=[(number,) for number in range(1, 9)])
def an_exif_orientation(home, number):
    pets(home)
    upright = np.zeros((40, 20, 3), dtype=np.uint8)
    upright[:20, :10] = 255  # white at the top left
    flips = [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90, None]
    turns = {
        **{2: flips[0], 3: flips[1], 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE},
        **{6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270},
    }
    stored = Image.fromarray(upright)
    stored = stored.transpose(turns[number]) if number in turns else stored
    exif = Image.Exif()
    exif[0x0112] = number
    put(home / "cat" / "0.png", stored, exif=exif)
    task = load_task(home)
    row = task.report.rows.iloc[0]
    assert (row["width"], row["height"], row["orientation"]) == (20, 40, number)
    pixels = first(task, "cat/0.png", 16)
    assert pixels[:, :6, :6].float().mean() > 240
    assert pixels[:, 10:, 10:].float().mean() < 15
    return task


def exif_jpeg(path, damage=None):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker of cameras"
    file = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(file, format="JPEG", exif=exif)
    raw = file.getvalue()
    path.write_bytes(raw if damage is None else damage(raw))


@right(12)
def a_photograph_on_its_side(home):
    exif_jpeg(pets(home) / "cat" / "0.png")  # a JPEG with the wrong ending, too
    task = load_task(home)
    assert tuple(task.report.rows.loc[0, ["width", "height"]]) == (20, 40)
    return task


@right(12)
def damaged_exif_that_still_says_how(home):
    exif_jpeg(
        pets(home) / "cat" / "0.png",
        lambda raw: raw.replace(struct.pack(">HHI", 0x010F, 2, 19), struct.pack(">HHI", 0x010F, 2, 60000)),
    )
    task = load_task(home)
    assert tuple(task.report.rows.loc[0, ["width", "height"]]) == (20, 40)
    return task


@right(12)
def exif_that_says_nothing(home):
    exif_jpeg(pets(home) / "cat" / "0.png", lambda raw: raw.replace(b"Exif\0\0MM", b"Exif\0\0XX"))
    task = load_task(home)
    assert tuple(task.report.rows.loc[0, ["width", "height"]]) == (40, 20)
    assert "EXIF damaged" in task.report.rows.loc[0, "converted"]
    return task


@right(12, each=[(0,), (9,), (77,)])
def an_orientation_that_there_is_not(home, number):
    exif = Image.Exif()
    exif[0x0112] = number
    put(pets(home) / "cat" / "0.png", picture("x", size=(20, 10)), exif=exif)
    task = load_task(home)
    assert "EXIF damaged" in task.report.rows.loc[0, "converted"]
    return task


@right(12, each=[("gif",), ("tif",), ("webp",), ("png",)])
def several_pictures_in_a_file(home, ending):
    frames = [picture(f"frame {n}") for n in range(3)]
    (pets(home) / "cat" / "0.png").unlink()
    put(home / "cat" / f"0.{ending}", frames[0], save_all=True, append_images=frames[1:])
    task = load_task(home)
    assert "first of 3 pictures" in task.report.rows.loc[0, "converted"]
    return task


@refused("bomb.png", "megapixels", "Save it smaller", kind=TaskError)
def a_decompression_bomb(home):
    Image.new("1", (14000, 14000)).save(pets(home) / "cat" / "bomb.png")
    return load_task(home)


@right(12, each=[((1, 1),), ((1, 300),), ((300, 1),), ((5, 7),)])
def extreme_shapes(home, size):
    put(pets(home) / "cat" / "0.png", picture("shape", size=size))
    task = load_task(home)
    assert first(task, "cat/0.png", 16).shape == (3, 16, 16)
    return task


BROKEN = (b"", b"not a picture", b"<html>404", b"version https://git-lfs.github.com/spec/v1")
BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBP", b"BM", b"II*\0")


@refused("3.png", "Repair or remove", "skip_bad", kind=UnreadableImageError, each=[(r,) for r in BROKEN + BEGINNINGS])
def a_file_that_is_no_picture(home, raw):
    (pets(home) / "dog" / "3.png").write_bytes(raw)
    return load_task(home)


@refused(
    "3.png",
    "cannot be read",
    kind=UnreadableImageError,
    each=[("png",), ("jpg",), ("gif",), ("bmp",), ("tif",), ("webp",)],
)
def a_truncated_picture(home, ending):
    whole = put(pets(home) / f"whole.{ending}", picture("whole", size=(64, 64))).read_bytes()
    (home / "dog" / "3.png").write_bytes(whole[: len(whole) // 2])
    (home / f"whole.{ending}").unlink()
    return load_task(home)


@right(10, "dog/3.png.*cannot be read", "cat/1.png.*empty")
def broken_pictures_left_out(home):
    (pets(home) / "dog" / "3.png").write_bytes(b"broken")
    (home / "cat" / "1.png").write_bytes(b"")
    return load_task(home, skip_bad=True)


@refused("1.png", "2.png", "3.png", "2 more", kind=UnreadableImageError)
def all_broken_pictures_are_told_at_once(home):
    pets(home)
    for number in range(1, 6):
        (home / "dog" / f"{number}.png").write_bytes(b"broken")
    return load_task(home)


# Copies


@right(13)
def a_copy_in_one_class(home):
    (pets(home) / "cat" / "again.png").write_bytes((home / "cat" / "0.png").read_bytes())
    task = load_task(home)
    where = {file: split for split in task.splits for file in task.splits[split]["file"]}
    assert where["cat/again.png"] == where["cat/0.png"]
    assert task.report.copies["file"].tolist() == ["cat/0.png", "cat/again.png"]
    return task


@right(13)
def the_same_pixels_in_another_format(home):
    image = Image.open(pets(home) / "cat" / "0.png")
    image.save(home / "cat" / "again.bmp")
    task = load_task(home)
    assert len(task.report.copies) == 2
    return task


@right(13)
def one_picture_in_two_classes(home):
    (pets(home) / "dog" / "is a cat.png").write_bytes((home / "cat" / "0.png").read_bytes())
    task = load_task(home)
    assert task.report.copies["across_classes"].all()
    assert "1 of them with different labels" in str(task.report)
    return task


@right(23, "train/cat/x.png.*copy of a test sample")
def a_test_picture_in_train(home):
    splits(home, "train", "test")
    (home / "train" / "cat" / "x.png").write_bytes((home / "test" / "cat" / "0.png").read_bytes())
    (home / "train" / "cat" / "0.png").unlink()
    return load_task(home)


@refused("every validation sample|every train sample", "Split the data anew")
def the_same_pictures_in_both_splits(home):
    splits(home, "train")
    for path in sorted(home.rglob("*.png")):
        put(home / "test" / path.relative_to(home / "train"), Image.open(path))
    return load_task(home)


@refused("class 'cat'", "copies", "count once")
def nothing_but_copies(home):
    for name, colour in (("cat", "red"), ("dog", "blue")):
        for number in range(15):
            put(home / name / f"{number}.png", Image.new("RGB", (12, 12), colour))
    return load_task(home)


@right(11, r"row 0.*copy of a test sample")
def the_same_row_in_two_splits(home):
    table = frame(12)
    table["split"] = ["train"] * 8 + ["test"] * 4
    table.loc[0, "text"] = table.loc[8, "text"].upper() + "  "
    return task_from(table)


# Tables


@right(12)
def a_plain_csv(home):
    return load_task(csv(home))


@right(12)
def a_folder_with_one_csv(home):
    return load_task(csv(home).parent)


@right(
    12,
    each=[("label", "text"), ("Label", "Text"), ("class", "sentence"), ("category", "review"), ("target", "message")],
)
def usual_columns(home, label, text):
    return load_task(csv(home, frame().rename(columns={"label": label, "text": text})))


@right(12)
def columns_by_name(home):
    table = frame().rename(columns={"label": "kind", "text": "says"}).assign(other=1)
    return load_task(csv(home, table), label="kind", text="says")


@right(12)
def two_columns_of_which_one_is_the_label(home):
    return load_task(csv(home, frame().rename(columns={"text": "utterance"})))


@right(12, each=[(mark,) for mark in ",;\t|"])
def other_separators(home, mark):
    return load_task(csv(home, sep=mark))


@right(12, each=[(code,) for code in ("utf-8-sig", "utf-16", "utf-8")])
def encodings(home, code):
    table = frame(text=[f"größer als {n}" for n in range(12)])
    task = load_task(csv(home, table, encoding=code))
    assert set(task.all_samples().texts) == set(table["text"])
    return task


@refused("notes.csv", "not UTF-8", "line 2", "encoding=", each=[("latin-1",), ("cp1252",)])
def another_encoding(home, code):
    return load_task(csv(home, frame(text=[f"größer {n}" for n in range(12)]), encoding=code))


@right(12)
def quotes_commas_and_line_breaks_in_texts(home):
    table = frame(text=[f'he said "{n}, or\nmore"; so' for n in range(12)])
    task = load_task(csv(home, table))
    assert task.all_samples().texts == table["text"].tolist()
    return task


@refused("line 3", "3 cells, but 2 columns", "double quotes")
def a_line_that_is_too_long(home):
    (home / "notes.csv").write_text("text,label\none,cat\ntwo, three,dog\n")
    return load_task(home / "notes.csv")


@refused("line 3", "1 cells, but 2 columns")
def a_line_that_is_too_short(home):
    (home / "notes.csv").write_text("text,label\none,cat\ntwo\n")
    return load_task(home / "notes.csv")


@refused("quotes", "notes.csv")
def a_quote_that_is_not_closed(home):
    (home / "notes.csv").write_text('text,label\n"one,cat\ntwo,dog\n')
    return load_task(home / "notes.csv")


@right(12)
def blank_lines(home):
    path = csv(home)
    path.write_text("\n\n" + path.read_text().replace("\n", "\n\n") + "\n\n")
    return load_task(path)


@right(12, classes=("NA", "None"))
def classes_called_na_and_none(home):
    return load_task(csv(home, frame(label=["NA", "None"] * 6)))


@right(12, classes=("007", "008"))
def labels_with_leading_zeros(home):
    return load_task(csv(home, frame(label=["007", "008"] * 6)))


@right(33, classes=tuple(map(str, range(11))))
def numbers_in_the_order_of_numbers(home):
    return load_task(csv(home, frame(34).head(33).assign(label=[n % 11 for n in range(33)])))


@refused("is empty", each=[("",), ("\n\n",)])
def an_empty_file(home, content):
    (home / "notes.csv").write_text(content)
    return load_task(home / "notes.csv")


@refused("no samples")
def a_csv_of_a_head_only(home):
    (home / "notes.csv").write_text("text,label\n")
    return load_task(home / "notes.csv")


@refused("which column is the label", "label='...'")
def no_column_of_labels(home):
    return load_task(csv(home, frame().rename(columns={"label": "foo"})))


@refused("both the label and the text", "Name another")
def one_column_as_label_and_text(home):
    return load_task(csv(home), label="text", text="text")


@refused("no column 'kind'", "text, label")
def a_column_that_is_not_there(home):
    return load_task(csv(home), label="kind")


@refused("text='...'", "a, label, b")
def no_column_of_texts(home):
    return load_task(csv(home, frame().rename(columns={"text": "a"}).assign(b=1)))


@refused("image and text could both be meant|file and text could both")
def texts_and_images(home):
    return load_task(csv(home, frame(file="x.png")))


@refused("label", "more than once", "Rename")
def a_column_twice(home):
    (home / "notes.csv").write_text("text,label,label\n" + "one,cat,cat\n" * 9)
    return load_task(home / "notes.csv")


@right(11, "row 3.*label is missing")
def a_missing_label_left_out(home):
    return load_task(csv(home, frame(label=["cat", "dog", "cat", "", *["cat", "dog"] * 4])), skip_bad=True)


@refused("row 3", "the label is missing", "Repair or remove", each=[("",), (None,), ("  ",), (float("nan"),)])
def a_missing_label(home, value):
    return task_from(frame(label=["cat", "dog", "cat", value, *["cat", "dog"] * 4]))


@refused("row 2", "empty|missing", each=[("",), (None,), ("   ",), (float("nan"),)])
def a_missing_text(home, value):
    table = frame()
    table.loc[2, "text"] = value
    return task_from(table)


@refused("row 2", "zero|surrogate", each=[("a\0b",), ("half \ud83d",)])
def a_broken_text(home, value):
    texts = [f"text {n}" for n in range(12)]
    texts[2] = value
    return task_from(texts, ["cat", "dog"] * 6)


@right(12)
def a_very_long_text(home):
    table = frame()
    table.loc[0, "text"] = "word " * 40000
    task = load_task(csv(home, table))
    assert "40000 (most)" in str(task.report)
    return task


@refused("text 3", "Cut it")
def one_text_too_long_for_all(home):
    texts = [f"text {n}" for n in range(3000)]
    texts[3] = "x" * 2_000_000
    task_from(texts, ["cat", "dog"] * 1500).all_samples()


@right(12)
def further_columns_of_any_kind(home):
    table = frame(
        lists=[[1] * n for n in range(12)], when=pd.date_range("2026-01-01", periods=12), size=np.arange(12.0)
    )
    samples = task_from(table.assign(gap=[1.5, None] * 6)).all_samples()
    assert {"size", "gap", "file"} <= set(samples.extra)
    assert "lists" not in samples.extra
    return task_from(table)


@right(12)
def a_second_column_of_images(home):
    listed(home)
    table = pd.read_csv(home / "pets.csv").assign(mask=[picture(n) for n in range(12)])
    table["file"] = [str(home / path) for path in table["file"]]
    task = task_from(table, image="file")
    assert "mask" not in task.samples("train").extra
    return task


@right(12)
def a_column_says_the_split(home):
    task = load_task(csv(home, frame(split=["train"] * 6 + ["valid"] * 2 + ["Test"] * 4)))
    assert task.splits["test"]["text"][:] == frame()["text"].tolist()[8:]
    return task


@refused("column split", "'unsure'", "train")
def a_split_column_that_says_something_else(home):
    return load_task(csv(home, frame(split=["train"] * 6 + ["unsure"] * 6)))


@right(24)
def a_folder_of_train_and_test_tables(home):
    csv(home, name="train.csv")
    csv(home, frame(text=[f"another {n}" for n in range(12)]), name="test.csv")
    task = load_task(home)
    assert len(task.rows("test")) == 12
    return task


@refused("2 tables", "a.csv", "load_task")
def a_folder_of_some_tables(home):
    csv(home, name="a.csv")
    return load_task(csv(home, name="b.csv").parent)


@refused("train.csv and test.csv|test and train differ", "differ in the columns")
def tables_with_other_columns(home):
    csv(home, name="train.csv")
    return load_task(csv(home, frame(more=1), name="test.csv").parent)


@right(12)
def parquet(home):
    frame().to_parquet(home / "notes.parquet")
    return load_task(home / "notes.parquet")


@right(12)
def parquet_with_images_inside(home):
    cells = [{"bytes": png(n), "path": None} for n in range(12)]
    table = datasets.Dataset.from_dict({"image": cells, "label": ["cat", "dog"] * 6}).cast_column(
        "image", datasets.Image()
    )
    table.to_parquet(home / "pets.parquet")
    return load_task(home / "pets.parquet")


@refused("notes.parquet", "cannot be read")
def a_damaged_parquet(home):
    (home / "notes.parquet").write_bytes(b"PAR1 not really")
    return load_task(home / "notes.parquet")


@right(12)
def json_of_a_list(home):
    (home / "notes.json").write_text(json.dumps(frame().to_dict("records")))
    return load_task(home / "notes.json")


@right(12)
def json_lines(home):
    frame().to_json(home / "notes.jsonl", orient="records", lines=True)
    return load_task(home / "notes.jsonl")


@refused("notes.jsonl, line 2", "no valid JSON")
def a_broken_json_line(home):
    (home / "notes.jsonl").write_text('{"text": "one", "label": "cat"}\n{"text": \n')
    return load_task(home / "notes.jsonl")


@refused("notes.json", "JSON", each=[("{",), ('{"a": 1}\n{"a": 2}',)])
def broken_json(home, content):
    (home / "notes.json").write_text(content)
    return load_task(home / "notes.json")


@refused("a list of objects", each=[('{"a": 1}',), ("[1, 2]",), ('"text"',), ("3",)])
def json_of_something_else(home, content):
    (home / "notes.json").write_text(content)
    return load_task(home / "notes.json")


@refused("xlsx|feather|txt|sqlite", "save spreadsheets as CSV", each=[("xlsx",), ("feather",), ("txt",), ("sqlite",)])
def other_files(home, ending):
    (home / f"notes.{ending}").write_bytes(b"x")
    return load_task(home / f"notes.{ending}")


def png(seed):
    file = io.BytesIO()
    picture(seed).save(file, format="PNG")
    return file.getvalue()


def listed(home, change=str, table="pets.csv", **columns):
    """Pictures in one folder and a table that names them."""
    for number in range(12):
        put(home / "all" / f"{number}.png", picture(number))
    rows = {"file": [change(f"all/{n}.png") for n in range(12)], "label": ["cat", "dog"] * 6}
    return csv(home, pd.DataFrame(rows | columns), table)


@right(12, each=[("relative",), ("absolute",), ("windows",)])
def a_table_of_pictures(home, kind):
    change = {
        "relative": str,
        "absolute": lambda p: str(home.resolve() / p),
        "windows": lambda p: p.replace("/", "\\"),
    }[kind]
    return load_task(listed(home, change))


@right(12, "all/extra.png.*does not name")
def a_folder_with_such_a_table(home):
    listed(home, table="metadata.csv")
    put(home / "all" / "extra.png", picture("extra"))
    return load_task(home)


@refused("1 of 12 files", "all/7.jpg", "not there")
def a_picture_that_is_not_there(home):
    return load_task(listed(home, lambda path: path.replace("7.png", "7.jpg")))


@refused("addresses", "Download")
def pictures_on_the_web(home):
    return load_task(listed(home, lambda path: f"https://example.org/{path}"))


@refused("column file", "no image and no path")
def a_column_that_holds_no_paths(home):
    return task_from(pd.DataFrame({"file": range(12), "label": ["cat", "dog"] * 6}), image="file")


@refused("row 4|image 4", "missing")
def a_path_that_is_empty(home):
    return load_task(listed(home, lambda path: "" if "4" in path else path))


@right(12)
def groups_stay_together(home):
    task = load_task(
        csv(home, frame(plant=[n // 2 for n in range(12)], label=["cat", "cat", "dog", "dog"] * 3)), group="plant"
    )
    sets = [set(table["group"]) for table in task.splits.values()]
    assert sum(map(len, sets)) == len(set().union(*sets))
    return task


@refused("no column 'plant'", "text, label")
def a_group_that_is_not_there(home):
    return load_task(csv(home), group="plant")


@refused("row 5", "the group is missing")
def a_missing_group(home):
    return task_from(frame(plant=["a", "b", "c", "d", "e", None, "f", "g", "h", "i", "j", "k"]), group="plant")


@right(12)
def copies_join_groups(home):
    table = frame(plant=[f"p{n}" for n in range(12)])
    table.loc[2, "text"] = table.loc[0, "text"]
    task = task_from(table, group="plant")
    where = {row: split for split in task.splits for row in task.rows(split)}
    assert where[0] == where[2]
    return task


@right(12)
def columns_whose_names_are_taken(home):
    task = task_from(
        frame(row=range(12), group="x", image="y", mine=["a", None] * 6).rename(columns={"image": "pic"}), text="text"
    )
    assert {"row_given", "group_given", "mine"} <= set(task.table.column_names)
    return task


# Labels


@refused("measured numbers|whole numbers", "pandas.cut", each=[("typed",), ("as text",)])
def a_target_that_is_a_number(home, kind):
    values = [n + 0.5 for n in range(44)]
    return task_from(frame(44, label=values if kind == "typed" else [str(value) for value in values]))


@refused("whole numbers from 0", each=[(-1,), (-7,)])
def negative_labels(home, value):
    return task_from(frame(label=[value, 1] * 6))


@right(12, classes=("2", "5"))
def numbers_with_gaps(home):
    return task_from(frame(label=[2, 5] * 6))


@right(12, classes=("1", "2"))
def whole_numbers_as_floats(home):
    return task_from(frame(label=[1.0, 2.0] * 6))


@right(12, classes=("False", "True"))
def true_and_false(home):
    return task_from(frame(label=[True, False] * 6))


@right(12)
def categories(home):
    return task_from(frame(label=pd.Categorical(["dog", "cat"] * 6)))


@right(12)
def labels_with_blanks_around(home):
    return task_from(frame(label=["cat ", "dog", " cat", "dog\n"] * 3))


@refused("must be text or whole numbers", "['a']")
def several_labels_a_row(home):
    return task_from(frame(label=[["a"], ["b"]] * 6))


@refused("some labels are text and some are numbers|must be text")
def text_and_numbers_as_labels(home):
    parts = {"train": frame(), "test": frame(text=[f"other {n}" for n in range(12)], label=[0, 1] * 6)}
    return task_from(parts)


# In memory


def table_of(names, count=12, start=0):
    feature = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))})
    rows = {"text": [f"{n} words" for n in range(start, start + count)], "label": [n % 2 for n in range(count)]}
    return datasets.Dataset.from_dict(rows, features=feature)


@right(24)
def class_names_in_another_order(home):
    task = task_from(datasets.DatasetDict(train=table_of(("cat", "dog")), test=table_of(("dog", "cat"), start=50)))
    assert task.classes[task.labels("train")[0]] == "cat"
    assert task.classes[task.labels("test")[0]] == "dog"
    return task


@right(24)
def class_names_and_texts(home):
    return task_from({"train": table_of(("cat", "dog")), "test": frame(text=[f"new {n}" for n in range(12)])})


@refused("bird", "no training sample")
def a_class_that_train_does_not_know(home):
    return task_from(datasets.DatasetDict(train=table_of(("cat", "dog")), test=table_of(("bird", "cat"), start=50)))


@refused("no training sample of class bird", "drop the class")
def a_class_name_without_samples(home):
    return task_from(table_of(("cat", "dog", "bird")))


@refused("row 1", "the label is missing")
def unlabelled_rows_of_hugging_face(home):
    rows = {"text": [f"{n} words" for n in range(12)], "label": [n % 2 - (n == 1) * 2 for n in range(12)]}
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "dog"])})
    return task_from(datasets.Dataset.from_dict(rows, features=features))


@refused("'unsupervised'", "task_from")
def a_split_in_memory_of_another_name(home):
    return task_from(
        datasets.DatasetDict(train=table_of(("cat", "dog")), unsupervised=table_of(("cat", "dog"), start=50))
    )


@refused("use train")
def no_train_in_memory(home):
    return task_from({"test": frame()})


@right(12)
def a_frame_with_a_named_index(home):
    return task_from(frame().set_index("text"))


@right(12)
def a_frame_with_an_odd_index(home):
    return task_from(frame().set_index(pd.Index(range(50, 62))).rename(columns={"label": "label"}))


@right(12)
def columns_of_mixed_values(home):
    task = task_from(frame(mixed=["a", 1, None, 2.5, {"x": 1}, [2]] * 2))
    assert any("column mixed" in line for line in task.report.decisions)
    return task


@right(
    12,
    each=[("pil",), ("array",), ("grey",), ("channel",), ("tensor",), ("bytes",), ("path",), ("text path",), ("cmyk",)],
)
def lists_of_images(home, kind):
    made = [picture(n) for n in range(12)]
    change = {
        "pil": lambda n: made[n],
        "array": lambda n: np.asarray(made[n]),
        "grey": lambda n: np.asarray(made[n].convert("L")),
        "channel": lambda n: np.asarray(made[n].convert("L"))[..., None],
        "tensor": lambda n: torch.from_numpy(np.asarray(made[n]).copy()).permute(2, 0, 1),
        "bytes": lambda n: png(n),
        "path": lambda n: put(home / f"{n}.png", made[n]),
        "text path": lambda n: str(put(home / f"{n}.png", made[n])),
        "cmyk": lambda n: made[n].convert("CMYK"),
    }
    return task_from([change[kind](n) for n in range(12)], ["cat", "dog"] * 6)


@refused(
    "row 0",
    "uint8",
    "multiply by 255",
    each=[("float",), ("tensor",), ("channels first",), ("flat",), ("int64",), ("empty",)],
)
def arrays_that_are_no_images(home, kind):
    made = {
        "float": np.ones((8, 8)),
        "tensor": torch.rand(3, 8, 8),
        "channels first": np.ones((3, 8, 8), dtype=np.uint8),
        "flat": np.ones(64, dtype=np.uint8),
        "int64": np.ones((8, 8), dtype=np.int64),
        "empty": np.ones((0, 8), dtype=np.uint8),
    }
    return task_from([made[kind]] * 12, ["cat", "dog"] * 6)


@right(12, each=[("list",), ("array",), ("tensor",)], classes=("0", "1"))
def kinds_of_labels(home, kind):
    made = {"list": list, "array": np.array, "tensor": torch.tensor}[kind]
    return task_from([f"text {n}" for n in range(12)], made([0, 1] * 6))


@refused("12 items but 11 labels")
def too_few_labels(home):
    return task_from([f"text {n}" for n in range(12)], [0] * 11)


@refused("label='...'")
def labels_beside_a_frame(home):
    return task_from(frame(), ["cat", "dog"] * 6)


@refused("cannot be read as a task", "labels=", each=[("list",), ("number",), ("text",), ("none",), ("stream",)])
def something_else(home, kind):
    stream = datasets.IterableDataset.from_generator(lambda: iter([{"text": "x", "label": 1}]))
    return task_from({"list": ["a", "b"], "number": 3, "text": "pets", "none": None, "stream": stream}[kind])


class Pairs(torch.utils.data.Dataset):
    """As torchvision's: images, labels, names."""

    def __init__(self, transform=None, start=0, classes=("cat", "dog")):
        self.transform, self.start = transform or (lambda image: image), start
        if classes:
            self.classes = list(classes)

    def __len__(self):
        return 12

    def __getitem__(self, number):
        if not 0 <= number < 12:
            raise IndexError
        return self.transform(picture(number + self.start)), number % 2


@right(12)
def a_torchvision_dataset(home):
    return task_from(Pairs())


@right(12)
def a_subset_of_one(home):
    return task_from(torch.utils.data.Subset(Pairs(), range(12)))


@right(24)
def two_of_them(home):
    return task_from({"train": Pairs(), "test": Pairs(start=50)})


@right(12, classes=("0", "1"))
def one_without_names(home):
    return task_from(Pairs(classes=None))


@refused("float32", "ToTensor")
def one_that_makes_tensors_of_floats(home):
    return task_from(Pairs(torchvision.transforms.ToTensor()))


@right(12)
def a_folder_of_torchvision(home):
    return task_from(torchvision.datasets.ImageFolder(pets(home), torchvision.transforms.ToTensor()))


@right(12)
def a_data_set_on_the_disk(home):
    datasets.Dataset.from_pandas(frame()).save_to_disk(home / "saved")
    return load_task(home / "saved")


@refused(
    "offline",
    "TL_ONLINE=1",
    kind=RuntimeError,
    each=[("someone/some-data",), ("torchvision:CIFAR10",), ("torchvision:SVHN",)],
)
def a_name_on_a_hub(home, name):
    return load_task(name)


@refused("torchvision:Nothing", "CIFAR10")
def a_name_that_torchvision_does_not_know(home):
    return load_task("torchvision:Nothing")


@refused("packaged", kind=ValueError)
def columns_of_a_packaged_task(home):
    return load_task("optdigits", label="digit")


# Disks


@right(12)
def a_cache_that_cannot_be_written(home):
    blocked = home.parent / "file"
    blocked.write_text("no folder")
    os.environ["TL_CACHE"] = str(blocked / "cache")
    from tl_helpers import runtime

    runtime.current.cache_clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        task = load_task(pets(home))
        task.samples("train")
    assert any("Not kept in the store" in str(each.message) for each in told)
    return task


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path):
    home = pets(tmp_path / "pets")
    put(home / "cat" / "locked" / "x.png", picture("x"))
    (home / "cat" / "locked").chmod(0)
    try:
        with pytest.warns(DataWarning, match="may not be read"):
            load_task(home)
    finally:
        (home / "cat" / "locked").chmod(0o700)


@refused("0.png", "Was the folder moved", kind=UnreadableImageError)
def a_picture_deleted_after_loading(home):
    task = load_task(pets(home))
    (home / "cat" / "0.png").unlink()
    task.samples("train")


@pytest.mark.filterwarnings("ignore::tl_helpers.data.DataWarning")
@pytest.mark.parametrize(("make", "arguments", "expected"), CASES)
def test_each_kind(tmp_path, monkeypatch, make, arguments, expected):
    monkeypatch.setenv("TL_CACHE", os.environ["TL_CACHE"])  # a case may change it
    home = tmp_path / "pets"
    home.mkdir()
    if isinstance(expected[0], type):
        kind, words = expected
        with pytest.raises(kind) as caught:
            make(home, *arguments)
        for word in words:
            assert re.search(word if "|" in word else re.escape(word), str(caught.value)), f"{word}: {caught.value}"
        return
    used, left_out, classes = expected
    task = make(home, *arguments)
    report = task.report
    assert len(task.table) == len(report.rows) == used
    assert sum(len(task.rows(split)) for split in task.splits) == used
    assert task.classes == classes
    told = [f"{what}: {reason}" for what, reason in report.left_out.itertuples(index=False)]
    for wanted in left_out:
        assert any(re.search(wanted, line) for line in told), told
    assert left_out or not told
    assert str(report).startswith(f"{task.name}: {used} samples used")
    named = report.to_frame()
    assert len(named) == used + len(told)


def test_there_are_at_least_120_kinds():
    assert len(CASES) >= 120


@pytest.mark.usefixtures("own_cache")
def test_every_file_is_used_or_named(tmp_path):
    home = pets(tmp_path / "pets")
    put(home / "cover.png", picture("cover"))
    for name in ("cat/notes.txt", "dog/.hidden", "more.csv", "cat/archive.zip"):
        (home / name).write_text("x")
    (home / "dog" / "5.png").write_bytes(b"broken")
    with pytest.warns(DataWarning, match="6 left out.*See task.report"):
        report = load_task(home, skip_bad=True).report
    named = {str(what) for what in report.to_frame()["file"]}
    assert named == {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
