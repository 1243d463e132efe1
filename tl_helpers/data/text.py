"""Sentences as `Samples`: each is kept as its UTF-8 bytes, so that caches, splits and training treat text like images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tl_helpers.data.errors import TaskError


def encode_texts(texts: Sequence[str], what: str = "texts") -> torch.Tensor:
    """Sentences to uint8, shape (N, 1, 1, W): UTF-8 bytes, filled up with zeros to the longest of them.

    A TaskError for an empty text, or one that holds a zero character.
    """
    raw = [text.encode() for text in texts]
    for number, (text, line) in enumerate(zip(texts, raw, strict=True)):
        if not text.strip() or b"\0" in line:
            raise TaskError(f"{what}: text {number} is {'empty' if not text.strip() else 'broken (it holds a zero)'}.")
    width = max((len(line) for line in raw), default=1)
    rows = np.zeros((len(raw), 1, 1, width), dtype=np.uint8)
    for row, line in zip(rows, raw, strict=True):
        row[0, 0, : len(line)] = np.frombuffer(line, dtype=np.uint8)
    return torch.from_numpy(rows)


def decode_texts(encoded: torch.Tensor) -> list[str]:
    """The sentences back: uint8 (N, 1, 1, W) to N strings; a ValueError for images."""
    if encoded.dtype != torch.uint8 or encoded.ndim != 4 or tuple(encoded.shape[1:3]) != (1, 1):
        raise ValueError(f"sentences have shape (N, 1, 1, W) and dtype uint8; got {tuple(encoded.shape)}: images?")
    return [bytes(row).rstrip(b"\0").decode() for row in encoded[:, 0, 0].cpu().numpy()]
