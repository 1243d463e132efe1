"""How fast are frozen features? Ours, against the bare forward pass and against the loop a reader would write.

    python benchmarks/features.py            # prints a table and writes benchmarks/features.json
    python benchmarks/features.py --check    # also exits with 1 if a goal is missed

All in one run on one machine, over the same solar cells at 224 px, each the best of a few repeats:

- bare: the backbone's forward pass on ready, normalised tensors;
- ours: `features.extract` on decoded cells with a cold feature cache (hashing, preparing, forward, writing to disk);
- ours with decoding: the same from PNG files, with a cold cache of everything;
- cached: `features.extract` once more;
- plain: a `Dataset` that opens and transforms each file, a `DataLoader`, float32; the faster of 0 and 2 workers.

Once in float32, the book's default, and once in bfloat16 (`TL_PRECISION=bfloat16`), where the CPU or GPU has it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tl_helpers import features, runtime, store
from tl_helpers.data import Samples, load_task, task
from tl_helpers.models import load_backbone

SIZE = 224
GOALS = {"ours / bare": ("<=", 1.3), "plain / ours with decoding": (">=", 2.0), "cached (s)": ("<", 1.0)}


class PlainCells(Dataset):
    """What a tutorial would write: open, to three channels, resize, scale, normalise."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((SIZE, SIZE)),
                transforms.Grayscale(3),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[number]))


def best_of(repeats: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Fewest seconds of `work`, with untimed `before` ahead of each repeat."""
    seconds = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(cells: int, repeats: int, precision: str) -> dict[str, float]:
    """Seconds of each way in one precision, and their ratios."""
    os.environ["TL_PRECISION"] = precision
    runtime.current.cache_clear()
    backbone = load_backbone("efficientnet_lite0").eval()
    table = load_task("elpv").table.select(range(cells))
    paths = [item["path"] for item in table.cast_column("image", datasets.Image(decode=False))["image"]]
    labels = torch.as_tensor(np.asarray(table["label"]))

    def samples() -> Samples:
        return Samples("benchmark", task.decode(table, SIZE), labels, ("sound", "defective"), np.arange(cells))

    def forget(*kinds: str) -> None:
        for kind in kinds:
            for path in store.shared(kind).folder.glob("*"):
                path.unlink()
        if "images" in kinds:
            task._DECODED.clear()

    here = runtime.current()
    decoded = samples()
    ready = [
        backbone.prepare(decoded.inputs[start : start + features.BATCH]) for start in range(0, cells, features.BATCH)
    ]

    def bare() -> None:
        with torch.inference_mode(), here.autocast():
            for batch in ready:
                backbone(batch)

    plain_backbone = load_backbone("efficientnet_lite0").eval().to(memory_format=torch.contiguous_format)

    def plain(workers: int) -> None:
        with torch.no_grad():
            torch.cat(
                [plain_backbone(batch) for batch in DataLoader(PlainCells(paths), batch_size=32, num_workers=workers)]
            )

    bare()  # warm up
    seconds = {
        "bare": best_of(repeats, bare),
        "ours": best_of(repeats, lambda: features.extract(backbone, decoded), lambda: forget("features")),
        "ours with decoding": best_of(
            repeats, lambda: features.extract(backbone, samples()), lambda: forget("features", "images")
        ),
        "cached": best_of(repeats, lambda: features.extract(backbone, decoded)),
        "plain": min(best_of(max(1, repeats - 1), functools.partial(plain, workers)) for workers in (0, 2)),
    }
    return seconds | {
        "ours / bare": seconds["ours"] / seconds["bare"],
        "plain / ours with decoding": seconds["plain"] / seconds["ours with decoding"],
        "cached (s)": seconds["cached"],
    }


def main() -> int:
    """Measure, print, write; 1 if a goal was missed and `--check` was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2624, help="how many solar cells (default: all)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TL_CACHE"] = folder  # cold, and out of the reader's way
        runtime.current.cache_clear()
        precisions = runtime.PRECISIONS if runtime.has_bfloat16() else ("float32",)
        found = {precision: measure(options.cells, options.repeats, precision) for precision in precisions}
        threads = runtime.current().threads
    missed = []
    print(f"{'seconds':28s} " + " ".join(f"{precision:>9s}" for precision in found))
    for name in found["float32"]:
        sign, bound = GOALS.get(name, ("", None))
        value = found["float32"][name]  # goals are the default's
        met = bound is None or {"<=": value <= bound, ">=": value >= bound, "<": value < bound}[sign]
        missed += [] if met else [name]
        print(
            f"{name:28s} "
            + " ".join(f"{row[name]:9.2f}" for row in found.values())
            + ("" if bound is None else f"   goal {sign} {bound}: {'met' if met else 'MISSED'}")
        )
    if "bfloat16" not in found:
        print("bfloat16: left out, as this machine would emulate it")
    record = {
        "cells": options.cells,
        "pixels": SIZE,
        "threads": threads,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": runtime.versions(),
        "results": {
            precision: {name: round(value, 3) for name, value in row.items()} for precision, row in found.items()
        },
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    return int(bool(missed) and options.check)


if __name__ == "__main__":
    sys.exit(main())
