"""`fit`: one training run, from its name in the store to its line in the ledger, around the loop of `train`.

A run is not computed twice, and one that was killed goes on, bit for bit. Below the freeze line nothing is computed twice
either: see `tl_helpers.activations`.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
import torch

from tl_helpers import freezing, keys, ledger, runtime, store
from tl_helpers.data import Samples, views
from tl_helpers.frozen import engines
from tl_helpers.ledger import Run
from tl_helpers.models import Classifier
from tl_helpers.models.text import warn_of_cut_texts
from tl_helpers.training import checkpoint
from tl_helpers.training.inputs import Batches, targets_of, weights_of
from tl_helpers.training.loop import Trained, optimizer_of, train
from tl_helpers.training.method import Method
from tl_helpers.training.processes import any_says, of_each, processes
from tl_helpers.training.recipe import Recipe
from tl_helpers.training.scoring import TrainingDiverged
from tl_helpers.training.watcher import Watcher, stops

_COMPUTED: set[str] = set()  # runs of this process: ``TL_FRESH`` asks for each once, not for each call


def fit(
    model: Classifier,
    samples: Samples,
    validation: Samples | None,
    recipe: Recipe,
    *,
    method: Method | None = None,
    watch: Watcher | Sequence[Watcher] = (),
    seed: int = 0,
    name: str = "",
    fresh: bool | None = None,
    cached: bool = True,
) -> Run:
    """Train a classifier in place.

    A ValueError for a recipe or a method that does not fit the model or the data; `TrainingDiverged` if the loss becomes
    NaN or infinite, and the ledger keeps the history up to there.

    Parameters
    ----------
    model : Classifier
        Holds the trained weights afterwards, in eval mode.
    samples : Samples
        To train on.
    validation : Samples or None
        Scored after every epoch; needed for early stopping and ``keep="best"``. Never the test split.
    recipe : Recipe
    method : Method, optional
        What is added to plain training: domain adaptation, a strategy against forgetting, `L2SP`.
    watch : Watcher or sequence of Watcher
        Who looks on, such as a live curve, or `Retention`; may stop the run, which then is not stored.
    seed : int
        Of the order of samples, augmentation and dropout (the head's initial weights are the model's own).
    name : str
        For the ledger, such as "fine-tuning".
    fresh : bool, optional
        True computes even if the run is stored, False never does. By default as ``TL_FRESH`` says: with ``TL_FRESH=1``
        each process computes each run once.
    cached : bool
        Take what reaches the freeze line from the frozen-prefix cache. False runs the frozen stages in every step; the
        result is the same up to rounding.
    """
    together = processes()  # first: it settles which device is this process's
    method = Method() if method is None else method
    watchers = list(watch) if isinstance(watch, Sequence) else [watch]
    _check(model, samples, validation, recipe, method, watchers)
    warn_of_cut_texts(model.backbone, samples)
    here, seed, method.facts = runtime.current(), int(seed), {}
    trained = Trained(model, method).to(here.device)  # also where the run turns out to be stored
    freezing.freeze(model, recipe.freeze_depth, batch_norm=recipe.batch_norm)
    how = {"method": method, "watch": watchers, "seed": seed, "cached": cached}
    key = store.sure_name("This run is", lambda: run_key(model, samples, validation, recipe, **how)) or ""
    with runtime.RandomNumbers(seed):  # of the weights that a method makes here
        method.before_training(model, samples)
    runs = store.shared("runs", limit_bytes=3 * store.GIB)
    again = (here.fresh and key not in _COMPUTED) if fresh is None else fresh
    stored = runs.get(key) if key and not again else None
    store.TALLY["runs", "computed" if stored is None else "reused"] += 1
    if stored is not None:
        return _restored(stored, trained, watchers, name, samples.name)

    config = dataclasses.asdict(recipe) | ({} if type(method) is Method else {"method": method.settings})
    facts = {"name": name, "task": samples.name, "seed": seed, "config": config, "key": key}
    start = {f"model.{n}": tensor.detach().cpu().clone() for n, tensor in model.state_dict().items()}
    trained.to(here.device)  # what the method has made meanwhile
    batches = Batches(model, samples, recipe, validation=validation, second=method.second, seed=seed, cached=cached)
    history: list[dict[str, float]] = []
    book = ledger.default()
    try:
        kept, finished = _train(trained, batches, recipe, history, watchers, key, anew=again)
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
        measured=_measured(watchers),
        seconds=trained.seconds,
        trainable=freezing.count_trainable(model),
        device=here.device.type,
        precision=str(here.precision).removeprefix("torch."),
        threads=here.threads,
    )
    _COMPUTED.update({key} if key and finished else ())
    if together.is_main_process:
        if again or not finished or not book.holds("run", key):  # killed before it was stored, it may be there
            book.append("run" if finished else "stopped run", **dataclasses.asdict(run))
        if key and finished:
            now = trained.state_dict().items()
            changed = {n: t for n, t in now if n not in start or not torch.equal(t.cpu(), start[n])}
            runs.put(key, changed, dataclasses.asdict(run))
        store.shared(checkpoint.KIND).drop(key)
    return run


def run_key(
    model: Classifier,
    samples: Samples,
    validation: Samples | None,
    recipe: Recipe,
    *,
    method: Method | None = None,
    watch: Watcher | Sequence[Watcher] = (),
    seed: int = 0,
    cached: bool = True,
) -> str:
    """Names a run by everything that its numbers depend on: code, versions, weights, data, recipe, method, seed, device."""
    here = runtime.current()
    asked = ["probability"] if recipe.labels == "soft" or recipe.weights == "confidence" else []
    return keys.fingerprint(
        "run",
        keys.code_name(_train, Trained, Batches),
        processes().num_processes,
        runtime.versions(),
        model,
        model.backbone.preprocessing,
        samples.fingerprint,
        [samples.extra[column] for column in asked],
        validation.fingerprint if validation else None,
        recipe,
        seed,
        cached,
        here.device.type,
        here.precision,
        engines(model.backbone, recipe.freeze_depth),
        (Method() if method is None else method).key(),
        [each.key() for each in ([watch] if isinstance(watch, Watcher) else watch) if each.measures],
    )


def _train(
    trained: Trained,
    batches: Batches,
    recipe: Recipe,
    history: list[dict[str, float]],
    watchers: list[Watcher],
    key: str,
    *,
    anew: bool,
) -> tuple[dict[str, float], bool]:
    """From the last checkpoint or the beginning to the end; returns the kept epoch's record, and whether it got there."""
    model = trained.model
    runtime.deterministic()
    optimizer = optimizer_of(trained, recipe)
    numbers = runtime.RandomNumbers((batches.seed + 1_000_003 * batches.rank) % 2**32)
    best, best_state = None, None
    saved = None if anew else checkpoint.resume(key, trained, optimizer, numbers, batches.rank)
    if saved:
        progress, best_state = saved
        history[:], best = progress["history"], progress["best"]
    for watcher in watchers:
        watcher.measured = list(progress["measured"]) if saved and watcher.measures else []
        if not saved:
            watcher.before_training(model)
    last_saved, go_on = time.perf_counter(), True
    for record in train(trained, batches, optimizer, recipe, numbers, history, watchers=watchers):
        if best is None or _rank(record) > _rank(best):
            best = record
            best_state = copy.deepcopy(trained.state_dict()) if recipe.keep == "best" else None
        go_on = not any_says(any([stops(watcher.after_epoch(model, record)) for watcher in watchers]))
        if not go_on or (recipe.patience and record["epoch"] - best["epoch"] >= recipe.patience):
            break
        if len(history) < recipe.epochs and any_says(time.perf_counter() - last_saved >= checkpoint.EVERY):
            states = of_each(numbers.state())
            if processes().is_main_process:
                progress = {"history": history, "measured": _measured(watchers), "best": best}
                checkpoint.save(key, trained, optimizer, states, progress, best_state)
            last_saved = time.perf_counter()
    else:
        go_on = len(history) == recipe.epochs  # or a watcher stopped it within an epoch
    if recipe.keep == "best" and best_state:
        checkpoint.put_back(trained, best_state)
    return (best if recipe.keep == "best" else history[-1] if history else None) or {}, go_on


def _measured(watchers: list[Watcher]) -> list[dict[str, float]]:
    return [record for watcher in watchers if watcher.measures for record in watcher.measured]


def _restored(stored: store.Entry, trained: Trained, watchers: list[Watcher], name: str, task: str) -> Run:
    """Put a stored run's weights into model and method, and let the watchers hear of its epochs."""
    checkpoint.put_back(trained, stored.tensors)
    model = trained.model.eval()
    ledger.SESSION[0].saved_seconds += stored.record["seconds"]
    run = Run(**stored.record | {"name": name, "task": task, "reused": True})
    for watcher in watchers:
        if watcher.measures:
            watcher.measured = list(run.measured)
            continue
        watcher.before_training(model)
        for record in run.history:
            watcher.after_epoch(model, record)
    return run


def _check(
    model: Classifier, samples: Samples, validation: Samples | None, recipe: Recipe, method: Method, watchers: list
) -> None:
    if strangers := [each for each in watchers if not isinstance(each, Watcher)]:
        raise TypeError(
            f"watch={strangers[0]!r}: give a Watcher; Watcher(each_epoch=function) makes one of a function."
        )
    if sum(each.measures for each in watchers) > 1:
        raise ValueError("Two watchers that measure: a run keeps the measurements of one. Train twice, or join them.")
    if method.one_process and type(method) is not Method and processes().num_processes > 1:
        raise ValueError(
            f"{type(method).__name__} changes what happens between the steps: it works in one process only."
        )
    model.backbone.check_depth(recipe.freeze_depth)
    if len(samples) < 2:
        raise ValueError(f"{samples.name}: {len(samples)} training sample(s); training needs two or more.")
    method.check(model, samples, recipe.label_smoothing)
    if validation is None and (recipe.patience or recipe.keep == "best"):
        raise ValueError(
            "Early stopping and keep='best' choose on validation samples: pass some, or keep the last epoch."
        )
    same_table = validation is not None and samples.table and samples.table == validation.table
    if same_table and np.intersect1d(samples.rows, validation.rows).size:
        raise ValueError(f"{samples.name} and {validation.name} share rows: that is leakage, so nothing was trained.")
    if recipe.augment == "flips" and samples.inputs.shape[-1] != samples.inputs.shape[-2]:
        views.view(samples.inputs[:1], 1)  # says what to do
    targets_of(samples, recipe.labels)
    weights_of(samples, recipe.weights)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"The model's {name} holds NaN or infinity before training. Load it again.")


def _rank(record: dict[str, float]) -> tuple[float, float]:
    return record.get("validation_accuracy", -math.inf), -record.get("validation_loss", math.inf)
