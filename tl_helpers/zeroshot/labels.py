"""Labels as text: names checked, filled into templates, and embedded by the packaged sentence encoder."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from tl_helpers import features
from tl_helpers.data import Samples
from tl_helpers.data.text import encode_texts
from tl_helpers.models import load_backbone

remembered_backbone = functools.cache(load_backbone)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names without spare spaces, if they can be the labels of a zero-shot classifier.

    A ValueError for fewer than two, an empty one, or the same name twice (capitals and spaces do not make a
    difference).
    """
    if isinstance(names, str):
        raise ValueError(f"labels={names!r}: give a list of names, not one text.")
    found = [" ".join(str(name).split()) for name in names]
    if len(found) < 2:
        raise ValueError(f"{len(found)} label{'' if len(found) == 1 else 's'}: to choose, give two or more.")
    seen: dict[str, int] = {}
    for place, name in enumerate(found):
        if not name:
            raise ValueError(f"label {place + 1} of {len(found)} is empty: describe it in a word or more.")
        if name.casefold() in seen:
            places = f"places {seen[name.casefold()] + 1} and {place + 1}"
            raise ValueError(f"label {name!r} is there twice ({places}): leave one out, or describe them differently.")
        seen[name.casefold()] = place
    return tuple(found)


def check_split(seen: Sequence[str], unseen: Sequence[str]) -> None:
    """Raise a ValueError where a name is seen *and* unseen: then nothing would be zero-shot about it."""
    both = sorted({name.casefold() for name in seen} & {name.casefold() for name in unseen})
    if both:
        raise ValueError(
            f"labels both seen and unseen: {', '.join(both[:3])} ({len(both)} in all). Train on the others."
        )


def fill(template: str, names: Sequence[str]) -> list[str]:
    """Each name in the place of ``{}``; a ValueError for a template without exactly one."""
    if template.count("{}") != 1:
        raise ValueError(f"template {template!r}: write {{}} once, where the name belongs ('a photo of a {{}}').")
    return [template.replace("{}", name) for name in names]


def embed_texts(texts: Sequence[str]) -> np.ndarray:
    """Embeddings of texts by all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019), computed once per machine.

    They have length 1, so that a product of two is their cosine. N texts give float32 (N, 384); none, or an empty one,
    a ValueError.
    """
    empty = [place for place, text in enumerate(texts) if not str(text).strip()]
    if not len(texts) or empty:
        raise ValueError(f"text {empty[0] + 1} is empty: describe it." if empty else "no texts: nothing to embed.")
    samples = Samples(
        name="texts",
        inputs=encode_texts([str(text) for text in texts], "texts"),
        labels=torch.zeros(len(texts), dtype=torch.int64),
        classes=("text",),
        rows=np.arange(len(texts)),
        modality="text",
    )
    found = features.extract(remembered_backbone("minilm"), samples)
    return functional.normalize(torch.from_numpy(found), dim=1).numpy()


def embed_labels(names: Sequence[str], templates: str | Sequence[str] = "{}") -> np.ndarray:
    """One embedding of length 1 for each name; with several templates, of their mean (Radford et al. 2021, section 3.1.4).

    L names (see `check_names`), and templates with ``{}`` where the name belongs, give float32 (L, 384).
    """
    names = check_names(names)
    templates = [templates] if isinstance(templates, str) else list(templates)
    if not templates:
        raise ValueError("no template: '{}' is the name as it is.")
    total = sum(embed_texts(fill(template, names)) for template in templates)
    return functional.normalize(torch.from_numpy(total), dim=1).numpy()


def check_embeddings(x: np.ndarray, labels: np.ndarray | None = None, what: str = "embeddings") -> None:
    """Raise a ValueError where embeddings (N, d), alone or with labels (L, d), cannot be compared.

    That is: another number of axes, no rows, NaN or infinity, or widths that differ.
    """
    for name, array in ((what, x), ("label embeddings", labels)):
        if array is None:
            continue
        if np.ndim(array) != 2 or len(array) == 0:
            raise ValueError(f"{name} have shape {np.shape(array)}; need (N, d), N from 1 on.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} hold NaN or infinity: look where they came from (a broken image, a log of 0?).")
    if labels is not None and x.shape[1] != labels.shape[1]:
        raise ValueError(
            f"{what} are {x.shape[1]} wide, label embeddings {labels.shape[1]}: they are from different spaces. Map one "
            "into the other first (ridge_map, ranking_map), or use one encoder for both."
        )
