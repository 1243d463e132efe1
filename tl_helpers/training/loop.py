"""`train`: the training loop. Storing, resuming and the ledger are around it, in `tl_helpers.training.fitting`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from tl_helpers import freezing, keys, runtime
from tl_helpers.models import Classifier
from tl_helpers.training.inputs import Batches
from tl_helpers.training.method import Method, Step
from tl_helpers.training.processes import any_says, forward_of
from tl_helpers.training.recipe import Recipe, line_at, rate_at
from tl_helpers.training.scoring import TrainingDiverged
from tl_helpers.training.watcher import Watcher, stops


class Trained(nn.Module):
    """Model and method as one module: what is checkpointed, and what several processes keep alike.

    `seconds` is how long it has been trained so far.
    """

    def __init__(self, model: Classifier, method: Method) -> None:
        super().__init__()
        self.model, self.method, self.seconds = model, method, 0.0

    def forward(self, step: Step) -> dict[str, Tensor]:
        return self.method(step)


def train(
    trained: Trained,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    numbers: runtime.RandomNumbers,
    history: list[dict[str, float]],
    *,
    watchers: Sequence[Watcher] = (),
    rate: Callable[[int, int, Recipe], float] = rate_at,
) -> Iterator[dict[str, float]]:
    """The training loop: yields each epoch's record, while the model has the weights of its end.

    `TrainingDiverged` is raised if the loss became NaN or infinite.

    Parameters
    ----------
    trained : Trained
        On the device in use.
    optimizer : torch.optim.Optimizer
        See `optimizer_of`.
    numbers : RandomNumbers
        What dropout and the like draw from.
    history : list of dict
        The records of the epochs so far; those of the new ones are appended.
    watchers : sequence of Watcher
        Hear of every step; the training ends where one says False.
    rate : callable
        From step, steps in the run, and recipe to the learning rate relative to its peak.
    """
    model, method, here = trained.model, trained.method, runtime.current()
    forward = forward_of(trained, recipe)  # the method itself, unless several processes train together
    draws = any(keys.is_readers(type(part).__module__) for part in trained.modules())  # these may draw at any time
    steps, trained.seconds = recipe.epochs * len(batches), history[-1]["seconds"] if history else 0.0
    for epoch in range(len(history), recipe.epochs):
        began, seen = time.perf_counter(), []
        depth = line_at(epoch, model.backbone.depth, recipe)
        freezing.freeze(model, depth, batch_norm=recipe.batch_norm)
        trained.train()  # frozen stages stay in eval mode: see Backbone.train
        numbers.drawn = draws  # where the book's own code draws nothing in an epoch's first step, it never does
        for step in batches.epoch(epoch, depth):
            relative = rate(step.number, steps, recipe)
            for group in optimizer.param_groups:
                group["lr"] = relative * group["peak"]

            method.facts = {}
            with numbers if step.number % len(batches) == 0 or numbers.drawn else nullcontext():
                with here.autocast():
                    losses = forward(step)  # through the model, to the method's losses
                optimizer.zero_grad()
                method.backward(step, losses)
                method.after_backward(step)
                optimizer.step()
                method.after_step(step)

            seen.append({"train_loss": sum(losses.values()).detach(), **method.facts})
            if watchers:
                loss = float(seen[-1]["train_loss"])
                trained.seconds += time.perf_counter() - began
                record = {
                    "epoch": epoch + 1, "step": step.number + 1, "steps": steps, "steps_in_epoch": len(batches),
                    "lr": relative * recipe.lr, "loss": loss, "seconds": trained.seconds,
                }  # fmt: skip
                if any_says(any([stops(watcher.after_step(model, record)) for watcher in watchers])):
                    return
                began = time.perf_counter()

        trained.seconds += time.perf_counter() - began
        names = dict.fromkeys(name for facts in seen for name in facts)
        noted = {
            name: torch.stack([torch.as_tensor(facts[name]).float().cpu() for facts in seen if name in facts])
            for name in names
        }
        if not torch.isfinite(losses := noted["train_loss"]).all():
            raise TrainingDiverged(
                f"The loss became {losses[~losses.isfinite()][0].item()} in epoch {epoch + 1}. Usual causes: a "
                f"learning rate that is too high (it was {recipe.lr:g}; try a tenth), or NaN in the data."
            )
        record = {name: values.mean().item() for name, values in noted.items()}
        record |= {"epoch": epoch + 1, "seconds": trained.seconds, "lr": relative * recipe.lr}
        if batches.validation is not None:
            with numbers if draws else nullcontext():
                scores = method.scores(model, batches.validation, batches.validation_line(depth))
            record |= {f"validation_{name}": float(value) for name, value in scores.items()}
        history.append(record)
        yield record


def optimizer_of(trained: Trained, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over the unfrozen stages, the head and the method's own parameters.

    Each group also holds the rate at the ``peak`` of the schedule.
    """
    groups = freezing.parameter_groups(
        trained.model, recipe.lr, decay=recipe.layer_decay, weight_decay=recipe.weight_decay
    )
    own = [parameter for parameter in trained.method.parameters() if parameter.requires_grad]
    if own:
        groups.append({"name": "method", "params": own, "lr": recipe.lr, "weight_decay": recipe.weight_decay})
    groups = [group | {"peak": group["lr"]} for group in groups]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=runtime.current().device.type in ("cpu", "cuda"))
