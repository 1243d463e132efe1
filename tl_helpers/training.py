"""One readable training loop. `Recipe` says how, `fit` trains, `evaluate` scores. Every chapter that trains uses it.

    run = fit(model, task.samples("train", 96), task.samples("validation", 96), Recipe(epochs=5, lr=1e-3), seed=0)
    evaluate(model, task.samples("test", 96))["accuracy"]

A run with the same code, data, recipe and seed is not computed twice: its weights and history come from the store. A run
that was killed goes on from its last finished epoch, bit for bit. Device placement and several processes come from
`accelerate` (``accelerate launch notebook.py``).
"""

from __future__ import annotations

import copy
import dataclasses
import io
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import accelerate
import numpy as np
import torch
from sklearn import metrics as sk
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from tl_helpers import cache, freezing, ledger, models, runtime
from tl_helpers.data import Samples
from tl_helpers.ledger import Run
from tl_helpers.models import Classifier

CHECKPOINT_EVERY = 10.0
"""Seconds between checkpoints (at the end of an epoch): at most about this much work is lost to a killed process."""


_COMPUTED: set[str] = set()  # runs of this process: ``TL_FRESH`` asks for each once, not for each call


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class Recipe:
    """How to train. Experiments are small changes of one recipe: ``dataclasses.replace(recipe, lr=1e-2)``.

    Attributes
    ----------
    epochs : int
    lr : float
        Peak learning rate (of the head, where `layer_decay` is below 1).
    batch_size : int
    weight_decay : float
        AdamW's, for weight matrices only (Loshchilov and Hutter 2019).
    schedule : {"constant", "cosine", "step"}
        After the warm-up: constant; half a cosine down to 0 (Loshchilov and Hutter 2017); divided by 10 at half time.
    warmup : float
        Share of all steps in which the rate rises linearly from near 0, in [0, 1).
    freeze_depth : int
        Stages below the freeze line; 0 trains all.
    layer_decay : float
        Rate of a stage relative to the one above, in (0, 1].
    label_smoothing : float
        In [0, 1).
    augment : {"none", "flips"}
        ``flips`` gives each image one of its 8 flips and quarter turns, at random.
    patience : int or None
        Stop after this many epochs without a better validation accuracy.
    keep : {"last", "best"}
        Weights of the last epoch, or of the one with the best validation accuracy.
    """

    epochs: int = 5
    lr: float = 1e-3
    batch_size: int = 32
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup: float = 0.1
    freeze_depth: int = 0
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    augment: Literal["none", "flips"] = "none"
    patience: int | None = None
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "lr": (0 < self.lr < math.inf, "above 0"),
            "batch_size": (self.batch_size >= 2, "2 or more (batch norm needs two samples)"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "schedule": (self.schedule in ("constant", "cosine", "step"), "constant, cosine or step"),
            "warmup": (0 <= self.warmup < 1, "a share from 0 up to (not including) 1"),
            "layer_decay": (0 < self.layer_decay <= 1, "above 0, up to 1"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 up to (not including) 1"),
            "augment": (self.augment in ("none", "flips"), "none or flips"),
            "patience": (self.patience is None or self.patience >= 1, "None, or 1 or more"),
            "keep": (self.keep in ("last", "best"), "last or best"),
        }
        for name, (fine, rule) in rules.items():
            if not fine:
                raise ValueError(f"Recipe: {name}={getattr(self, name)!r}; use {rule}.")


def fit(
    model: Classifier,
    train: Samples,
    validation: Samples | None,
    recipe: Recipe,
    *,
    seed: int = 0,
    name: str = "",
    fresh: bool | None = None,
    on_epoch: Callable[[dict[str, float]], bool | None] | None = None,
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
    name : str
        For the ledger, such as "fine-tuning".
    fresh : bool, optional
        True computes even if the run is stored, False never does. By default as ``TL_FRESH`` says: with ``TL_FRESH=1``
        each process computes each run once.
    on_epoch : callable, optional
        Gets each epoch's record, for live curves; return False to stop early. Such a stopped run is not stored.

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
    freezing.freeze(model, recipe.freeze_depth)
    key = run_key(model, train, validation, recipe, seed)
    here = runtime.current()
    store = cache.shared("runs", limit_bytes=3 * cache.GIB)
    again = (here.fresh and key not in _COMPUTED) if fresh is None else fresh
    stored = None if again else store.get(key)
    cache.TALLY["runs", "computed" if stored is None else "reused"] += 1
    if stored is not None:
        model.load_state_dict(stored.tensors, strict=False)
        model.eval()
        ledger.SESSION[0].saved_seconds += stored.record["seconds"]
        run = Run(**stored.record | {"name": name, "task": train.name, "reused": True})
        for epoch in run.history if on_epoch else ():
            on_epoch(epoch)
        return run

    book = ledger.default()
    facts = {"name": name, "task": train.name, "seed": seed, "config": dataclasses.asdict(recipe), "key": key}
    start = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    history: list[dict[str, float]] = []
    try:
        kept, stopped = _train(model, train, validation, recipe, seed, key, history, on_epoch)
    except (KeyboardInterrupt, TrainingDiverged) as error:
        book.append("unfinished run", why=type(error).__name__, history=history, **facts)
        raise
    run = Run(
        **facts,
        metrics={n.removeprefix("validation_"): v for n, v in kept.items() if n.startswith("validation_")},
        history=history,
        seconds=history[-1]["seconds"],
        trainable=freezing.count_trainable(model),
        device=here.device.type,
        precision=str(here.precision("training")).removeprefix("torch."),
        threads=here.threads,
    )
    if accelerate.PartialState().is_main_process:
        book.append("run", **run.as_dict())
        if not stopped:
            _COMPUTED.add(key)
            trained = {n: t for n, t in model.state_dict().items() if not torch.equal(t.cpu(), start[n])}
            store.put(key, trained, run.as_dict())
        cache.shared("checkpoints").drop(key)
    return run


def evaluate(model: Classifier, samples: Samples) -> dict[str, float]:
    """Score a model; the only reader of test splits. Predictions are kept on disk by weights and pixels.

    Returns
    -------
    dict of str to float
        See `score`, plus ``loss`` (mean cross-entropy).
    """
    logits = predict(model, samples)
    labels = samples.labels.numpy()
    found = score(labels, softmax(logits))
    found["loss"] = float(nn.functional.cross_entropy(torch.from_numpy(logits), samples.labels))
    return found


def predict(model: Classifier, samples: Samples) -> np.ndarray:
    """Logits, float32, shape (N, classes), in eval mode; kept on disk by weights and pixels."""
    here = runtime.current()
    dtype = here.precision("inference")
    code = cache.source_fingerprint(_logits, models.backbone)
    key = cache.fingerprint(
        "logits", model, model.backbone.preprocessing, cache.fingerprint(samples.pixels), dtype, here.device.type, code
    )
    return cache.shared("predictions").compute(key, lambda: {"logits": _logits(model, samples)})["logits"].numpy()


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Metrics of predicted probabilities, in percent where that is usual.

    Parameters
    ----------
    labels : int array, shape (N,)
    probabilities : float array, shape (N, classes)
        Rows add up to 1.

    Returns
    -------
    dict of str to float
        ``accuracy``, ``balanced_accuracy``, ``f1`` (of class 1 with two classes, else macro), ``auc`` (one against
        rest), all in %, and ``calibration_error`` (see `calibration_error`), in percentage points. With only one class
        among the labels, ``auc`` is NaN.

    Raises
    ------
    ValueError
        For empty input, shapes that do not fit, labels out of range, or NaN.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if len(labels) == 0 or probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(
            f"{len(labels)} labels against probabilities of shape {probabilities.shape}; need (N, classes)."
        )
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "NaN or infinity among the probabilities: did the training diverge? Try a lower learning rate."
        )
    classes = probabilities.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"Labels from {labels.min()} to {labels.max()}, but probabilities for {classes} classes.")
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    auc = math.nan
    if classes == 2 and len(present) == 2:
        auc = sk.roc_auc_score(labels, probabilities[:, 1])
    elif len(present) == classes:
        auc = sk.roc_auc_score(labels, probabilities, multi_class="ovr", labels=np.arange(classes))
    recalls = sk.recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    f1 = (
        sk.f1_score(labels, predicted, pos_label=1, zero_division=0)
        if classes == 2
        else sk.f1_score(labels, predicted, average="macro", zero_division=0)
    )
    return {
        "accuracy": 100 * float(sk.accuracy_score(labels, predicted)),
        "balanced_accuracy": 100 * float(recalls),
        "f1": 100 * float(f1),
        "auc": 100 * float(auc),
        "calibration_error": 100 * calibration_error(labels, probabilities),
    }


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    r"""Expected calibration error (Guo et al. 2017, equation 3): how far confidence is from being right.

    .. math:: \sum_{b} \frac{|B_b|}{N} \left| \mathrm{accuracy}(B_b) - \mathrm{confidence}(B_b) \right|

    Parameters
    ----------
    labels : int array, shape (N,)
    probabilities : float array, shape (N, classes)
    bins : int
        Of equal width over the confidence, (0, 1].

    Returns
    -------
    float
        In [0, 1].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [
        abs(right[place == b].mean() - confidence[place == b].mean()) * (place == b).mean() for b in np.unique(place)
    ]
    return float(sum(gaps))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, classes) from logits (N, classes)."""
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of a step relative to the peak: warm-up, then the schedule.

    Parameters
    ----------
    step : int
        From 0.
    steps : int
        In the whole run.
    """
    warm = int(recipe.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    if recipe.schedule == "constant":
        return 1.0
    done = (step - warm) / max(1, steps - warm)
    if recipe.schedule == "step":
        return 1.0 if done < 0.5 else 0.1
    return 0.5 * (1 + math.cos(math.pi * done))


def run_key(model: Classifier, train: Samples, validation: Samples | None, recipe: Recipe, seed: int) -> str:
    """Names a run by everything that its numbers depend on: code, versions, weights, data, recipe, seed, device."""
    here = runtime.current()
    return cache.fingerprint(
        "run",
        cache.source_fingerprint(sys.modules[__name__], freezing, models.backbone),
        runtime.versions(),
        model,
        model.backbone.preprocessing,
        train.fingerprint,
        validation.fingerprint if validation else None,
        recipe,
        seed,
        here.device.type,
        here.precision("training"),
        here.precision("inference"),
    )


def _train(
    model: Classifier,
    train: Samples,
    validation: Samples | None,
    recipe: Recipe,
    seed: int,
    key: str,
    history: list[dict[str, float]],
    on_epoch: Callable[[dict[str, float]], bool | None] | None,
) -> tuple[dict[str, float], bool]:
    """The loop itself. Returns the record of the epoch whose weights were kept, and whether the caller stopped it."""
    here = runtime.current()
    runtime.seed_everything(seed)
    accelerator = accelerate.Accelerator(cpu=here.device.type == "cpu", mixed_precision="no")
    loader = DataLoader(
        _Rows(train),
        batch_sampler=_Batches(len(train), recipe.batch_size, seed),
        collate_fn=_as_is,
        worker_init_fn=runtime.seed_worker,
    )
    groups = freezing.parameter_groups(model, recipe.lr, decay=recipe.layer_decay, weight_decay=recipe.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, fused=here.device.type in ("cpu", "cuda"))
    net, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    steps = recipe.epochs * len(loader)
    peaks = [group["lr"] for group in optimizer.param_groups]
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    best, best_state, seconds = None, None, 0.0
    saved = _resume(key, model, optimizer)
    if saved:
        history[:] = saved["history"]
        best, best_state, seconds = saved["best"], saved["best_state"], history[-1]["seconds"]
    last_saved, stopped = time.perf_counter(), False

    for epoch in range(len(history), recipe.epochs):
        if _out_of_patience(history, best, recipe):
            break
        loader.set_epoch(epoch)
        net.train()  # frozen stages stay in eval mode: see Backbone.train
        began, losses = time.perf_counter(), []
        for number, (pixels, labels) in enumerate(loader):
            rate = rate_at(epoch * len(loader) + number, steps, recipe)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate
            images = model.backbone.prepare(_augment(pixels, recipe.augment))
            with here.autocast("training"):
                logits = net(images)
            loss = loss_of(logits.float(), labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        losses = torch.stack(losses).float().cpu()
        if not torch.isfinite(losses).all():
            raise TrainingDiverged(
                f"The loss became {losses[~losses.isfinite()][0].item()} in epoch {epoch + 1}. Usual causes: a learning "
                f"rate that is too high (it was {recipe.lr:g}; try a tenth), or NaN in the data."
            )
        seconds += time.perf_counter() - began
        record = {"epoch": epoch + 1, "seconds": seconds, "lr": rate * recipe.lr, "train_loss": losses.mean().item()}
        if validation is not None:
            record |= {f"validation_{name}": value for name, value in _validate(model, validation).items()}
        history.append(record)
        if best is None or _rank(record) > _rank(best):
            best = record
            best_state = copy.deepcopy(model.state_dict()) if recipe.keep == "best" else None
        if on_epoch is not None and on_epoch(record) is False:
            stopped = True
            break
        if time.perf_counter() - last_saved >= CHECKPOINT_EVERY and epoch + 1 < recipe.epochs:
            _save(key, model, optimizer, {"history": history, "best": best, "best_state": best_state})
            last_saved = time.perf_counter()

    if recipe.keep == "best":
        model.load_state_dict(best_state)
    model.eval()
    return (best if recipe.keep == "best" else history[-1]), stopped


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
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"The model's {name} holds NaN or infinity before training. Load it again.")


def _logits(model: Classifier, samples: Samples, batch: int = 64) -> torch.Tensor:
    here = runtime.current()
    was_training = model.training
    model.eval().to(here.device)
    parts = []
    with torch.inference_mode(), here.autocast("inference"):
        for start in range(0, len(samples), batch):
            pixels = samples.pixels[start : start + batch].to(here.device)
            parts.append(model(model.backbone.prepare(pixels)).float().cpu())
    model.train(was_training)
    return torch.cat(parts)


def _validate(model: Classifier, samples: Samples) -> dict[str, float]:
    logits = _logits(model, samples)
    found = score(samples.labels.numpy(), softmax(logits.numpy())) if torch.isfinite(logits).all() else {}
    if not found:
        raise TrainingDiverged("The model's outputs became NaN or infinite. Try a tenth of the learning rate.")
    return found | {"loss": float(nn.functional.cross_entropy(logits, samples.labels))}


def _augment(pixels: torch.Tensor, how: str) -> torch.Tensor:
    """One of the 8 flips and quarter turns for each image: exact on a pixel grid, (N, C, H, W) uint8 in and out."""
    if how == "none":
        return pixels
    turns = torch.randint(0, 8, (len(pixels),))
    turned = pixels.clone()
    for turn in range(1, 8):
        chosen = (turns == turn).nonzero().flatten()
        view = torch.rot90(pixels[chosen], turn % 4, (2, 3))
        turned[chosen] = view.flip(3) if turn >= 4 else view
    return turned


def _rank(record: dict[str, float]) -> tuple[float, float]:
    return record.get("validation_accuracy", -math.inf), -record.get("validation_loss", math.inf)


def _out_of_patience(history: list[dict], best: dict | None, recipe: Recipe) -> bool:
    return bool(recipe.patience and best and history[-1]["epoch"] - best["epoch"] >= recipe.patience)


def _save(key: str, model: nn.Module, optimizer: torch.optim.Optimizer, progress: dict) -> None:
    content = progress | {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": _random_state(),
    }
    file = io.BytesIO()
    torch.save(content, file)
    raw = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    cache.shared("checkpoints").put(key, {"checkpoint": raw})


def _resume(key: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict | None:
    entry = cache.shared("checkpoints").get(key)
    if entry is None:
        return None
    file = io.BytesIO(entry.tensors["checkpoint"].numpy().tobytes())
    content = torch.load(file, map_location="cpu", weights_only=True)
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    for device, state in content["random"].items():
        _generators()[device].set_state(state)
    return content


def _generators() -> dict[str, torch.Generator]:
    """The random generators that a training run draws from: the CPU's and that of the device in use."""
    found = {"cpu": torch.default_generator}
    device = runtime.current().device
    if device.type == "cuda":
        found["cuda"] = torch.cuda.default_generators[device.index or 0]
    elif device.type == "mps":
        found["mps"] = torch.mps._get_default_mps_generator()
    return found


def _random_state() -> dict[str, torch.Tensor]:
    return {device: generator.get_state() for device, generator in _generators().items()}


def _as_is(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return batch


class _Rows(Dataset):
    """Whole batches at once: pixels and labels stay tensors."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.samples.pixels[positions], self.samples.labels[positions]


class _Batches(Sampler):
    """A new order for each epoch, from seed and epoch alone, so that a resumed run sees what it would have seen.

    A last batch of one sample is dropped: batch norm cannot train on it.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size, self.seed, self.epoch = samples, min(batch_size, samples), seed, 0
        self.drop_last = False  # accelerate asks

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 1)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.samples, generator=generator)
        for number in range(len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size].tolist()
