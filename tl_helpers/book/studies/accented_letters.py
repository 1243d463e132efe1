"""Letters with a mark, such as é and Ž: classes that their attributes describe in full (chapter 11b).

Unicode's name of a letter is a list of attributes: case, letter, mark. A combination that was never seen is made of parts
that were, which is what zero-shot by attributes lives on.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from tl_helpers import keys, runtime, store, zeroshot
from tl_helpers.book.studies.zero_shot import Split
from tl_helpers.data import glyphs

RANGES = ((0xC0, 0x17F), (0x1CD, 0x1DC), (0x1E00, 0x1EF9))
SCRIPT = glyphs.Script(RANGES, (*glyphs.DEJAVU, *glyphs.DEJAVU_SERIF))
NAME = re.compile(r"LATIN (CAPITAL|SMALL) LETTER ([A-Z]) WITH ((?:(?! AND ).)+)")
LEAST = {"letter": 4, "mark": 8}
"""A letter or a mark takes part if so many characters have it."""

UNSEEN, VALIDATION = 100, 50
"""Combinations that no map sees, and of the others those that choices are made on."""

SETTINGS = {
    "ridge": [(round(float(strength), 4),) for strength in np.geomspace(0.03, 100, 15)],
    "ESZSL": [(strength, other) for strength in (1.0, 3.0, 10.0) for other in (0.001, 0.01, 0.1, 1.0, 10.0)],
}
"""What is on offer to the choice on validation characters: as many settings for one method as for the other."""


@dataclass(frozen=True)
class Letters:
    """All prints, and what each character is made of.

    Attributes
    ----------
    prints : numpy.ndarray
        float64 in 0..1, shape (N, 784).
    own : numpy.ndarray
        int, (N,): which character each print shows.
    table : pandas.DataFrame
        One row a character: ``character``, ``name`` (Unicode's, in small letters), ``case``, ``letter``, ``mark``.
    attributes : numpy.ndarray
        float64, 0 or 1, (characters, a): one column for each value of case, letter and mark.
    columns : tuple of str
        What the columns of `attributes` are, such as ``mark: acute``.
    """

    prints: np.ndarray
    own: np.ndarray
    table: pd.DataFrame
    attributes: np.ndarray
    columns: tuple[str, ...]


def characters() -> pd.DataFrame:
    """Latin letters with one mark that every font can print, by their names in Unicode."""
    rows = []
    for code in glyphs.characters(SCRIPT):
        if found := NAME.fullmatch(unicodedata.name(chr(code))):
            case, letter, mark = (part.lower() for part in found.groups())
            name = unicodedata.name(chr(code)).lower()
            rows.append({"character": chr(code), "name": name, "case": case, "letter": letter, "mark": mark})
    table = pd.DataFrame(rows)
    for part, least in LEAST.items():
        often = Counter(table[part])
        table = table[[often[value] >= least for value in table[part]]]
    return table.reset_index(drop=True)


@functools.lru_cache(maxsize=1)
def letters() -> Letters:
    """The characters, each printed once in every font, a little turned and sheared."""
    table = characters()
    stamp = [[path.name, path.stat().st_size] for path in map(glyphs.font_file, SCRIPT.fonts)]
    key = keys.fingerprint(
        "accented letters", runtime.versions(), keys.code_name(_make), "".join(table.character), stamp
    )
    prints = store.shared("images").compute(key, lambda: _make(table.character))["prints"]
    groups = {part: sorted(set(table[part])) for part in ("case", "letter", "mark")}
    found = [table[part].to_numpy() == value for part, values in groups.items() for value in values]
    return Letters(
        prints=prints.flatten(1).double().numpy() / 255,
        own=np.repeat(np.arange(len(table)), len(prints) // len(table)),
        table=table,
        attributes=np.stack(found, axis=1).astype(float),
        columns=tuple(f"{part}: {value}" for part, values in groups.items() for value in values),
    )


def _make(characters: pd.Series) -> dict[str, torch.Tensor]:
    faces, prints = list(glyphs.faces(SCRIPT)), []
    for character in characters:
        random = np.random.default_rng(ord(character))
        prints += [glyphs.print_of(character, face, random) for face in faces]
    return {"prints": torch.as_tensor(np.stack(prints))[:, None]}


def split_letters(seed: int) -> Split:
    """Unseen combinations whose case, letter and mark all occur in training, in other combinations."""
    attributes, random = letters().attributes, np.random.default_rng(seed)
    while True:
        order = random.permutation(len(attributes))
        split = Split(train=order[UNSEEN + VALIDATION :], validation=order[UNSEEN:][:VALIDATION], unseen=order[:UNSEEN])
        if attributes[split.train].any(axis=0).all():
            return split


def rows_of(some: np.ndarray) -> np.ndarray:
    """The prints of some characters, in their order: int rows."""
    own = letters().own
    return np.concatenate([np.flatnonzero(own == character) for character in some])


def learned(method: str, signatures: np.ndarray, seen: np.ndarray, setting: tuple[float, ...]) -> zeroshot.LinearMap:
    """A map from prints to signatures, learned on the prints of the seen characters: ``ridge`` or ``ESZSL``."""
    everything = letters()
    rows = rows_of(seen)
    x, own = everything.prints[rows], np.repeat(np.arange(len(seen)), len(rows) // len(seen))
    if method == "ridge":
        return zeroshot.ridge_map(x, signatures[seen][own], strength=setting[0])
    if method == "ESZSL":
        return zeroshot.eszsl_map(x, signatures[seen], own, strength=setting[0], signature_strength=setting[1])
    raise ValueError(f"method={method!r}: ridge or ESZSL.")


def answers(one: zeroshot.LinearMap, signatures: np.ndarray, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The prints of some characters, with the names of these on offer: scores (N, L), and which one is right, (N,)."""
    rows = rows_of(some)
    scores = zeroshot.cosine(one(letters().prints[rows]), signatures[some])
    return scores, np.repeat(np.arange(len(some)), len(rows) // len(some))


def choose(method: str, signatures: np.ndarray, split: Split) -> tuple[zeroshot.LinearMap, tuple[float, ...]]:
    """The setting that is best on validation characters, and a map trained with it on all that are seen."""
    best = max(
        SETTINGS[method],
        key=lambda setting: zeroshot.accuracy(
            *answers(learned(method, signatures, split.train, setting), signatures, split.validation)
        ),
    )
    return learned(method, signatures, split.seen, best), best
