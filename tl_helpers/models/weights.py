"""Weight files: nothing is used whose bytes are not the expected ones."""

from __future__ import annotations

import hashlib
from pathlib import Path


class WeightsError(RuntimeError):
    """A weight file is absent, damaged, or does not fit its architecture."""


def checked_bytes(path: Path, sha256: str) -> bytes:
    """The content of a file whose checksum is known; a WeightsError if it is absent or its checksum differs."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"Weight file {path} cannot be read ({error.strerror}). Install its package again."
        ) from None
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"Weight file {path.name} is not the expected one: its SHA-256 is {found[:12]}..., expected "
            f"{sha256[:12]}.... It is damaged or was replaced, so it is not used. Install its package again."
        )
    return raw
