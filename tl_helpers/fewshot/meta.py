"""Learning to learn: MAML, first order, ANIL and Reptile, written with `torch.func` on weights that are plain dictionaries.

A `Learner` (body and head) holds no state of its own: `adapt` takes weights and returns others, so one can differentiate
through it. Chapter 10 writes the core of each method out and compares it with this module.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vmap
from torch.utils.data import default_collate

from tl_helpers import runtime
from tl_helpers.fewshot.episodes import Episode
from tl_helpers.heads import ridge_predict

Weights = dict[str, Tensor]
"""Parameters by name, as `torch.func.functional_call` takes them."""

Method = Literal["MAML", "first order", "ANIL", "Reptile", "ridge"]
Part = Literal["all", "head", "body"]

CLIP = 10.0
"""The meta-gradient's largest norm: through several inner steps a rare episode gives a huge one."""


class Learner(nn.Module):
    """A body, from inputs to features, and a linear head on them; made by `mlp` and `small_conv`."""

    def __init__(self, body: nn.Sequential, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (n, ...) to outputs (n, classes or values)."""
        return self.head(self.body(x))


class BatchStatistics(nn.Module):
    """Batch normalisation with the statistics of the pictures passed in, at any time; no running averages.

    Written out on purpose: with PyTorch 2.14 the *second* derivative of `torch.nn.functional.batch_norm` under `torch.vmap`
    is wrong, by about a percent in small networks, and nothing warns of it: finite differences do, in
    `tests/unit/test_meta.py`. The batching rule's mistake is pytorch/functorch issue 534.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (n, channels, height, width), each channel standardised over n, height and width."""
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), keepdim=True, correction=0)
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.weight[:, None, None] + self.bias[:, None, None]


def mlp(*, hidden: Sequence[int] = (40, 40), seed: int = 0) -> Learner:
    """A small dense network from one number to another; 40-40 is the one of MAML's sinusoids (Finn et al. 2017)."""
    with runtime.RandomNumbers(seed):
        sizes = itertools.pairwise((1, *hidden))
        layers = [nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in sizes]
        return Learner(nn.Sequential(*layers), nn.Linear(hidden[-1], 1))


def small_conv(ways: int, *, channels: int = 32, norm: Literal["batch", "group"] = "batch", seed: int = 0) -> Learner:
    """Four blocks of 3 x 3 convolution with stride 2, normalisation and ReLU, then the mean over space and a linear head.

    MAML's Omniglot network (Finn et al. 2017) with fewer channels. ``norm="batch"`` takes the statistics of whatever is
    passed in together and keeps no running averages, as there: predictions for query samples depend on each other
    (*transductive*). ``norm="group"`` normalises each picture by itself. A ValueError for fewer than two ways or
    another norm.
    """
    if ways < 2:
        raise ValueError(f"ways={ways}: a classifier needs two classes or more.")
    if norm not in ("batch", "group"):
        raise ValueError(f"norm={norm!r}: use 'batch' or 'group'.")
    with runtime.RandomNumbers(seed):
        stack = []
        for inputs in (1, channels, channels, channels):
            convolution = nn.Conv2d(inputs, channels, 3, stride=2, padding=1, bias=False)
            normed = BatchStatistics(channels) if norm == "batch" else nn.GroupNorm(4, channels)
            stack.append(nn.Sequential(convolution, normed, nn.ReLU()))
        stack.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        return Learner(nn.Sequential(*stack), nn.Linear(channels, ways))


def weights_of(model: nn.Module) -> Weights:
    """A copy of a network's parameters, to start from; a ValueError for one that keeps running averages.

    Those would be changed behind the back of `torch.func`.
    """
    if any(getattr(module, "running_mean", None) is not None for module in model.modules()):
        raise ValueError(
            "This network keeps running averages (batch normalisation), which a functional call cannot update. "
            "Use track_running_stats=False, or group normalisation."
        )
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@dataclass(frozen=True)
class EpisodeBatch:
    """Several small tasks of the same size: what to learn from, and what to be judged by.

    Inputs are float, shapes (T, n, ...) and (T, q, ...) for T tasks; what is right int64 classes from 0, (T, n) and (T,
    q), or for a regression float values (T, n, outputs). A ValueError says which lengths do not fit, which part is
    empty, where a support holds one class only, or where a query asks for a class that its support lacks.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor

    def __post_init__(self) -> None:
        for part, x, y in (("support", self.support_x, self.support_y), ("query", self.query_x, self.query_y)):
            if x.ndim < 2 or x.shape[:2] != y.shape[:2]:
                raise ValueError(f"The {part} holds inputs {tuple(x.shape)} and labels {tuple(y.shape)}: not as many.")
            if 0 in x.shape[:2]:
                raise ValueError(f"The {part} is empty, shape {tuple(x.shape)}: give one sample or more of each task.")
        if len(self.support_x) != len(self.query_x):
            raise ValueError(
                f"{len(self.support_x)} tasks in the support, {len(self.query_x)} in the query: give the same."
            )
        if self.support_y.is_floating_point():
            return
        for number, (known, asked) in enumerate(zip(self.support_y, self.query_y, strict=True)):
            classes = set(known.tolist())
            if len(classes) < 2:
                raise ValueError(f"Task {number} holds one class only: draw two ways or more.")
            if unknown := set(asked.tolist()) - classes:
                raise ValueError(f"Task {number}: its query asks for class {min(unknown)}, not in its support.")

    def __len__(self) -> int:
        return len(self.support_x)

    def __iter__(self):
        return iter((self.support_x, self.support_y, self.query_x, self.query_y))

    def take(self, rows: Sequence[int] | slice) -> EpisodeBatch:
        """Some of the tasks."""
        return EpisodeBatch(*(part[rows] for part in self))


def batch_of(pixels: Tensor, episodes: Sequence[Episode]) -> EpisodeBatch:
    """Episodes of one data set, all of the same size, as tensors.

    `pixels` are all samples, prepared for the network: float, shape (N, C, H, W).
    """
    if not pixels.is_floating_point():
        raise ValueError(f"pixels are {pixels.dtype}: turn them into floats first, such as pixels.float() / 255.")

    def rows(what: str) -> Tensor:
        return torch.as_tensor(np.stack([getattr(episode, what) for episode in episodes]))

    return EpisodeBatch(pixels[rows("support")], rows("support_labels"), pixels[rows("query")], rows("query_labels"))


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy for classes, mean squared error for values."""
    if y.is_floating_point():
        return nn.functional.mse_loss(outputs, y)
    return nn.functional.cross_entropy(outputs, y)


def adapt(
    model: nn.Module,
    weights: Weights,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    rate: float,
    part: Part = "all",
    order: Tensor | None = None,
) -> Weights:
    """The inner loop: some steps of gradient descent on one task, from `weights`.

    New weights are returned and none changed, so that this can be differentiated and mapped over tasks. The support is
    one task's, (n, ...) and its labels. `part` of a `Learner` moves (all of any network); if it is ``"head"``, the body
    is computed once only (ANIL, Raghu et al. 2020). `order`, int64 (steps, batch), says which samples each step sees; all
    of them by default. A ValueError for steps below 0, a rate not above 0, lengths that do not fit, or a part that the
    network lacks.
    """
    _check_inner(steps, rate, part)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} inputs and {len(y)} labels: give one label for each input.")
    if part != "all" and not any(name.startswith(f"{part}.") for name in weights):
        raise ValueError(f"This network has no part named {part!r}: use Learner(body, head), or adapt all of it.")
    if part == "head":
        features, head = body_features(model, weights, x), below(weights, "head.")
        head = adapt(model.head, head, features, y, steps=steps, rate=rate, order=order)
        return weights | {f"head.{name}": w for name, w in head.items()}

    def loss(moving: Weights, weights: Weights, some: Tensor | slice) -> Tensor:
        return loss_of(functional_call(model, weights | moving, x[some]), y[some])

    for step in range(steps):
        some = slice(None) if order is None else order[step]
        moving = {name: w for name, w in weights.items() if part == "all" or name.startswith("body.")}
        slope = grad(loss)(moving, weights, some)
        weights = weights | {name: w - rate * slope[name] for name, w in moving.items()}
    return weights


def meta_gradient(
    model: nn.Module,
    weights: Weights,
    batch: EpisodeBatch,
    *,
    method: Method = "MAML",
    steps: int = 1,
    rate: float = 0.01,
    vmapped: bool = True,
    order: Tensor | None = None,
) -> tuple[Weights, float]:
    r"""The direction in which the start should *not* go, averaged over tasks, and the mean loss after adaptation.

    With :math:`\theta'` the weights after the inner loop on the support, and L the query's loss:

    - ``"MAML"``: :math:`\nabla_\theta L(\theta'(\theta))`, through the inner loop: of second order (Finn et al. 2017);
    - ``"first order"``: :math:`\nabla_{\theta'} L(\theta')`, which is the same with the inner gradients taken as constants:
      then :math:`\theta'` moves exactly as :math:`\theta` does (same);
    - ``"ANIL"``: as MAML, but only the head moves in the inner loop (Raghu et al. 2020);
    - ``"Reptile"``: :math:`\theta - \theta'`, after an inner loop on all samples of the task (Nichol et al. 2018);
    - ``"ridge"``: through a ridge regression in place of an inner loop (Bertinetto et al. 2019).

    No inner steps (``steps=0``) with MAML is ordinary joint training on all tasks. `vmapped` takes all tasks at once
    with `torch.vmap`, or one after the other: the same numbers up to rounding. `order` is that of `adapt`. The loss is
    of the queries; for Reptile, which has none, of all samples. Besides the ValueErrors of `adapt`, one for an unknown
    method, or a loss that is NaN or infinite: the training diverged.
    """
    _check_inner(steps, rate, method=method)
    inner = {"steps": steps, "rate": rate, "order": order}

    def through(weights: Weights, sx: Tensor, sy: Tensor, qx: Tensor, qy: Tensor) -> Tensor:
        if method == "ridge":
            features = body_features(model, weights, sx), body_features(model, weights, qx)
            return loss_of(ridge_predict(features[0], sy, features[1]), qy)
        adapted = adapt(model, weights, sx, sy, part="head" if method == "ANIL" else "all", **inner)
        return loss_of(functional_call(model, adapted, qx), qy)

    def direct(weights: Weights, sx: Tensor, sy: Tensor, qx: Tensor, qy: Tensor) -> tuple:
        if method == "first order":
            adapted = adapt(model, weights, sx, sy, **inner)
            return grad_and_value(lambda w: loss_of(functional_call(model, w, qx), qy))(adapted)
        x, y = torch.cat([sx, qx]), torch.cat([sy, qy])
        adapted = adapt(model, weights, x, y, **inner)
        return {name: w - adapted[name] for name, w in weights.items()}, loss_of(functional_call(model, adapted, x), y)

    tasks, without_backward = (None, 0, 0, 0, 0), method in ("first order", "Reptile")
    if vmapped and not without_backward:
        slope, loss = grad_and_value(lambda w: vmap(through, tasks)(w, *batch).mean())(weights)
    else:
        one = direct if without_backward else grad_and_value(through)
        with torch.no_grad():
            if vmapped:
                slope, loss = vmap(one, tasks)(weights, *batch)
            else:
                slope, loss = default_collate([one(weights, *task) for task in zip(*batch, strict=True)])
            slope, loss = {name: g.mean(dim=0) for name, g in slope.items()}, loss.mean()
    value = float(loss)
    if not math.isfinite(value) or not all(bool(torch.isfinite(g).all()) for g in slope.values()):
        raise ValueError(
            f"The loss after adaptation is {value}, or its gradient is not finite: the training diverged. Lower the inner "
            f"rate (now {rate:g}) or the outer one, or take fewer inner steps (now {steps})."
        )
    return slope, value


@dataclass(frozen=True)
class MetaRecipe:
    """How to learn a start; `inner_steps` of 0 is joint training on all tasks.

    Attributes
    ----------
    method : {"MAML", "first order", "ANIL", "Reptile", "ridge"}
    outer_rate : float
        Adam's rate at the start. For Reptile the share of the way to go towards the adapted weights, as in its paper.
        Both fall to 0 along half a cosine.
    inner_batch : int, optional
        Samples that each inner step of Reptile sees, drawn from the task's; all by default.
    """

    method: Method = "MAML"
    inner_steps: int = 1
    inner_rate: float = 0.01
    meta_steps: int = 1000
    outer_rate: float = 0.001
    inner_batch: int | None = None

    def __post_init__(self) -> None:
        _check_inner(self.inner_steps, self.inner_rate, method=self.method)
        if self.method == "Reptile" and self.inner_steps == 0:
            raise ValueError("Reptile moves towards the adapted weights: it needs one inner step or more.")
        if self.meta_steps < 1 or not self.outer_rate > 0:
            raise ValueError(f"meta_steps={self.meta_steps}, outer_rate={self.outer_rate}: 1 or more, and above 0.")


@dataclass(frozen=True)
class MetaRun:
    """A learned start: the weights that are best on validation where there was one, else the last.

    The loss after adaptation on each step's tasks, float (meta_steps,); seconds of training, without validation; and the
    validation scores by meta-step.
    """

    weights: Weights
    losses: np.ndarray
    seconds: float
    validation: dict[int, float] = field(default_factory=dict)


def meta_train(
    model: nn.Module,
    draw: Callable[[int], EpisodeBatch],
    recipe: MetaRecipe,
    *,
    validate: Callable[[Weights], float] | None = None,
    every: int = 100,
    seed: int = 0,
) -> MetaRun:
    """The outer loop: draw tasks, adapt to each, move the start.

    The model gives the start, and is left as it was; `draw` gives the tasks of a meta-step, by its number. `validate`
    scores some weights on validation tasks, after `every` so many meta-steps; higher is better, and the best weights
    are returned. The seed is that of the order in which Reptile sees samples. A training that diverges raises the
    ValueError of `meta_gradient`, with the step at which it did.
    """
    generator = torch.Generator().manual_seed(seed)
    leaves = {name: nn.Parameter(w) for name, w in weights_of(model).items()}

    def now() -> Weights:
        return {name: leaf.detach().clone() for name, leaf in leaves.items()}

    best, best_score, scores, losses, seconds = now(), -math.inf, {}, [], 0.0
    reptile = recipe.method == "Reptile"
    inner = {"method": recipe.method, "steps": recipe.inner_steps, "rate": recipe.inner_rate}
    optimizer = (torch.optim.SGD if reptile else torch.optim.Adam)(leaves.values(), lr=recipe.outer_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.meta_steps)
    for step in runtime.progress(range(recipe.meta_steps), total=recipe.meta_steps, what=recipe.method):
        start = time.perf_counter()
        batch, order = draw(step), None
        if reptile and recipe.inner_batch:
            samples = batch.support_x.shape[1] + batch.query_x.shape[1]
            every_step = [torch.randperm(samples, generator=generator) for _ in range(recipe.inner_steps)]
            order = torch.stack(every_step)[:, : recipe.inner_batch]
        try:
            slope, loss = meta_gradient(model, now(), batch, order=order, **inner)
        except ValueError as error:
            raise ValueError(f"Meta-step {step}: {error}") from None
        for name, leaf in leaves.items():
            leaf.grad = slope[name].detach()
        if not reptile:
            nn.utils.clip_grad_norm_(leaves.values(), CLIP)
        optimizer.step()
        schedule.step()
        losses.append(loss)
        seconds += time.perf_counter() - start
        if validate is not None and ((step + 1) % every == 0 or step + 1 == recipe.meta_steps):
            weights = now()
            scores[step + 1] = float(validate(weights))
            if scores[step + 1] > best_score:
                best, best_score = weights, scores[step + 1]
    return MetaRun(now() if validate is None else best, np.array(losses), seconds, scores)


def adapted_outputs(
    model: nn.Module,
    weights: Weights,
    batch: EpisodeBatch,
    *,
    steps: Sequence[int] = (0, 1, 5, 10),
    rate: float,
    part: Part = "all",
) -> Tensor:
    """Outputs for the queries after some numbers of inner steps on the support: shape (len(steps), T, q, outputs).

    A ValueError, besides those of `adapt`, for steps that do not ascend or outputs that are not finite.
    """
    steps = list(steps)
    if not steps or steps != sorted(set(steps)):
        raise ValueError(f"steps={steps}: give ascending numbers of inner steps, each once.")

    def one(sx: Tensor, sy: Tensor, qx: Tensor) -> Tensor:
        now, done, found = weights, 0, []
        for step in steps:
            now, done = adapt(model, now, sx, sy, steps=step - done, rate=rate, part=part), step
            found.append(functional_call(model, now, qx))
        return torch.stack(found)

    with torch.no_grad():
        found = vmap(one, out_dims=1)(batch.support_x, batch.support_y, batch.query_x)
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"Outputs after {steps[-1]} inner steps are not finite: lower the inner rate (now {rate:g}).")
    return found


def scores_of(outputs: Tensor, query_y: Tensor) -> np.ndarray:
    """Score of each task: accuracy in % for classes, mean squared error for values.

    Outputs (..., T, q, outputs) and what is right, (T, q) or (T, q, outputs), give float64 (..., T).
    """
    if query_y.is_floating_point():
        return ((outputs - query_y) ** 2).mean(dim=(-2, -1)).double().numpy()
    return 100 * (outputs.argmax(dim=-1) == query_y).double().mean(dim=-1).numpy()


def _check_inner(steps: int, rate: float, part: str = "all", method: str = "MAML") -> None:
    if method not in get_args(Method):
        raise ValueError(f"method={method!r}: use one of {', '.join(map(repr, get_args(Method)))}.")
    if steps < 0:
        raise ValueError(f"{steps} inner steps: 0 or more.")
    if not rate > 0:
        raise ValueError(f"inner rate {rate}: above 0.")
    if part not in get_args(Part):
        raise ValueError(f"part={part!r}: use 'all', 'head' or 'body'.")


def below(weights: Weights, prefix: str) -> Weights:
    """The weights of a part of the network, such as ``"body."``, by their names within it."""
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def body_features(model: Learner, weights: Weights, x: Tensor) -> Tensor:
    """What the body makes of inputs (n, ...): (n, D)."""
    return functional_call(model.body, below(weights, "body."), x)
