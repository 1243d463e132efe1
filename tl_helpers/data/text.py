"""Sentences as `Samples`: each is kept as its UTF-8 bytes, so that caches, splits and training treat text like images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import torch

from tl_helpers.data.errors import TaskError

MOST_BYTES = 2**32
"""What the texts of one split may take in memory."""


def encode_texts(texts: Sequence[str], what: str = "texts") -> torch.Tensor:
    """Sentences to uint8, shape (N, 1, 1, W): UTF-8 bytes, filled up with zeros to the longest of them.

    A TaskError for an empty text, one that holds a zero character, or one too long for memory.
    """
    for number, text in enumerate(texts):
        if problem := wrong_text(text):
            raise TaskError(f"{what}: text {number} is {problem}.")
    raw = [text.encode() for text in texts]
    width = max((len(line) for line in raw), default=1)
    if len(raw) * width > MOST_BYTES:
        longest = max(range(len(raw)), key=lambda number: len(raw[number]))
        raise TaskError(
            f"{what}: text {longest} has {width} bytes, to which all {len(raw)} would be filled up. Cut it, or leave it "
            "out: encoders read the beginning only."
        )
    rows = np.zeros((len(raw), 1, 1, width), dtype=np.uint8)
    for row, line in zip(rows, raw, strict=True):
        row[0, 0, : len(line)] = np.frombuffer(line, dtype=np.uint8)
    return torch.from_numpy(rows)


def wrong_text(text: object) -> str:
    """Why this cannot be a text, in words; empty if it can."""
    if not isinstance(text, str):
        missing = text is None or (isinstance(text, float) and text != text)
        return "missing" if missing else f"a {type(text).__name__}, not text"
    if not text.strip():
        return "empty"
    if "\0" in text:
        return "broken (it holds a zero)"
    return "broken (half a character: a lone surrogate)" if _SURROGATE.search(text) else ""


_SURROGATE = re.compile("[\ud800-\udfff]")


def same_text(texts: Sequence[str]) -> list[str]:
    """What two texts have in common that differ only in case, blanks or Unicode spelling."""
    return [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts]


def decode_texts(encoded: torch.Tensor) -> list[str]:
    """The sentences back: uint8 (N, 1, 1, W) to N strings; a ValueError for images."""
    if encoded.dtype != torch.uint8 or encoded.ndim != 4 or tuple(encoded.shape[1:3]) != (1, 1):
        raise ValueError(f"sentences have shape (N, 1, 1, W) and dtype uint8; got {tuple(encoded.shape)}: images?")
    return [bytes(row).rstrip(b"\0").decode() for row in encoded[:, 0, 0].cpu().numpy()]
