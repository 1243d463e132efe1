"""What does a depth x rate grid cost? The frozen-prefix cache against plain PyTorch, fastai and Lightning.

    pip install -e ".[peers]"
    python benchmarks/freeze_grid.py            # prints a table and writes benchmarks/freeze_grid.json
    python benchmarks/freeze_grid.py --check    # also exits with 1 if a goal is missed

All in one run on one machine, from the same PNG files with the same labelled subset, backbone (EfficientNet-Lite0), size,
batch size, epochs and rates, one method after the other at each cell, so that a machine that slows down slows all. Each
method trains and then scores the validation split once, in the way it would by default:

- plain: the loop of PyTorch's transfer-learning tutorial: `requires_grad = False` below the line, a `DataLoader` with two
  workers, AdamW, a cosine;
- fastai: a `Learner` over a `DataBlock`, `freeze_to`, `fit_one_cycle`;
- lightning: a `Trainer` with a `BaseFinetuning` callback (what `BackboneFinetuning` is built on; that one can only freeze
  all of a backbone);
- ours: `training.fit` and `training.evaluate`, with an empty cache at the start.

The peers' frozen stages are computed in each step, as they decode and augment in each epoch; ours computes each of the
eight views of an image at most once per line.

Beside them stands a bound: the least time that the same grid can take without changing what is trained. Below the line each
view of an image that is seen goes once through the stages that are new since the line before. Above it every image of every
step goes through each stage, whose gradients cost two forward passes more (those with respect to its inputs, which the first
trained stage does not need, and to its weights). The stages' forward passes are measured with the kernels that run them, on
ready tensors; what a grid needs besides (decoding, the optimiser, reading from the disk) counts as nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tl_helpers import runtime, stats
from tl_helpers.data import Task, load_task
from tl_helpers.frozen import Prefix
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, evaluate, fit
from tl_helpers.training.inputs import turns_of

try:
    import fastai.vision.all as fastai
    import lightning
    from lightning.pytorch.callbacks import BaseFinetuning
except ImportError as error:
    sys.exit(f'{error}. The peers are not part of the book: pip install -e ".[peers]"')

SIZE, BATCH = 96, 32
GOALS = {"two deepest freezes": 20.0, "bound / ours": 0.8}
Files = Sequence[tuple[str, int]]
Seconds = dict[str, float]


class Cells(Dataset):
    """What a tutorial would write: open, resize, to three channels, flip, scale, normalise."""

    def __init__(self, files: Files, train: bool) -> None:
        self.files = files
        flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()] if train else []
        shape = [transforms.Resize((SIZE, SIZE)), transforms.Grayscale(3)]
        self.transform = transforms.Compose(
            [*shape, *flips, transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[number]
        return self.transform(Image.open(path)), label


class Net(nn.Module):
    """The backbone with a new head, as a peer sees it; `frozen` are the stages below the line."""

    def __init__(self, depth: int, seed: int = 0) -> None:
        super().__init__()
        self.backbone = load_backbone("efficientnet_lite0").to(memory_format=torch.contiguous_format)
        torch.manual_seed(seed)
        self.head = nn.Linear(1280, 2)
        stages = [self.backbone.stages[name] for name in self.backbone.stage_names]
        self.frozen, self.open = nn.ModuleList(stages[:depth]), nn.ModuleList([*stages[depth:], self.head])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images))


def share(right: int, of: int) -> float:
    return 100 * right / of


def plain(train: Files, held_out: Files, depth: int, lr: float, epochs: int) -> tuple[Seconds, float]:
    """The tutorial's loop."""
    start = time.perf_counter()
    net = Net(depth)
    for parameter in net.frozen.parameters():
        parameter.requires_grad = False
    loader = DataLoader(Cells(train, True), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    net.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
            schedule.step()
    trained = time.perf_counter()
    net.eval()
    with torch.no_grad():
        loader = DataLoader(Cells(held_out, False), BATCH, num_workers=2)
        right = sum(int((net(images).argmax(1) == labels).sum()) for images, labels in loader)
    return {"training": trained - start, "scoring": time.perf_counter() - trained}, share(right, len(held_out))


def with_fastai(train: Files, held_out: Files, depth: int, lr: float, epochs: int) -> tuple[Seconds, float]:
    """A `Learner`; its eight dihedral views are ours."""
    start = time.perf_counter()
    files = [*train, *held_out]
    views = fastai.aug_transforms(flip_vert=True, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0)
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock(vocab=[0, 1])),
        get_x=lambda number: files[number][0],
        get_y=lambda number: files[number][1],
        splitter=fastai.IndexSplitter(range(len(train), len(files))),
        item_tfms=fastai.Resize(SIZE, method="squish"),
        batch_tfms=[*views, fastai.Normalize.from_stats([0.5] * 3, [0.5] * 3, cuda=False)],
    )
    loaders = block.dataloaders(range(len(files)), bs=BATCH, device=torch.device("cpu"))

    def groups(net: Net) -> list[list[nn.Parameter]]:
        return [list(net.frozen.parameters()), list(net.open.parameters())]

    with tempfile.TemporaryDirectory() as folder:
        learner = fastai.Learner(
            loaders,
            Net(depth),
            loss_func=fastai.CrossEntropyLossFlat(),
            metrics=fastai.accuracy,
            splitter=groups,
            path=folder,
        )
        learner.freeze_to(1)
        with learner.no_bar(), learner.no_logging():
            # By default a Learner scores after each epoch; here all methods score once.
            learner.fit_one_cycle(epochs, lr, cbs=SkipValidation())
            trained = time.perf_counter()
            accuracy = 100 * float(learner.validate()[1])
    return {"training": trained - start, "scoring": time.perf_counter() - trained}, accuracy


class SkipValidation(fastai.Callback):
    """No scoring between epochs."""

    def before_validate(self) -> None:
        raise fastai.CancelValidException


class FreezeBelow(BaseFinetuning):
    """Freeze the stages below the line for good."""

    def freeze_before_training(self, pl_module: lightning.LightningModule) -> None:
        self.freeze(pl_module.net.frozen)

    def finetune_function(self, *_: object) -> None:
        pass


class Module(lightning.LightningModule):
    def __init__(self, net: Net, lr: float, steps: int) -> None:
        super().__init__()
        self.net, self.lr, self.steps, self.right = net, lr, steps, 0

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        self.right += int((self.net(batch[0]).argmax(1) == batch[1]).sum())

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def with_lightning(train: Files, held_out: Files, depth: int, lr: float, epochs: int) -> tuple[Seconds, float]:
    """A `Trainer`, with its default loaders."""
    start = time.perf_counter()
    loader = DataLoader(Cells(train, True), BATCH, shuffle=True)
    module = Module(Net(depth), lr, epochs * len(loader))
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=[FreezeBelow()], **quiet)
    trainer.fit(module, loader)
    trained = time.perf_counter()
    trainer.validate(module, DataLoader(Cells(held_out, False), BATCH), verbose=False)
    seconds = {"training": trained - start, "scoring": time.perf_counter() - trained}
    return seconds, share(module.right, len(held_out))


def ours(task: Task, depth: int, lr: float, epochs: int) -> tuple[Seconds, float]:
    start = time.perf_counter()
    model = Classifier(load_backbone("efficientnet_lite0"), 2, seed=0)
    recipe = Recipe(epochs=epochs, lr=lr, batch_size=BATCH, freeze_depth=depth, augment="flips")
    fit(model, task.samples("train", SIZE), None, recipe, fresh=True)
    trained = time.perf_counter()
    accuracy = evaluate(model, task.samples("validation", SIZE))["accuracy"]
    return {"training": trained - start, "scoring": time.perf_counter() - trained}, accuracy


def forward_seconds(repeats: int = 5) -> tuple[list[float], list[float]]:
    """Least seconds an image of each stage's forward pass: below the line, and above it (batch statistics, PyTorch)."""
    backbone = load_backbone("efficientnet_lite0")
    images = torch.randint(0, 256, (BATCH, 1, SIZE, SIZE), dtype=torch.uint8)
    inputs = [backbone.prepare(images)]
    for stage in backbone.eval().stages.values():
        inputs.append(stage(inputs[-1]).detach())
    prefix = Prefix(backbone, backbone.depth)
    below = [lambda d=d: prefix(inputs[d] if d else images, d, [d + 1]) for d in range(backbone.depth)]
    above = [lambda d=d, stage=stage: stage(inputs[d]) for d, stage in enumerate(backbone.stages.values())]

    def least(work: Callable[[], object]) -> float:
        work()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return min(seconds) / BATCH

    found = [least(work) for work in below]
    backbone.train()
    with torch.no_grad():
        return found, [least(work) for work in above]


def least_seconds(task: Task, epochs: int, depths: Sequence[int], rates: int) -> dict[int, float]:
    """The least seconds of the grid at each depth."""
    train, held_out = len(task.rows("train")), len(task.rows("validation"))
    seen = {(k, int(turn)) for epoch in range(epochs) for k, turn in enumerate(turns_of(train, "flips", 0, epoch))}
    below, above = forward_seconds()
    found = {}
    for before, depth in zip([0, *depths], depths, strict=False):
        prefix = (len(seen) + held_out) * sum(below[before:depth])
        gradients = 2 * sum(above[depth:]) - sum(above[depth : depth + 1])
        suffix = epochs * train * (sum(above[depth:]) + gradients) + held_out * sum(above[depth:])
        found[depth] = prefix + rates * suffix
    return found


def files_of(task: Task, split: str) -> Files:
    """Paths and labels of a split."""
    table = task.table.select(task.rows(split)).cast_column("image", datasets.Image(decode=False))
    return [(item["path"], int(label)) for item, label in zip(table["image"], table["label"], strict=True)]


def measure(labels: int, epochs: int, depths: Sequence[int], rates: Sequence[float]) -> list[dict]:
    """One row for each method and cell, in the order in which they ran."""
    task = load_task("elpv", seed=0).few_labels(labels, 0)
    train, held_out = files_of(task, "train"), files_of(task, "validation")
    methods: dict[str, Callable[[int, float], tuple[Seconds, float]]] = {
        "plain": lambda depth, lr: plain(train, held_out, depth, lr, epochs),
        "fastai": lambda depth, lr: with_fastai(train, held_out, depth, lr, epochs),
        "lightning": lambda depth, lr: with_lightning(train, held_out, depth, lr, epochs),
        "ours": lambda depth, lr: ours(task, depth, lr, epochs),
    }
    plain(train[:BATCH], held_out[:BATCH], depths[-1], rates[0], 1)  # warm up
    rows = []
    for depth in depths:
        for lr in rates:
            for name, method in methods.items():
                seconds, accuracy = method(depth, lr)
                rows.append({"method": name, "depth": depth, "lr": lr, "accuracy": round(accuracy, 1)})
                rows[-1] |= {part: round(value, 2) for part, value in seconds.items()}
        times = {name: total(rows, name, [depth]) for name in methods}
        print(f"depth {depth}: " + ", ".join(f"{name} {value:.1f} s" for name, value in times.items()), flush=True)
    return rows


def total(rows: list[dict], method: str, depths: Sequence[int]) -> float:
    return sum(r["training"] + r["scoring"] for r in rows if r["method"] == method and r["depth"] in depths)


def reading(files: Files) -> float:
    """Seconds to read and prepare files once, in this process, without a network behind."""
    start = time.perf_counter()
    for _ in DataLoader(Cells(files, True), BATCH):
        pass
    return time.perf_counter() - start


def summary(rows: list[dict], depths: Sequence[int]) -> dict:
    """Seconds by method and depth, speed-ups against the fastest peer, mean accuracy by method."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    seconds = {name: {str(d): round(total(rows, name, [d]), 1) for d in depths} for name in names}
    peers = [name for name in names if name != "ours"]
    fastest = min(peers, key=lambda name: total(rows, name, depths))

    def gain(some: Sequence[int]) -> float:
        return round(min(total(rows, name, some) for name in peers) / total(rows, "ours", some), 2)

    parts: dict[str, dict[str, float]] = defaultdict(dict)
    for name in names:
        for part in ("training", "scoring"):
            parts[name][part] = round(sum(row[part] for row in rows if row["method"] == name), 1)
    # The first rate at each depth fills what the others find.
    mine = [row for row in rows if row["method"] == "ours"]
    first = {row["depth"]: row for row in reversed(mine)}
    again = [row for row in mine if row is not first[row["depth"]]]
    if again:
        parts["ours"]["first rate at each depth"] = round(sum(r["training"] + r["scoring"] for r in first.values()), 1)
        parts["ours"]["other rates, mean"] = round(
            sum(r["training"] + r["scoring"] for r in again) / (len(again) / len(first)), 1
        )
    return {
        "fastest peer": fastest,
        "speed-up": {"over the grid": gain(depths), "two deepest freezes": gain(list(depths)[-2:])}
        | {f"depth {d}": gain([d]) for d in depths},
        "accuracy": {
            name: {
                "mean": round(float(np.mean([r["accuracy"] for r in rows if r["method"] == name])), 1),
                "sd over cells": round(float(np.std([r["accuracy"] for r in rows if r["method"] == name], ddof=1)), 1),
            }
            for name in names
        },
        "difference from ours, paired by cell": {
            name: interval([r["accuracy"] for r in rows if r["method"] == name], [r["accuracy"] for r in mine])
            for name in peers
        },
        "seconds": seconds,
        "where it goes": parts,
    }


def interval(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Mean difference and its 95 % interval over cells (which share a split: not an interval over seeds)."""
    return [round(value, 2) for value in stats.interval(np.subtract(one, other))]


def main() -> int:
    """Measure, print, write; 1 if a goal was missed and `--check` was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TL_CACHE"] = folder  # cold, and out of the reader's way
        runtime.current.cache_clear()
        rows = measure(options.labels, options.epochs, options.depths, options.rates)
        here = runtime.current()
        precision, threads = str(here.precision).removeprefix("torch."), here.threads
        task = load_task("elpv", seed=0).few_labels(options.labels, 0)
        once = round(reading(files_of(task, "train")), 2)
        least = least_seconds(task, options.epochs, options.depths, len(options.rates))
    found = summary(rows, options.depths)
    mine = {depth: total(rows, "ours", [depth]) for depth in options.depths}
    found["seconds"]["bound"] = {str(depth): round(value, 2) for depth, value in least.items()}
    found["bound / ours"] = {"over the grid": round(sum(least.values()) / sum(mine.values()), 2)} | {
        f"depth {depth}": round(least[depth] / mine[depth], 2) for depth in mine
    }
    print("bound: " + ", ".join(f"depth {depth} {value:.1f} s" for depth, value in least.items()))
    missed = []
    reached = found["speed-up"] | {"bound / ours": found["bound / ours"]["over the grid"]}
    for name, goal in GOALS.items():
        met = reached[name] >= goal
        missed += [] if met else [name]
        print(f"{name}: {reached[name]:.2f}, goal >= {goal:g}: {'met' if met else 'MISSED'}")
    print(json.dumps({name: found[name] for name in ("accuracy", "where it goes")}, indent=1))
    record = {
        "labels": options.labels,
        "epochs": options.epochs,
        "pixels": SIZE,
        "batch size": BATCH,
        "rates": options.rates,
        "precision of ours": precision,
        "threads": threads,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": runtime.versions() | {name: metadata.version(name) for name in ("fastai", "lightning")},
        "results": found | {"plain: reading and preparing the training files once (s)": once},
        "rows": rows,
    }
    text = json.dumps(record, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n")
    return int(bool(missed) and options.check)


if __name__ == "__main__":
    sys.exit(main())
