"""One readable training loop: `fit`. A run is not computed twice, and one that was killed goes on, bit for bit.

Below the freeze line nothing is computed twice either: the loop takes the activations there from `tl_helpers.activations`
and trains what is above. Device placement and several processes come from `accelerate` (``accelerate launch notebook.py``).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence

import accelerate
import numpy as np
import torch
import torchvision.transforms.v2 as transforms
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from tl_helpers import activations, cache, freezing, keys, ledger, runtime
from tl_helpers.activations import Line
from tl_helpers.data import Samples, views
from tl_helpers.ledger import Run
from tl_helpers.models import Classifier
from tl_helpers.models.backbone import join
from tl_helpers.training import checkpoint, scoring
from tl_helpers.training.alignment import Alignment
from tl_helpers.training.plugin import Plugin, Retention, Step
from tl_helpers.training.recipe import Recipe, line_at, rate_at

AHEAD = 8
"""Batches whose activations are computed together, ahead of training on them."""

_COMPUTED: set[str] = set()  # runs of this process: ``TL_FRESH`` asks for each once, not for each call

PLUGIN = "plugin."
"""In front of the names of a plugin's tensors in a stored run."""

Report = Callable[[dict[str, float]], bool | None]


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite."""


def fit(
    model: Classifier,
    train: Samples,
    validation: Samples | None,
    recipe: Recipe,
    *,
    seed: int = 0,
    align: Alignment | None = None,
    plugin: Plugin | None = None,
    retention: Retention | None = None,
    name: str = "",
    fresh: bool | None = None,
    on_epoch: Report | None = None,
    on_step: Report | None = None,
    cached: bool = True,
) -> Run:
    """Train a classifier in place.

    Parameters
    ----------
    model : Classifier
        Holds the trained weights afterwards, in eval mode.
    train : Samples
    validation : Samples or None
        Scored after every epoch; needed for early stopping and ``keep="best"``. Never the test split.
    recipe : Recipe
    seed : int
        Of the order of samples, augmentation and dropout (the head's initial weights are the model's own).
    align : Alignment, optional
        Domain adaptation: each step also takes a batch of the target, without labels, and adds this loss. Its weights
        (a discriminator's) are trained along at the head's rate.
    plugin : Plugin, optional
        A strategy against forgetting; see `tl_helpers.continual`. Not together with `align`, and in one process only.
    retention : Retention, optional
        Measure along the way how much of a source task is left.
    name : str
        For the ledger, such as "fine-tuning".
    fresh : bool, optional
        True computes even if the run is stored, False never does. By default as ``TL_FRESH`` says: with ``TL_FRESH=1``
        each process computes each run once.
    on_epoch : callable, optional
        Gets each epoch's record, for live curves; return False to stop early. Such a stopped run is not stored.
    on_step : callable, optional
        Gets a record after every step (``epoch``, ``step``, ``steps``, ``lr``, ``loss``, ``seconds``); return False to
        stop there, after which nothing is scored or stored.
    cached : bool
        Take what reaches the freeze line from the frozen-prefix cache. False runs the frozen stages in every step; the
        result is the same up to rounding.

    Returns
    -------
    Run

    Raises
    ------
    TrainingDiverged
        If the loss becomes NaN or infinite; the ledger keeps the history up to there.
    ValueError
        For a recipe that does not fit the model or the data.
    """
    _check_inputs(model, train, validation, recipe)
    together = _processes()  # first: it settles which device is this process's
    model.to(runtime.current().device)  # also where the run turns out to be stored
    if align is not None:
        align.check(train)
    if plugin is not None:
        if align is not None:
            raise ValueError("align and plugin both ask for a second batch in each step: use one of them.")
        if together.num_processes > 1:
            raise ValueError("A plugin changes gradients between the steps, which works in one process only.")
        plugin.check(train)
    freezing.freeze(model, recipe.freeze_depth, batch_norm=recipe.batch_norm)
    name_of = functools.partial(run_key, model, train, validation, recipe, seed, cached, align, plugin, retention)
    key = cache.sure_name("This run is", name_of) or ""
    if plugin is not None:
        plugin.begin(model, train)
    here = runtime.current()
    store = cache.shared("runs", limit_bytes=3 * cache.GIB)
    again = (here.fresh and key not in _COMPUTED) if fresh is None else fresh
    stored = store.get(key) if key and not again else None
    if again:
        checkpoint.drop(key)  # computed from its beginning
    cache.TALLY["runs", "computed" if stored is None else "reused"] += 1
    if stored is not None:
        if plugin is not None:
            known = {n.removeprefix(PLUGIN): t for n, t in stored.tensors.items() if n.startswith(PLUGIN)}
            plugin.load_state_dict(known)
        model.load_state_dict(stored.tensors, strict=False)
        model.eval()
        ledger.SESSION[0].saved_seconds += stored.record["seconds"]
        run = Run(**stored.record | {"name": name, "task": train.name, "reused": True})
        for epoch in run.history if on_epoch else ():
            on_epoch(epoch)
        return run

    book = ledger.default()
    facts = {"name": name, "task": train.name, "seed": seed, "config": dataclasses.asdict(recipe), "key": key}
    if align is not None:
        facts["config"] |= {"align": align.settings}
    if plugin is not None:
        facts["config"] |= {"plugin": plugin.settings}
    start = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    history: list[dict[str, float]] = []
    loop = _Loop(model, train, validation, recipe, seed, key, history, start, cached, align, plugin, retention)
    try:
        kept, stopped = loop.run(on_epoch, on_step)
    except (KeyboardInterrupt, TrainingDiverged) as error:
        book.append("unfinished run", why=type(error).__name__, history=history, **facts)
        raise
    finally:
        freezing.freeze(model, recipe.freeze_depth, batch_norm=recipe.batch_norm)  # wherever gradual unfreezing got to
        model.eval()
    run = Run(
        **facts,
        metrics={n.removeprefix("validation_"): v for n, v in kept.items() if n.startswith("validation_")},
        history=history,
        retention=loop.measured,
        seconds=loop.seconds,
        trainable=freezing.count_trainable(model),
        device=here.device.type,
        precision=str(here.precision).removeprefix("torch."),
        threads=here.threads,
    )
    if together.is_main_process:
        book.append("stopped run" if stopped else "run", **run.as_dict())
        if key and not stopped:
            _COMPUTED.add(key)
            trained = {n: t for n, t in model.state_dict().items() if not torch.equal(t.cpu(), start[n])}
            if plugin is not None:
                trained |= {f"{PLUGIN}{n}": t for n, t in plugin.state_dict().items()}
            store.put(key, trained, run.as_dict())
        checkpoint.drop(key)
    return run


def run_key(
    model: Classifier,
    train: Samples,
    validation: Samples | None,
    recipe: Recipe,
    seed: int,
    cached: bool = True,
    align: Alignment | None = None,
    plugin: Plugin | None = None,
    retention: Retention | None = None,
) -> str:
    """Names a run by everything that its numbers depend on: code, versions, weights, data, recipe, seed, device."""
    here = runtime.current()
    asked = ["probability"] if recipe.labels == "soft" or recipe.weights == "confidence" else []
    return keys.fingerprint(
        "run",
        keys.code_name(_Loop),
        runtime.versions(),
        model,
        model.backbone.preprocessing,
        train.fingerprint,
        [train.extra[column] for column in asked],
        validation.fingerprint if validation else None,
        recipe,
        seed,
        cached,
        here.device.type,
        here.precision,
        [] if align is None else align.key(),
        [] if plugin is None else plugin.key(),
        [] if retention is None else retention.key(),
    )


def _processes() -> accelerate.PartialState:
    """Which process of how many this is; without `cpu`, accelerate takes a GPU wherever it sees one."""
    return accelerate.PartialState(cpu=runtime.current().device.type == "cpu")


class _Loop:
    """One run: what it trains on, how far it is, and the loop itself."""

    def __init__(
        self,
        model: Classifier,
        train: Samples,
        validation: Samples | None,
        recipe: Recipe,
        seed: int,
        key: str,
        history: list[dict[str, float]],
        start: dict[str, torch.Tensor],
        cached: bool,
        align: Alignment | None = None,
        plugin: Plugin | None = None,
        retention: Retention | None = None,
    ) -> None:
        self.model, self.train, self.validation, self.recipe, self.align = model, train, validation, recipe, align
        self.plugin, self.retention, self.measured = plugin, retention, []
        self.second = align.target if align is not None else plugin.rehearsal if plugin is not None else None
        self.seed, self.key, self.history, self.start, self.cached = seed, key, history, start, cached
        self.here = runtime.current()
        self.seconds = 0.0
        self.targets = _targets(train, recipe.labels)
        self.sample_weights = _sample_weights(train, recipe.weights)
        self._sources: dict[tuple[int, bool], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {}
        self._held_out: dict[int, Line] = {}

    def run(self, on_epoch: Report | None, on_step: Report | None) -> tuple[dict[str, float], bool]:
        """Returns the record of the epoch whose weights were kept, and whether the caller stopped it."""
        model, recipe, here, history = self.model, self.recipe, self.here, self.history
        runtime.seed_everything(self.seed)
        unused = accelerate.DistributedDataParallelKwargs(find_unused_parameters=recipe.unfreeze != "at_once")
        accelerator = accelerate.Accelerator(
            cpu=here.device.type == "cpu", mixed_precision="no", kwargs_handlers=[unused]
        )
        sampler = _Batches(len(self.train), recipe.batch_size, self.seed)
        loader = DataLoader(
            _Positions(len(self.train)),
            batch_sampler=sampler,
            collate_fn=_as_is,
            worker_init_fn=runtime.seed_worker,
        )
        groups = freezing.parameter_groups(model, recipe.lr, decay=recipe.layer_decay, weight_decay=recipe.weight_decay)
        pulled, align, plugin = self._pulled(), self.align, self.plugin
        if plugin is not None:
            plugin.to(here.device)
        if align is not None:
            align.to(here.device)
            groups.append({"params": list(align.parameters()), "lr": recipe.lr, "weight_decay": recipe.weight_decay})
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr, fused=here.device.type in ("cpu", "cuda"))
        above = _Above(model, align, plugin)
        net, optimizer, loader = accelerator.prepare(above, optimizer, loader)
        steps = recipe.epochs * len(loader)
        peaks = [group["lr"] for group in optimizer.param_groups]

        best, best_state = None, None
        saved = checkpoint.resume(self.key, above, optimizer)
        if saved:
            history[:], self.measured = saved["history"], saved["retention"]
            best, best_state, self.seconds = saved["best"], saved["best_state"], history[-1]["seconds"]
        elif self.retention is not None:
            model.to(here.device)
            self._measure(0, len(loader))
        last_saved, stopped = time.perf_counter(), False

        for epoch in range(len(history), recipe.epochs):
            if _out_of_patience(history, best, recipe):
                break
            loader.set_epoch(epoch)
            began, losses, aside = time.perf_counter(), [], []
            depth = line_at(epoch, model.backbone.depth, recipe)
            freezing.freeze(model, depth, batch_norm=recipe.batch_norm)
            net.train()  # frozen stages stay in eval mode: see Backbone.train
            source = self._source(depth)
            turns = _turns(len(self.train), recipe.augment, self.seed, epoch)
            ahead = sampler.order(epoch) if accelerator.num_processes == 1 else None
            for number, positions in enumerate(loader):
                if ahead is not None and isinstance(source, Line) and number % AHEAD == 0:
                    soon = ahead[number * sampler.batch_size : (number + AHEAD) * sampler.batch_size]
                    source.fill(soon, turns[soon])
                step = epoch * len(loader) + number
                rate = rate_at(step, steps, recipe)
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * rate
                positions = positions.cpu()
                x = source(positions, turns[positions]).to(here.device)
                again, again_positions = None, None
                if self.second is not None:
                    turn = step * accelerator.num_processes + accelerator.process_index
                    again, again_positions = self._second_batch(turn, depth)
                if align is not None:
                    x = join([x, again])
                with here.autocast():
                    logits, further = net(x, depth, len(positions), step / steps)
                logits = logits.float()
                loss = self._loss(logits, positions)
                if align is not None:
                    loss = loss + further
                    aside.append(align.facts)
                now = None
                if plugin is not None:
                    targets = self.targets[positions].to(logits.device)
                    now = Step(
                        model, x, depth, positions, targets, logits, further, step / steps, again, again_positions
                    )
                    with here.autocast():
                        more = plugin.loss(now)
                    loss = loss if more is None else loss + more
                optimizer.zero_grad()
                accelerator.backward(loss)
                if recipe.l2_sp:
                    _pull(pulled, recipe.l2_sp)
                if plugin is not None:
                    plugin.adjust(now)
                optimizer.step()
                if plugin is not None:
                    plugin.after(now)
                losses.append(loss.detach())
                if self.retention is not None and self.retention.due(step + 1, len(loader)):
                    began += self._measure(step + 1, len(loader))
                if on_step is not None and on_step(
                    {
                        "epoch": epoch + 1,
                        "step": step + 1,
                        "steps": steps,
                        "lr": rate * recipe.lr,
                        "loss": float(losses[-1]),
                        "seconds": self.seconds + time.perf_counter() - began,
                    }
                ) is False:  # fmt: skip
                    self.seconds += time.perf_counter() - began
                    return (history[-1] if history else {}), True
            losses = torch.stack(losses).float().cpu()
            if not torch.isfinite(losses).all():
                raise TrainingDiverged(
                    f"The loss became {losses[~losses.isfinite()][0].item()} in epoch {epoch + 1}. Usual causes: a "
                    f"learning rate that is too high (it was {recipe.lr:g}; try a tenth), or NaN in the data."
                )
            self.seconds += time.perf_counter() - began
            record = {
                "epoch": epoch + 1, "seconds": self.seconds, "lr": rate * recipe.lr, "train_loss": losses.mean().item()
            }  # fmt: skip
            for fact in aside[0] if aside else ():
                record[fact] = float(torch.stack([facts[fact] for facts in aside]).mean())
            if self.validation is not None:
                record |= {f"validation_{name}": value for name, value in self._validate(depth).items()}
            history.append(record)
            if best is None or _rank(record) > _rank(best):
                best = record
                best_state = copy.deepcopy(model.state_dict()) if recipe.keep == "best" else None
            if on_epoch is not None and on_epoch(record) is False:
                stopped = True
                break
            if checkpoint.due(last_saved) and epoch + 1 < recipe.epochs:
                checkpoint.save(self.key, above, optimizer, self._progress(best, best_state))
                last_saved = time.perf_counter()

        if recipe.keep == "best":
            model.load_state_dict(best_state)
        return (best if recipe.keep == "best" else history[-1]), stopped

    def _measure(self, step: int, steps_in_epoch: int) -> float:
        """Notes the source's accuracy after so many steps; returns the seconds that took."""
        began = time.perf_counter()
        accuracy = self.retention.accuracy(self.model)
        self.measured.append({"step": step, "epoch": step / steps_in_epoch, "accuracy": accuracy})
        return time.perf_counter() - began

    def _progress(self, best: dict | None, best_state: dict | None) -> dict:
        return {"history": self.history, "retention": self.measured, "best": best, "best_state": best_state}

    def plan(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Order of the samples in an epoch, and the exact view of each sample: int64, shape (N,) both."""
        order = _Batches(len(self.train), self.recipe.batch_size, self.seed).order(epoch)
        return order, _turns(len(self.train), self.recipe.augment, self.seed, epoch)

    def loss_at(self, positions: torch.Tensor, turns: torch.Tensor, depth: int) -> torch.Tensor:
        """The loss of one batch, ready for ``backward()``; for work outside `run`, such as the range test."""
        x = self._source(depth)(positions, turns).to(self.here.device)
        with self.here.autocast():
            logits = self.model.above(x, depth)
        return self._loss(logits.float(), positions)

    def _source(self, depth: int, *, second: bool = False) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Where an epoch's inputs come from: the freeze line, or images if nothing is frozen or each view is new."""
        samples = self.second if second else self.train
        if depth and self.recipe.augment != "crops":
            if (depth, second) not in self._sources:
                many = views.VIEWS if self.recipe.augment == "flips" else 1
                line = Line(self.model.backbone, depth, samples, views=many, keep=self.cached)
                self._sources[depth, second] = line
            return self._sources[depth, second]

        def from_images(positions: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
            pixels = samples.pixels[positions]
            pixels = _crop(pixels) if self.recipe.augment == "crops" else views.views_of(pixels, turns)
            if depth == 0:
                return self.model.backbone.prepare(pixels.to(self.here.device))
            return activations.run_prefix(self.model.backbone, pixels, 0, depth).float()

        return from_images

    def _second_batch(self, turn: int, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The `turn`-th batch of the target (of an alignment) or of the rehearsal samples (of a plugin).

        They are gone through again and again, each time in another order. Returns inputs and positions.
        """
        samples, seed = self.second, self.seed + 1
        batches = _Batches(len(samples), self.recipe.batch_size, seed)
        again, number = divmod(turn, len(batches))
        positions = batches.order(again)[number * batches.batch_size : (number + 1) * batches.batch_size]
        turns = _turns(len(samples), self.recipe.augment, seed, again)
        return self._source(depth, second=True)(positions, turns[positions]).to(self.here.device), positions

    def _loss(self, logits: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Cross-entropy among the answers allowed, averaged over the batch with the samples' weights."""
        targets = self.targets[positions].to(logits.device)
        smoothing = self.recipe.label_smoothing
        allowed = None if self.plugin is None else self.plugin.allowed(positions)
        if allowed is not None:
            if smoothing:
                raise ValueError("label_smoothing spreads over all answers, and this plugin allows only some: use 0.")
            logits = logits.masked_fill(~allowed.to(logits.device), -math.inf)
        if self.sample_weights is None:
            return nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        each = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        weights = self.sample_weights[positions].to(logits.device)
        return (each * weights).sum() / weights.sum()

    def _pulled(self) -> tuple[list[nn.Parameter], list[torch.Tensor]]:
        """The backbone's trainable parameters, and where they started: what L2-SP pulls, and where to."""
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad and n.startswith("backbone.")]
        return [p for _, p in named], [self.start[name].to(p.device) for name, p in named]

    def _validate(self, depth: int) -> dict[str, float]:
        if depth and depth not in self._held_out:
            self._held_out[depth] = Line(self.model.backbone, depth, self.validation, views=1, keep=self.cached)
        logits = scoring.logits_of(self.model, self.validation, self._held_out.get(depth))
        if not torch.isfinite(logits).all():
            raise TrainingDiverged("The model's outputs became NaN or infinite. Try a tenth of the learning rate.")
        found = scoring.score(self.validation.labels.numpy(), scoring.softmax(logits.numpy()))
        return found | {"loss": float(nn.functional.cross_entropy(logits, self.validation.labels))}


class _Above(nn.Module):
    """What an epoch trains: the stages above the line and the head, called with prepared images or activations.

    With an alignment, the first `sources` samples are the source's and the others the target's. The two go through one
    after the other, so that batch norm sees each domain by its own statistics. Returns the source's logits, and the
    alignment's loss; without an alignment, logits and embeddings.
    """

    def __init__(self, model: Classifier, align: Alignment | None, plugin: Plugin | None) -> None:
        super().__init__()
        self.model, self.align, self.plugin = model, align, plugin  # the plugin's buffers are checkpointed along

    def forward(self, x: torch.Tensor, depth: int, sources: int, progress: float) -> tuple[torch.Tensor, torch.Tensor]:
        if self.align is None:
            embedded = self.model.embed_above(x, depth)
            return self.model.head(embedded), embedded
        parts = x[:sources], x[sources:]
        embedded = torch.cat([self.model.embed_above(part, depth) for part in parts])
        logits = self.model.head(embedded)
        with torch.autocast(x.device.type, enabled=False):
            return logits[:sources], self.align(embedded.float(), logits.float(), sources, progress)


def _pull(pulled: tuple[list[nn.Parameter], list[torch.Tensor]], strength: float) -> None:
    """Add the gradient of L2-SP, strength / 2 * |w - w0|^2, to the gradients that are there."""
    pairs = [(p.grad, p.detach(), start) for p, start in zip(*pulled, strict=True) if p.grad is not None]
    if pairs:
        gradients, now, start = map(list, zip(*pairs, strict=True))
        torch._foreach_add_(gradients, torch._foreach_sub(now, start), alpha=strength)


def _targets(samples: Samples, kind: str) -> torch.Tensor:
    """Class numbers (N,), or for soft labels probabilities (N, 2)."""
    if kind == "hard":
        return samples.labels
    p = torch.from_numpy(_probability(samples, "labels='soft'")).float()
    return torch.stack([1 - p, p], dim=1)


def _sample_weights(samples: Samples, kind: str) -> torch.Tensor | None:
    """One weight a sample, float32 (N,), mean 1; None where all are equal."""
    if kind == "none":
        return None
    if kind == "class":
        counts = torch.bincount(samples.labels, minlength=len(samples.classes)).float()
        weights = 1 / counts[samples.labels]
    else:
        weights = torch.from_numpy(np.abs(2 * _probability(samples, "weights='confidence'") - 1)).float()
        if not weights.any():
            raise ValueError(f"{samples.name}: every probability is one half, so weights='confidence' leaves nothing.")
    return weights / weights.mean()


def _probability(samples: Samples, what: str) -> np.ndarray:
    if "probability" not in samples.extra or len(samples.classes) != 2:
        raise ValueError(f"{what} needs two classes and a column 'probability'; {samples.name} has no such column.")
    p = np.asarray(samples.extra["probability"], dtype=np.float64)
    if not np.isfinite(p).all() or p.min() < 0 or p.max() > 1:
        raise ValueError(f"{samples.name}: 'probability' must lie between 0 and 1, without NaN.")
    return p


def _turns(samples: int, augment: str, seed: int, epoch: int) -> torch.Tensor:
    """The exact view in which each sample is shown in an epoch: int64, shape (N,)."""
    if augment != "flips":
        return torch.zeros(samples, dtype=torch.int64)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch + 500_009)
    return torch.randint(0, views.VIEWS, (samples,), generator=generator)


def _crop(pixels: torch.Tensor) -> torch.Tensor:
    """A random resized crop and a random mirror image of each image, as ImageNet's training pictures get; uint8."""
    size = tuple(pixels.shape[-2:])
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.35, 1.0), antialias=True),
            transforms.RandomHorizontalFlip(),
        ]
    )
    return torch.stack([change(image) for image in pixels])


def _check_inputs(model: Classifier, train: Samples, validation: Samples | None, recipe: Recipe) -> None:
    model.backbone.check_depth(recipe.freeze_depth)
    if len(train) < 2:
        raise ValueError(f"{train.name}: {len(train)} training sample(s); training needs two or more.")
    outputs = model.head[-1].out_features
    if len(train.classes) != outputs:
        raise ValueError(
            f"The head has {outputs} outputs, but {train.name} has {len(train.classes)} classes: make the model with "
            f"Classifier(backbone, classes={len(train.classes)})."
        )
    if len(train.labels.unique()) < 2:
        raise ValueError(f"{train.name}: all samples are of one class; training needs two or more.")
    if validation is None and (recipe.patience or recipe.keep == "best"):
        raise ValueError(
            "Early stopping and keep='best' choose on validation samples: pass some, or keep the last epoch."
        )
    same_pool = validation is not None and train.pool and train.pool == validation.pool
    if same_pool and np.intersect1d(train.rows, validation.rows).size:
        raise ValueError(f"{train.name} and {validation.name} share rows: that is leakage, so nothing was trained.")
    if recipe.augment == "flips" and train.pixels.shape[-1] != train.pixels.shape[-2]:
        views.view(train.pixels[:1], 1)  # says what to do
    _targets(train, recipe.labels)
    _sample_weights(train, recipe.weights)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"The model's {name} holds NaN or infinity before training. Load it again.")


def _rank(record: dict[str, float]) -> tuple[float, float]:
    return record.get("validation_accuracy", -math.inf), -record.get("validation_loss", math.inf)


def _out_of_patience(history: list[dict], best: dict | None, recipe: Recipe) -> bool:
    return bool(recipe.patience and best and history[-1]["epoch"] - best["epoch"] >= recipe.patience)


def _as_is(batch: torch.Tensor) -> torch.Tensor:
    return batch


class _Positions(Dataset):
    """Whole batches of positions; the loop looks up what they stand for."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitems__(self, positions: Sequence[int]) -> torch.Tensor:
        return torch.tensor(positions, dtype=torch.int64)


class _Batches(Sampler):
    """A new order for each epoch, from seed and epoch alone, so that a resumed run sees what it would have seen.

    A last batch of one sample is dropped: batch norm cannot train on it.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size, self.seed, self.epoch = samples, min(batch_size, samples), seed, 0
        self.drop_last = False  # accelerate asks

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def order(self, epoch: int) -> torch.Tensor:
        """All positions in the order of an epoch: int64, shape (N,)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(self.samples, generator=generator)

    def __len__(self) -> int:
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 1)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order(self.epoch)
        for number in range(len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size].tolist()
