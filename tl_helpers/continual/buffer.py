"""Replay buffers: a few samples of what was learned, kept for later."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tl_helpers import keys
from tl_helpers.continual.streams import together
from tl_helpers.data import Samples


class Buffer:
    """At most `size` samples of all that were added.

    Of kind ``reservoir`` (Vitter 1985, algorithm R), every sample that ever came by is kept with the same probability,
    whatever the stream's length. Of kind ``balanced``, as many of each class (of each experience) as there is room for,
    at random; classes that have fewer leave their room empty.
    """

    def __init__(self, size: int, kind: Literal["reservoir", "balanced"] = "reservoir", seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"size={size}: a buffer holds one sample or more.")
        if kind not in ("reservoir", "balanced"):
            raise ValueError(f"kind={kind!r}: use reservoir or balanced.")
        self.size, self.kind = size, kind
        self.random = np.random.default_rng(seed)
        self.seen = 0
        self.samples: Samples | None = None

    def __len__(self) -> int:
        return 0 if self.samples is None else len(self.samples)

    @property
    def fingerprint(self) -> str:
        """Names what is kept, and what would be kept next."""
        held = None if self.samples is None else self.samples.fingerprint
        return keys.fingerprint(self.size, self.kind, self.seen, self.random.bit_generator.state, held)

    def add(self, samples: Samples) -> None:
        """Let the samples of an experience (column ``experience``) come by, in random order."""
        samples = samples.take(self.random.permutation(len(samples)))
        everything = samples if self.samples is None else together([self.samples, samples], "buffer")
        kept = self._reservoir(len(samples)) if self.kind == "reservoir" else self._balanced(everything)
        self.seen += len(samples)
        self.samples = everything.take(np.sort(kept), name="buffer")

    def nbytes(self) -> int:
        """Of pixels and labels."""
        return 0 if self.samples is None else self.samples.inputs.nbytes + self.samples.labels.nbytes

    def _reservoir(self, new: int) -> np.ndarray:
        """Positions kept among those in the buffer, which come first, and the new ones."""
        held = len(self)
        slots = list(range(held))
        for number in range(new):
            here = held + number
            if len(slots) < self.size:
                slots.append(here)
                continue
            slot = int(self.random.integers(0, self.seen + number + 1))
            if slot < self.size:
                slots[slot] = here
        return np.array(slots)

    def _balanced(self, samples: Samples) -> np.ndarray:
        group = np.asarray(samples.extra["experience"]) * len(samples.classes) + samples.labels.numpy()
        groups = np.unique(group)
        room, rest = divmod(self.size, len(groups))
        kept = []
        for number, one in enumerate(groups):
            members = np.flatnonzero(group == one)  # those held already come first, and were a random part
            kept.append(members[: room + (number < rest)])
        return np.concatenate(kept)
