"""Learning to learn on glyphs and on sinusoids: which start, which inner loop, and what it costs (chapter 10)."""

from __future__ import annotations

import functools
import math
import time
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tl_helpers import keys, runtime, store
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.data import load_meta_task
from tl_helpers.fewshot import EpisodeSampler, meta
from tl_helpers.heads import nearest_centroid, ridge_predict
from tl_helpers.similarity import linear_cka
from tl_helpers.stats import interval

WAYS, QUERIES, CHANNELS = 5, 5, 16
META_STEPS, TASKS = 400, 4
"""Of the meta-training on glyphs: 1,600 episodes. Papers use a hundred times as many."""

CHECKS = (0, 1, 3, 5, 10)
"""Numbers of inner steps at test time."""

EPISODES, VALIDATION_EPISODES, SOME = 600, 100, 100
CHUNK = 20
SHOTS, INNER_STEPS, SEEDS = (1, 5), (1, 5), seeds(3)
RATES = {"MAML": (0.4, 0.01), "first order": (0.4, 0.01), "ANIL": (0.4, 0.01), "Reptile": (0.1, 1.0)}
"""Inner and outer rate by method, chosen on validation classes with another seed than the recorded ones."""

RIVALS = ("prototypical network", "prototypical network, 5 x longer", "classifier of all classes")
LONGER = 5
"""So that the prototypical network gets no less time than MAML, whose meta-steps are slow."""


@functools.lru_cache(maxsize=3)
def glyph_pixels(split: str) -> torch.Tensor:
    """All glyphs of a split as float32 (N, 1, 28, 28) in 0..1."""
    return load_meta_task("glyphs").splits[split].inputs.float() / 255


def glyph_sampler(split: str, shots: int, seed: int) -> EpisodeSampler:
    """5-way episodes of a split."""
    labels = load_meta_task("glyphs").splits[split].labels
    return EpisodeSampler(labels, ways=WAYS, shots=shots, queries=QUERIES, seed=seed)


def glyph_batches(split: str, shots: int, seed: int, *, count: int, size: int = CHUNK) -> list[meta.EpisodeBatch]:
    """The first `count` episodes, in batches."""
    sampler, pixels = glyph_sampler(split, shots, seed), glyph_pixels(split)
    return [
        meta.batch_of(pixels, list(sampler.take(min(size, count - start), start=start)))
        for start in range(0, count, size)
    ]


def glyph_recipe(method: str, inner_steps: int, *, meta_steps: int = META_STEPS) -> meta.MetaRecipe:
    """How a method is trained on glyphs."""
    inner, outer = RATES[method]
    if method == "Reptile":
        return meta.MetaRecipe(
            method, inner_steps, inner, meta_steps=meta_steps, outer_rate=outer, inner_batch=2 * WAYS
        )
    return meta.MetaRecipe(method, inner_steps, inner, meta_steps=meta_steps, outer_rate=outer)


def train_glyphs(
    method: str, shots: int, inner_steps: int, seed: int, *, norm: str = "batch", meta_steps: int = META_STEPS
) -> tuple[meta.Learner, meta.MetaRun]:
    """Meta-training on the training scripts; the best of five checkpoints on the validation scripts is kept.

    Parameters
    ----------
    method : {"MAML", "first order", "ANIL", "Reptile"}
    shots, inner_steps : int
    seed : int
        Of the start, the episodes and their order.
    norm : {"batch", "group"}
    """
    recipe = glyph_recipe(method, inner_steps, meta_steps=meta_steps)
    model = meta.small_conv(WAYS, channels=CHANNELS, norm=norm, seed=seed)
    sampler, pixels = glyph_sampler("train", shots, seed), glyph_pixels("train")
    held_out = glyph_batches("validation", shots, 1000 + seed, count=VALIDATION_EPISODES)
    steps = max(inner_steps, 3)

    def draw(step: int) -> meta.EpisodeBatch:
        return meta.batch_of(pixels, list(sampler.take(TASKS, start=step * TASKS)))

    def validate(weights: meta.Weights) -> float:
        return float(adapted_accuracy(model, weights, held_out, method, recipe.inner_rate, (steps,)).mean())

    return model, meta.meta_train(model, draw, recipe, validate=validate, every=meta_steps // 5, seed=seed)


def part_of(method: str) -> meta.Part:
    """What the inner loop moves: the head only for ANIL."""
    return "head" if method == "ANIL" else "all"


def adapted_accuracy(
    model: meta.Learner,
    weights: meta.Weights,
    batches: list[meta.EpisodeBatch],
    method: str,
    rate: float,
    steps: tuple[int, ...],
    part: meta.Part | None = None,
) -> np.ndarray:
    """Accuracy in % of each episode after some numbers of inner steps: shape (len(steps), episodes)."""
    part = part or part_of(method)
    found = [meta.adapted_outputs(model, weights, batch, steps=steps, rate=rate, part=part) for batch in batches]
    scores = [meta.scores_of(outputs, batch.query_y) for outputs, batch in zip(found, batches, strict=True)]
    return np.concatenate(scores, axis=1)


def accuracy_one_by_one(
    model: meta.Learner, weights: meta.Weights, batches: list[meta.EpisodeBatch], method: str, rate: float, steps: int
) -> np.ndarray:
    """The same when each query is answered alone: its statistics are the support's and its own, not the other queries'."""

    def one(sx: torch.Tensor, sy: torch.Tensor, qx: torch.Tensor) -> torch.Tensor:
        adapted = meta.adapt(model, weights, sx, sy, steps=steps, rate=rate, part=part_of(method))
        return vmap(lambda x: functional_call(model, adapted, (torch.cat([sx, x[None]]),))[-1])(qx)

    with torch.no_grad():
        return np.concatenate(
            [meta.scores_of(vmap(one)(b.support_x, b.support_y, b.query_x), b.query_y) for b in batches]
        )


def features_kept(
    model: meta.Learner, weights: meta.Weights, batch: meta.EpisodeBatch, rate: float, steps: int
) -> dict[str, float]:
    """Linear CKA of each stage's features of the queries before and after the inner loop, mean over the batch's tasks."""
    rows = []
    for sx, sy, qx, _ in zip(*batch, strict=True):
        adapted = meta.adapt(model, weights, sx, sy, steps=steps, rate=rate)
        before, after = (stage_features(model, w, qx) for w in (weights, adapted))
        rows.append([linear_cka(before[name], after[name]) for name in before])
    return dict(zip(before, np.mean(rows, axis=0).tolist(), strict=True))


def meta_glyphs_cell(method: str, shots: int, inner_steps: int, seed: int) -> dict[str, float]:
    """One cell: learn a start on the training scripts, adapt it to 600 episodes of the test scripts.

    Parameters
    ----------
    method : {"MAML", "first order", "ANIL", "Reptile"}
    shots, inner_steps : int
        Inner steps of the meta-training.
    seed : int

    Returns
    -------
    dict of str to float
        In %: ``accuracy`` and ``accuracy_half_width`` after the number of test steps that is best on validation
        (``test_steps``), ``accuracy_after_0`` to ``accuracy_after_10``, ``validation_accuracy``; over 100 episodes
        ``accuracy_together`` and ``accuracy_one_by_one`` (each query alone with the support), ``accuracy_head_only`` and
        ``accuracy_body_only`` (what moves at test time); ``cka_stage_1`` to ``cka_output``, before against after the inner
        loop; ``train_seconds``.
    """
    model, run = train_glyphs(method, shots, inner_steps, seed)
    rate = RATES[method][0]
    held_out = glyph_batches("validation", shots, 1000 + seed, count=VALIDATION_EPISODES)
    on_validation = adapted_accuracy(model, run.weights, held_out, method, rate, CHECKS).mean(axis=1)
    best = int(on_validation.argmax())
    test = glyph_batches("test", shots, 2000 + seed, count=EPISODES)
    accuracy = adapted_accuracy(model, run.weights, test, method, rate, CHECKS)
    mean, low, _ = interval(accuracy[best])
    some, steps = test[: SOME // CHUNK], CHECKS[best]
    parts = {
        part: adapted_accuracy(model, run.weights, some, method, rate, (steps,), part).mean()
        for part in ("head", "body")
    }
    alone = accuracy_one_by_one(model, run.weights, some, method, rate, steps)
    kept = features_kept(model, run.weights, some[0], rate, max(steps, 1))
    return {
        "accuracy": round(mean, 3),
        "accuracy_half_width": round(mean - low, 3),
        **{f"accuracy_after_{n}": round(float(accuracy[k].mean()), 3) for k, n in enumerate(CHECKS)},
        "validation_accuracy": round(float(on_validation[best]), 3),
        "test_steps": float(steps),
        "accuracy_together": round(float(accuracy[best, :SOME].mean()), 3),
        "accuracy_one_by_one": round(float(alone.mean()), 3),
        **{f"accuracy_{part}_only": round(float(value), 3) for part, value in parts.items()},
        **{f"cka_{name.replace(' ', '_')}": round(value, 4) for name, value in kept.items()},
        "train_seconds": round(run.seconds, 2),
    }


# ---- rivals without an inner loop --------------------------------------------------------------------------------------


def meta_rivals_cell(method: str, shots: int, seed: int) -> dict[str, float]:
    """The same network and as many pictures, without an inner loop: class means decide.

    Parameters
    ----------
    method : {"prototypical network", "prototypical network, 5 x longer", "classifier of all classes"}
        Trained by episodes (Snell et al. 2017), also with five times the meta-steps, or as an ordinary classifier of all
        training classes whose features are then compared with class means (Chen et al. 2019 call that a strong baseline).
    shots, seed : int

    Returns
    -------
    dict of str to float
        ``accuracy``, ``accuracy_half_width``, ``validation_accuracy`` in %; ``train_seconds``.
    """
    samples = load_meta_task("glyphs").splits["train"]
    pixels, labels = glyph_pixels("train"), torch.as_tensor(samples.labels)
    sampler = glyph_sampler("train", shots, seed)
    episodic, steps = method != RIVALS[-1], META_STEPS * (LONGER if method == RIVALS[1] else 1)
    ways = WAYS if episodic else len(samples.classes)
    model = meta.small_conv(ways, channels=CHANNELS, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    for step in range(steps):
        if episodic:
            batch = meta.batch_of(pixels, list(sampler.take(TASKS, start=step * TASKS)))
            loss = torch.stack(
                [nn.functional.cross_entropy(_by_means(model, *task[:3]), task[3]) for task in zip(*batch, strict=True)]
            ).mean()
        else:
            rows = torch.randint(len(labels), (TASKS * WAYS * (shots + QUERIES),), generator=generator)
            loss = nn.functional.cross_entropy(model(pixels[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start

    def score(split: str, offset: int, count: int) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate(
                [
                    [meta.scores_of(_by_means(model, sx, sy, qx), qy) for sx, sy, qx, qy in zip(*batch, strict=True)]
                    for batch in glyph_batches(split, shots, offset + seed, count=count)
                ]
            )

    mean, low, _ = interval(score("test", 2000, EPISODES))
    return {
        "accuracy": round(mean, 3),
        "accuracy_half_width": round(mean - low, 3),
        "validation_accuracy": round(float(score("validation", 1000, VALIDATION_EPISODES).mean()), 3),
        "train_seconds": round(seconds, 2),
    }


def _by_means(model: meta.Learner, sx: torch.Tensor, sy: torch.Tensor, qx: torch.Tensor) -> torch.Tensor:
    """Scores (q, ways) from distances to class means; support and queries are standardised together."""
    features = model.body(torch.cat([sx, qx]))
    return nearest_centroid(features[: len(sx)], sy, features[len(sx) :])


# ---- what it costs, and what it changes ------------------------------------------------------------------------------


def stage_features(model: meta.Learner, weights: meta.Weights, x: torch.Tensor) -> dict[str, np.ndarray]:
    """What each stage of the body gives for x, averaged over space: float arrays (n, channels), and ``output``.

    The numbers to compare before and after adaptation with `tl_helpers.similarity.linear_cka`.
    """
    found = {}
    with torch.no_grad():
        for number, stage in enumerate(model.body):
            x = functional_call(stage, meta.below(weights, f"body.{number}."), (x,))
            found[f"stage {number + 1}"] = (x.mean(dim=(2, 3)) if x.ndim == 4 else x).numpy()
        found["output"] = functional_call(model.head, meta.below(weights, "head."), (x,)).numpy()
    return found


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes that the tensors made within `call` hold at once; what was there before does not count.

    Every operation's result is counted until its memory is freed, also below `torch.func`'s transforms.
    """
    with _Held() as held:
        call()
    return held.peak


class _Held(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        given = {tensor.untyped_storage()._cdata for tensor in tree_leaves(args) if isinstance(tensor, torch.Tensor)}
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            name, size = storage._cdata, storage.nbytes()
            if name not in self.known | given:  # a view or a change in place holds nothing new
                self.known.add(name)
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, name, size)
        return result

    def _free(self, name: int, size: int) -> None:
        self.known.discard(name)
        self.now -= size


# ---- sinusoids -------------------------------------------------------------------------------------------------------

JOINT, SCRATCH, RIDGE = "joint training", "from scratch", "ridge on learned features"
SINE_STEPS, SINE_TASKS = 1500, 25
SINE_CHECKS = tuple(range(11))
SINE_RATES = (0.003, 0.01, 0.03, 0.1)
"""Inner rates at test time; the best on validation curves is taken, for each method by itself."""

SINES = {
    JOINT: meta.MetaRecipe("MAML", 0, 0.01, meta_steps=SINE_STEPS, outer_rate=0.01),
    "MAML": meta.MetaRecipe("MAML", 1, 0.01, meta_steps=SINE_STEPS, outer_rate=0.01),
    "first order": meta.MetaRecipe("first order", 1, 0.01, meta_steps=SINE_STEPS, outer_rate=0.01),
    "Reptile": meta.MetaRecipe("Reptile", 10, 0.01, meta_steps=SINE_STEPS, outer_rate=1.0, inner_batch=10),
    "ANIL": meta.MetaRecipe("ANIL", 1, 0.01, meta_steps=SINE_STEPS, outer_rate=0.01),
    RIDGE: meta.MetaRecipe("ridge", 0, 0.01, meta_steps=SINE_STEPS, outer_rate=0.01),
}
"""How each start is learned; joint training is MAML without an inner step."""


def sinusoids(tasks: int, *, points: int = 10, queries: int = 10, seed: int | Sequence[int] = 0) -> meta.EpisodeBatch:
    """Sine curves to be continued from a few points (Finn et al. 2017): y = A sin(x - phase).

    A is uniform in [0.1, 5], the phase in [0, pi], x in [-5, 5].

    Parameters
    ----------
    tasks, points, queries : int
        Curves, points to learn from, points to be judged by.
    seed : int or sequence of int

    Returns
    -------
    meta.EpisodeBatch
        float32, (tasks, points, 1) and (tasks, queries, 1).
    """
    if min(tasks, points, queries) < 1:
        raise ValueError(f"tasks={tasks}, points={points}, queries={queries}: one or more of each.")
    random = np.random.default_rng(seed)
    amplitude, phase = random.uniform(0.1, 5, (tasks, 1, 1)), random.uniform(0, np.pi, (tasks, 1, 1))
    parts = []
    for count in (points, queries):
        x = random.uniform(-5, 5, (tasks, count, 1))
        parts += [x, amplitude * np.sin(x - phase)]
    return meta.EpisodeBatch(*(torch.tensor(part, dtype=torch.float32) for part in parts))


def any_frequency(
    tasks: int, *, points: int = 10, queries: int = 10, seed: int | Sequence[int] = 0
) -> meta.EpisodeBatch:
    """Sine curves that no few features span: y = A sin(w x - phase), with w uniform in [0.5, 2], the rest as `sinusoids`.

    Tasks, points, queries and seed, and the shapes of what is returned, are those of `sinusoids`.
    """
    if min(tasks, points, queries) < 1:
        raise ValueError(f"tasks={tasks}, points={points}, queries={queries}: one or more of each.")
    random = np.random.default_rng(seed)
    size, phase, frequency = (random.uniform(*span, (tasks, 1, 1)) for span in ((0.1, 5), (0, np.pi), (0.5, 2)))
    parts = []
    for count in (points, queries):
        x = random.uniform(-5, 5, (tasks, count, 1))
        parts += [x, size * np.sin(frequency * x - phase)]
    return meta.EpisodeBatch(*(torch.tensor(part, dtype=torch.float32) for part in parts))


def any_frequency_errors(method: str, curves: meta.EpisodeBatch, seed: int) -> np.ndarray:
    """Squared error of each curve, (T,), after ten steps from a start that was learned on curves of any frequency.

    `method` is a key of `SINES`, with the recipe of the sinusoids; the inner rate is the best of `SINE_RATES` on
    validation curves of this family.
    """
    model = meta.mlp(seed=seed)
    run = meta.meta_train(model, lambda step: any_frequency(SINE_TASKS, seed=[seed, step]), SINES[method], seed=seed)
    held_out, found = any_frequency(100, queries=50, seed=[1000 + seed, 10]), {}
    for rate in SINE_RATES:
        try:
            found[rate] = sine_errors(model, run.weights, method, held_out, rate)[-1].mean()
        except ValueError:  # diverged
            found[rate] = math.inf
    return sine_errors(model, run.weights, method, curves, min(found, key=found.get))[-1]


def train_sines(method: str, points: int, seed: int, *, fresh: bool = False) -> tuple[meta.Learner, meta.MetaRun]:
    """Meta-training of the 40-40 network on sinusoids with some support points; `SCRATCH` is left untrained.

    A run is stored in the cache and comes from there the next time, unless it is to be `fresh`.
    """
    model = meta.mlp(seed=seed)
    if method == SCRATCH:
        return model, meta.MetaRun(meta.weights_of(model), np.zeros(0), 0.0)
    recipe = SINES[method]

    def draw(step: int) -> meta.EpisodeBatch:
        return sinusoids(SINE_TASKS, points=points, seed=[seed, step])

    def train() -> dict[str, torch.Tensor]:
        run = meta.meta_train(model, draw, recipe, seed=seed)
        return {**run.weights, "losses": torch.tensor(run.losses), "seconds": torch.tensor(run.seconds)}

    code = keys.code_name(meta, sinusoids)
    key = keys.fingerprint("sines", runtime.versions(), model, recipe, points, seed, SINE_TASKS, code)
    found = train() if fresh else store.shared("runs").compute(key, train)
    losses, seconds = found.pop("losses").numpy(), float(found.pop("seconds"))
    return model, meta.MetaRun(found, losses, seconds)


def ridge_outputs(
    model: meta.Learner, weights: meta.Weights, batch: meta.EpisodeBatch, *, penalty: float = 0.1
) -> torch.Tensor:
    """Outputs (T, q, outputs) for the queries by ridge regression on the body's features; no inner loop."""

    def one(sx: torch.Tensor, sy: torch.Tensor, qx: torch.Tensor) -> torch.Tensor:
        return ridge_predict(
            meta.body_features(model, weights, sx), sy, meta.body_features(model, weights, qx), penalty=penalty
        )

    with torch.no_grad():
        return vmap(one)(batch.support_x, batch.support_y, batch.query_x)


def sine_errors(
    model: meta.Learner,
    weights: meta.Weights,
    method: str,
    curves: meta.EpisodeBatch,
    rate: float,
    steps: tuple[int, ...] = SINE_CHECKS,
) -> np.ndarray:
    """Mean squared error of each curve after some inner steps, shape (len(steps), T). Ridge has none: all are the same."""
    if method == RIDGE:
        errors = meta.scores_of(ridge_outputs(model, weights, curves), curves.query_y)
        return np.repeat(errors[None], len(steps), axis=0)
    part = part_of(method)
    outputs = meta.adapted_outputs(model, weights, curves, steps=steps, rate=rate, part=part)
    return meta.scores_of(outputs, curves.query_y)


def sine_rate(model: meta.Learner, weights: meta.Weights, method: str, points: int, seed: int) -> float:
    """The test-time inner rate whose error after the last step is smallest on 100 validation curves."""
    curves = sinusoids(100, points=points, queries=50, seed=[1000 + seed, points])
    found = {}
    for rate in SINE_RATES:
        try:
            found[rate] = sine_errors(model, weights, method, curves, rate)[-1].mean()
        except ValueError:  # diverged
            found[rate] = math.inf
    return min(found, key=found.get)


def meta_sines_cell(method: str, points: int, seed: int) -> dict[str, float]:
    """One cell: learn a start on sinusoids, adapt it to 200 new curves.

    Parameters
    ----------
    method : str
        A key of `SINES`, or `SCRATCH`.
    points : int
        Of the support, in training and test.
    seed : int

    Returns
    -------
    dict of str to float
        ``error_after_0`` to ``error_after_10``: mean squared error on 100 points of each new curve; ``validation_accuracy``
        and ``accuracy``: the share of variance explained after the last step, in % (0 where it is negative), on validation
        and test curves; ``test_rate``, ``train_seconds``.
    """
    model, run = train_sines(method, points, seed, fresh=True)
    rate = sine_rate(model, run.weights, method, points, seed)

    def explained(curves: meta.EpisodeBatch, errors: np.ndarray) -> float:
        return max(0.0, 100 * (1 - float(errors[-1].mean()) / float((curves.query_y**2).mean())))

    held_out = sinusoids(100, points=points, queries=50, seed=[1000 + seed, points])
    test = sinusoids(200, points=points, queries=100, seed=[2000 + seed, points])
    errors = sine_errors(model, run.weights, method, test, rate)
    return {
        **{f"error_after_{step}": round(float(errors[k].mean()), 4) for k, step in enumerate(SINE_CHECKS)},
        "validation_accuracy": round(explained(held_out, sine_errors(model, run.weights, method, held_out, rate)), 3),
        "accuracy": round(explained(test, errors), 3),
        "test_rate": rate,
        "train_seconds": round(run.seconds, 2),
    }


STUDIES = (
    Study(
        "meta_glyphs",
        "A start for few-shot glyphs: MAML, first order, ANIL, Reptile, and what their inner loop changes",
        {"method": tuple(RATES), "shots": SHOTS, "inner_steps": INNER_STEPS, "seed": SEEDS},
        meta_glyphs_cell,
        cited={},
    ),
    Study(
        "meta_rivals",
        "The same network on glyphs without an inner loop: a prototypical network, and a plain classifier's features",
        {"method": RIVALS, "shots": SHOTS, "seed": SEEDS},
        meta_rivals_cell,
        cited={},
    ),
    Study(
        "meta_sines",
        "Sinusoids from 5 and 10 points: error after 0 to 10 inner steps from starts learned in several ways",
        {"method": (SCRATCH, *SINES), "points": (5, 10), "seed": SEEDS},
        meta_sines_cell,
        cited={"method": (JOINT, "MAML", "first order", "Reptile", RIDGE), "points": (10,)},
    ),
)
