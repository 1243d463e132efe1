"""How fast are frozen features? Ours, against the bare forward pass and against the loop a reader would write.

    python benchmarks/features.py            # prints tables and writes benchmarks/features.json
    python benchmarks/features.py --check    # also exits with 1 if a goal is missed

All in one run on one machine, one way after the other in each repeat, the best of a few repeats. For solar cells at several
sizes, milliseconds an image:

- plain: a `Dataset` that opens and transforms each file, a `DataLoader` with two workers, contiguous float32;
- bare: the frozen network's forward pass on ready, normalised arrays;
- ours: `features.extract` on decoded cells with a cold feature cache (hashing, preparing, forward, writing to disk);
- ours with decoding: the same from PNG files, with a cold cache of everything;
- cached: `features.extract` once more.

For sentences: `encode` of sentence-transformers against `features.extract` of the packaged encoder.

Ours once for each engine: ONNX Runtime, the default on a CPU; PyTorch (`TL_ENGINE=torch`); and PyTorch in bfloat16
(`TL_PRECISION=bfloat16`), where the CPU or GPU has it. Compiling a graph happens once for each machine, and is given apart.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tl_helpers import features, frozen, runtime, store
from tl_helpers.data import Samples, load_task
from tl_helpers.data import images as pictures
from tl_helpers.data.sources import GENRES
from tl_helpers.data.text import decode_texts, encode_texts
from tl_helpers.fewshot import sentence_encoder
from tl_helpers.models import load_backbone

SIZES = (64, 96, 128, 224)
ENGINES = {
    "onnxruntime": {},
    "torch": {"TL_ENGINE": "torch"},
    "torch, bfloat16": {"TL_PRECISION": "bfloat16"},
}
GOALS = {"plain / ours with decoding": (">=", 4.5), "ours with decoding / bare": ("<=", 1.25), "cached (s)": ("<", 0.2)}
"""Of the default engine; the first two at every size, the last for all cells at 224 px."""

Seconds = dict[str, float]


class PlainCells(Dataset):
    """What a tutorial would write: open, to three channels, resize, scale, normalise."""

    def __init__(self, paths: list[str], size: int) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.Grayscale(3),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[number]))


def best_of(repeats: int, ways: Mapping[str, Callable[[], object]]) -> Seconds:
    """Fewest seconds of each way, one after the other in each repeat."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            gc.collect()
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(every) for name, every in seconds.items()}


def use(engine: str) -> None:
    """From here on, frozen stages run as this entry of `ENGINES` says."""
    for name in ("TL_ENGINE", "TL_PRECISION"):
        os.environ.pop(name, None)
    os.environ |= ENGINES[engine]
    runtime.current.cache_clear()
    runtime.current()


def forget(*kinds: str) -> None:
    """Make these kinds of the store cold."""
    for kind in kinds:
        for path in store.shared(kind).folder.glob("*"):
            path.unlink()
    if "images" in kinds:
        pictures._DECODED.clear()


def images(size: int, cells: int, repeats: int, engines: list[str]) -> Seconds:
    """Seconds of the plain loop, and of each way with each engine."""
    backbone = load_backbone("efficientnet_lite0").eval()
    table = load_task("elpv").table.select(range(cells))
    paths = [item["path"] for item in table.cast_column("image", datasets.Image(decode=False))["image"]]
    labels = torch.as_tensor(np.asarray(table["label"]))
    contiguous = load_backbone("efficientnet_lite0").eval().to(memory_format=torch.contiguous_format)

    def plain() -> None:
        with torch.no_grad():
            torch.cat([contiguous(x) for x in DataLoader(PlainCells(paths, size), batch_size=32, num_workers=2)])

    def samples() -> Samples:
        return Samples("benchmark", pictures.decode(table, size), labels, ("sound", "defective"), np.arange(cells))

    decoded, ways = samples(), {"plain": plain}
    batches = decoded.inputs.split(features.BATCH)
    ready = [backbone.prepare(batch).contiguous() for batch in batches]

    def bare(engine: str) -> None:
        use(engine)
        if engine == "onnxruntime":
            prefix = frozen.Prefix(backbone, backbone.depth)
            session = frozen._session(prefix.stages, prefix._names, ready[0], [backbone.depth])
            for x in ready:
                session.run(None, {"x": x.numpy()})
            return
        with torch.inference_mode(), runtime.current().autocast():
            for x in ready:
                backbone(x.contiguous(memory_format=torch.channels_last))

    def ours(engine: str, cold: tuple[str, ...]) -> None:
        use(engine)
        forget(*cold)
        features.extract(backbone, samples() if "images" in cold else decoded)

    for engine in engines:
        bare(engine)  # warm up; with ONNX Runtime: compile
        ways |= {
            f"bare, {engine}": functools.partial(bare, engine),
            f"ours, {engine}": functools.partial(ours, engine, ("features",)),
            f"cached, {engine}": functools.partial(ours, engine, ()),
            f"ours with decoding, {engine}": functools.partial(ours, engine, ("features", "images")),
        }
    return best_of(repeats, ways)


def sentences(count: int, repeats: int, engines: list[str]) -> Seconds:
    """Seconds of sentence-transformers' own `encode`, and of ours with each engine."""
    texts = [text for genre in GENRES for text in decode_texts(load_task(genre).samples("train").inputs)][:count]
    peer, backbone = sentence_encoder(), load_backbone("minilm").eval()
    inputs = encode_texts(texts)
    samples = Samples("benchmark", inputs, torch.zeros(count, dtype=torch.int64), ("all",), np.arange(count))

    def ours(engine: str, cold: tuple[str, ...]) -> None:
        use(engine)
        forget(*cold)
        features.extract(backbone, samples)

    ways: dict[str, Callable[[], object]] = {"plain": lambda: peer.encode(texts, show_progress_bar=False)}
    for engine in engines:
        ours(engine, ())  # warm up; with ONNX Runtime: compile
        ways[f"ours, {engine}"] = functools.partial(ours, engine, ("features",))
        ways[f"cached, {engine}"] = functools.partial(ours, engine, ())
    return best_of(repeats, ways)


def main() -> int:
    """Measure, print, write; 1 if a goal was missed and `--check` was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2624, help="how many solar cells at 224 px (default: all)")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TL_CACHE": folder, "TL_PROGRESS": "0"}  # cold, and out of the reader's way
        runtime.current.cache_clear()
        on_cpu = runtime.current().device.type == "cpu"
        engines = [name for name in ENGINES if name != "onnxruntime" or on_cpu]
        engines = [name for name in engines if "bfloat16" not in name or runtime.has_bfloat16()]
        seconds = {f"{size} px": images(size, options.cells, options.repeats, engines) for size in options.sizes}
        seconds["sentences"] = sentences(options.sentences, options.repeats, engines)
        use(engines[0])
        threads = runtime.current().threads
    counts = {what: options.sentences if what == "sentences" else options.cells for what in seconds}
    missed = []
    for what, found in seconds.items():
        print(f"\n{what}, {counts[what]} of them: ms each" + "".join(f"{engine:>18s}" for engine in ("", *engines)))
        print(f"  {'plain':48s} {1000 * found['plain'] / counts[what]:8.2f}")
        for way in ("bare", "ours", "ours with decoding", "cached"):
            row = [found.get(f"{way}, {engine}") for engine in engines]
            if row[0] is not None:
                print(f"  {way:48s} " + "".join(f"{1000 * value / counts[what]:18.2f}" for value in row))
        for name, value in ratios(found, engines[0]).items():
            sign, bound = GOALS.get(name, ("", 0))
            met = {"": True, "<=": value <= bound, ">=": value >= bound, "<": value < bound}[sign]
            print(
                f"  {name:48s} {value:8.2f}" + (f"   goal {sign} {bound}: {'met' if met else 'MISSED'}" if sign else "")
            )
            missed += [] if met else [f"{name}, {what}"]
    if not runtime.has_bfloat16():
        print("\nbfloat16: left out, as this machine would emulate it")
    record = {
        "cells": options.cells,
        "sentences": options.sentences,
        "threads": threads,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": runtime.versions() | {"engine": str(frozen.engine())},
        "seconds": {what: {name: round(value, 3) for name, value in row.items()} for what, row in seconds.items()},
        "ratios": {
            what: {name: round(value, 2) for name, value in ratios(row, engines[0]).items()}
            for what, row in seconds.items()
        },
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    return int(bool(missed) and options.check)


def ratios(found: Seconds, engine: str) -> Seconds:
    """What the goals are about, of the default engine."""
    most = f"ours with decoding, {engine}" if f"bare, {engine}" in found else f"ours, {engine}"
    said = {"plain / ours with decoding": found["plain"] / found[most]}
    if f"bare, {engine}" in found:
        said["ours with decoding / bare"] = found[most] / found[f"bare, {engine}"]
    return said | {"cached (s)": found[f"cached, {engine}"]}


if __name__ == "__main__":
    sys.exit(main())
