"""Zero-shot on emoji: which concepts take part, how they are split, and one run of each method (chapter 11)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from tl_helpers import features, zeroshot
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.data import load_task
from tl_helpers.models import load_backbone

SIZE = 160
"""Pixels of a drawing, as the chapter uses them: the largest of `SIZES`, and the best on validation concepts."""

SIZES = (96, 128, 160)
LAYERS = ("head_conv", "stage7", "stage7+head_conv")
"""Stages of EfficientNet-Lite0 that a map may start from: the embedding, the stage before it, or both side by side."""

UNSEEN = 200
"""Concepts that no map ever sees and no choice ever looks at."""

FEWER = (20, 50, 100)
"""Shorter lists of unseen names, the first ones of the 200."""

VALIDATION = 200
"""Concepts, drawn from the seen ones, that hyper-parameters are chosen on (a fifth of the seen ones, if that is less)."""

ARTISTS = ("twemoji", "openmoji")
METHODS = ("ConSE", "ridge", "ridge, names to images", "ridge + CSLS")
RANKING = "ranking"
"""The map of `zeroshot.ranking_map`: slow to train, so it has a study of its own."""

SEEN = (50, 100, 200, 400, 800, 1177)
SEEDS = seeds(10)

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of ridge regression, as multiples of the features' mean squared length."""

BACK_STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""The same, from names to images."""

MARGINS = (0.2, 0.4, 0.8, 1.6)
TOPS = (1, 3, 10, 30, 100)

PERSON = {
    "1F468": "1F9D1", "1F469": "1F9D1",  # man, woman: adult
    "1F466": "1F9D2", "1F467": "1F9D2",  # boy, girl: child
    "1F474": "1F9D3", "1F475": "1F9D3",  # old man, old woman: older adult
}  # fmt: skip
SIGNS = ("FE0F", "200D", "2640", "2642", "27A1")
"""Code points that only vary a concept: joiners, female and male sign, facing right."""

SERIES = ("clock face", "squared cjk unified ideograph")
"""Names that begin so differ in a number only."""


def family(code: str, name: str) -> str:
    """What a concept is once gender, direction and the number on a clock are taken out.

    ``man running`` and ``woman running`` are one family: whoever has seen one has seen the other.
    """
    for start in SERIES:
        if name.startswith(start):
            return start
    return "-".join(PERSON.get(part, part) for part in code.split("-") if part not in SIGNS)


def other_artist(artist: str) -> str:
    """The one of `ARTISTS` that this is not."""
    return ARTISTS[1 - ARTISTS.index(artist)]


@dataclass(frozen=True)
class Concepts:
    """What all drawings have in common, row by row of the data set.

    Attributes
    ----------
    names, categories, codes : numpy.ndarray
        str, shape (1884,).
    chosen : numpy.ndarray
        int, rows: the first concept of each family, without flags.
    everything : numpy.ndarray
        int, rows: every distinct name.
    """

    names: np.ndarray
    categories: np.ndarray
    codes: np.ndarray
    chosen: np.ndarray
    everything: np.ndarray


@functools.lru_cache(maxsize=1)
def concepts() -> Concepts:
    """The concepts and the rule by which they take part."""
    task = load_task("twemoji")
    names, codes = np.array(task.table["concept"]), np.array(task.table["code"])
    categories = np.array(task.classes)[np.array(task.table["label"])]
    families = np.array([family(code, name) for code, name in zip(codes, names, strict=True)])
    first = np.sort(np.unique(families, return_index=True)[1])
    return Concepts(
        names=names,
        categories=categories,
        codes=codes,
        chosen=first[categories[first] != "Flags"],
        everything=np.sort(np.unique(names, return_index=True)[1]),
    )


@functools.lru_cache(maxsize=1)
def name_embeddings() -> np.ndarray:
    """Of all names: float32, shape (1884, 384), of length 1."""
    return zeroshot.embed_texts(list(concepts().names))


@dataclass(frozen=True)
class Split:
    """Rows of the data set: no concept is in two of these. `seen` is training and validation together."""

    train: np.ndarray
    validation: np.ndarray
    unseen: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        return np.concatenate([self.train, self.validation])


def split_concepts(
    seed: int, *, seen: int | None = None, unseen: int = UNSEEN, among: np.ndarray | None = None
) -> Split:
    """Unseen concepts, and of the others so many seen ones, of which some are for validation.

    Splits are nested: with the same seed, more seen concepts are the fewer and others, and the unseen ones stay.

    Parameters
    ----------
    seed : int
    seen : int, optional
        All that are left by default.
    unseen : int
    among : numpy.ndarray, optional
        Rows to draw from; `Concepts.chosen` by default.

    Raises
    ------
    ValueError
        For more than there are, or fewer than 10 seen or 2 unseen.
    """
    among = concepts().chosen if among is None else among
    left = len(among) - max(unseen, UNSEEN)  # the same seen ones, whatever the number of unseen
    seen = left if seen is None else seen
    if not 10 <= seen <= left or unseen < 2:
        raise ValueError(f"seen={seen}, unseen={unseen}: of {len(among)}, use 10 to {left} seen and 2 or more unseen.")
    order = np.random.default_rng(seed).permutation(among)
    known = order[max(unseen, UNSEEN) :][:seen]
    held_out = min(VALIDATION, seen // 5)
    return Split(train=known[held_out:], validation=known[:held_out], unseen=order[:unseen])


@functools.lru_cache(maxsize=16)
def image_features(artist: str, size: int = SIZE, layer: str = "head_conv") -> np.ndarray:
    """Features of all drawings of an artist, each stage's brought to length 1: float32, shape (1884, width)."""
    stages = layer.split("+")
    samples = load_task(artist).all_samples(size)
    found = features.extract_stages(load_backbone("efficientnet_lite0"), samples, stages=("stage7", "head_conv"))
    units = [functional.normalize(torch.from_numpy(found[stage]), dim=1) for stage in stages]
    return torch.cat(units, dim=1).numpy()


@functools.lru_cache(maxsize=8)
def imagenet_answers(artist: str, size: int = SIZE) -> np.ndarray:
    """ImageNet's probabilities for all drawings of an artist: float64, shape (1884, 1000)."""
    samples = load_task(artist).all_samples(size)
    found = features.extract_stages(load_backbone("efficientnet_lite0"), samples, stages=("stage7", "head_conv"))
    return zeroshot.probabilities_of(found["head_conv"])


Scorer = Callable[[str, np.ndarray, np.ndarray], np.ndarray]


def make_scorer(
    method: str, source: str, rows: np.ndarray, setting: float, *, size: int, layer: str, seed: int
) -> Scorer:
    """Train on the drawings in `rows`; the scorer takes an artist, rows of drawings and rows of names: (N, L)."""
    if method not in (*METHODS, RANKING):
        raise ValueError(f"method={method!r}: one of {', '.join((*METHODS, RANKING))}.")
    names = name_embeddings()
    if method == "ConSE":
        labels = zeroshot.imagenet_labels()
        return lambda artist, n, of: zeroshot.cosine(
            zeroshot.conse(imagenet_answers(artist, size)[n], labels, top=int(setting)), names[of]
        )
    x = image_features(source, size, layer)
    if method == "ridge, names to images":
        back = zeroshot.ridge_map(names[rows], x[rows], strength=setting)
        return lambda artist, n, of: zeroshot.cosine(
            image_features(artist, size, layer)[n] - back.shift, back(names[of]) - back.shift
        )
    if method == RANKING:
        own = np.arange(len(rows))
        to_names = zeroshot.ranking_map(x[rows], names[rows], own, margin=setting, seed=seed)
    else:
        to_names = zeroshot.ridge_map(x[rows], names[rows], strength=setting)

    def score(artist: str, n: np.ndarray, of: np.ndarray) -> np.ndarray:
        similarities = zeroshot.cosine(to_names(image_features(artist, size, layer)[n]), names[of])
        if method != "ridge + CSLS":
            return similarities
        bank = zeroshot.cosine(
            to_names(x[rows]), names[of]
        )  # hubs are looked for with training drawings, not test ones
        return zeroshot.csls(similarities, bank, k=min(10, len(rows), len(of)))

    return score


def settings_of(method: str) -> tuple[float, ...]:
    """What is on offer to the choice on validation concepts."""
    others = {"ConSE": TOPS, RANKING: MARGINS, "ridge, names to images": BACK_STRENGTHS}
    return others.get(method, STRENGTHS)


@dataclass(frozen=True)
class Chosen:
    """A scorer trained on all seen concepts, with the setting that was best on validation concepts."""

    scorer: Scorer
    setting: float
    validation_accuracy: float


def choose(
    method: str, source: str, split: Split, *, size: int = SIZE, layer: str = LAYERS[-1], seed: int = 0
) -> Chosen:
    """Choose the setting on validation concepts of the source artist (mean of top-1 and top-5), then train on all seen."""
    held_out, truth = split.validation, np.arange(len(split.validation))
    found = {}
    for setting in settings_of(method):
        scores = make_scorer(method, source, split.train, setting, size=size, layer=layer, seed=seed)(
            source, held_out, held_out
        )
        top_1, top_5 = zeroshot.accuracy(scores, truth), zeroshot.accuracy(scores, truth, min(5, len(truth)))
        found[setting] = (top_1 + top_5, top_1)
    best = max(found, key=lambda setting: found[setting][0])
    scorer = make_scorer(method, source, split.seen, best, size=size, layer=layer, seed=seed)
    return Chosen(scorer, float(best), found[best][1])


def zero_shot_cell(method: str, artist: str, seen: int, seed: int) -> dict[str, float]:
    """One cell: learn from an artist's drawings of seen concepts, name both artists' drawings of 200 unseen ones.

    Parameters
    ----------
    method : str
        One of `METHODS`, or `RANKING`. ConSE learns nothing from the drawings; the artist decides about its `top` only.
    artist : str
    seen : int
        Concepts with a drawing and a name, a fifth of them (200 at most) for validation.
    seed : int
        Of the split, and of the ranking map.

    Returns
    -------
    dict of str to float
        ``accuracy`` and ``top_5_accuracy`` over the 200 unseen names, for the same artist; ``across_accuracy`` and
        ``across_top_5_accuracy`` for the other one; ``accuracy_20``, ``accuracy_50``, ``accuracy_100`` (and ``across_``)
        over the first so many names only; all in %. ``validation_accuracy``, ``hubness`` (skewness of N_1), ``setting``.
    """
    split = split_concepts(seed, seen=seen)
    chosen = choose(method, artist, split, seed=seed)
    found = {"validation_accuracy": chosen.validation_accuracy, "setting": chosen.setting}
    for start, target in (("", artist), ("across_", other_artist(artist))):
        for count in (UNSEEN, *FEWER):
            some, truth = split.unseen[:count], np.arange(count)
            scores = chosen.scorer(target, some, some)
            found[f"{start}accuracy" + (f"_{count}" if count < UNSEEN else "")] = zeroshot.accuracy(scores, truth)
            if count == UNSEEN:
                found[f"{start}top_5_accuracy"] = zeroshot.accuracy(scores, truth, 5)
                found[f"{start}hubness"] = zeroshot.hubness(scores)
    return {name: round(value, 3) for name, value in found.items()}


def zero_shot_input_cell(artist: str, size: int, layer: str, seed: int) -> dict[str, float]:
    """One cell: what size of drawing and which stage serve best; only `validation_accuracy` may decide.

    Returns
    -------
    dict of str to float
        ``validation_accuracy`` and ``accuracy`` of the ridge map, ``conse_validation_accuracy`` and ``conse_accuracy``.
    """
    split, found, truth = split_concepts(seed), {}, np.arange(UNSEEN)
    for method, start in (("ridge", ""), ("ConSE", "conse_")):
        chosen = choose(method, artist, split, size=size, layer=layer, seed=seed)
        found[f"{start}validation_accuracy"] = round(chosen.validation_accuracy, 3)
        scores = chosen.scorer(artist, split.unseen, split.unseen)
        found[f"{start}accuracy"] = round(zeroshot.accuracy(scores, truth), 3)
    return found


STUDIES = (
    Study(
        "zero_shot_inputs",
        "Emoji without a drawing: size of the images and stage of the network, chosen on validation concepts",
        {"artist": ARTISTS, "size": SIZES, "layer": LAYERS, "seed": seeds(5)},
        zero_shot_input_cell,
        cited={},
    ),
    Study(
        "zero_shot_emoji",
        "200 emoji never seen, by name: methods, artists, and from 50 to all other concepts to learn from",
        {"method": METHODS, "artist": ARTISTS, "seen": SEEN, "seed": SEEDS},
        zero_shot_cell,
        cited={"seen": (200, SEEN[-1])},
    ),
    Study(
        "zero_shot_ranking",
        "200 emoji never seen, by name: a map trained with a ranking loss, on all other concepts",
        {"method": (RANKING,), "artist": ARTISTS, "seen": SEEN[-1:], "seed": seeds(5)},
        zero_shot_cell,
        cited={},
    ),
)
