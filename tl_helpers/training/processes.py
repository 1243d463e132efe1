"""Several processes that train together, each on its share of the batches: ``accelerate launch notebook.py``."""

from __future__ import annotations

import accelerate
import torch
from torch import nn

from tl_helpers import runtime
from tl_helpers.training.recipe import Recipe


def processes() -> accelerate.PartialState:
    """Which process of how many this is; without `cpu`, accelerate takes a GPU wherever it sees one."""
    return accelerate.PartialState(cpu=runtime.current().device.type == "cpu")


def any_says(wish: bool) -> bool:
    """Whether this process or any other one wishes so: they go on, or stop, together."""
    if processes().num_processes == 1:
        return wish
    return bool(accelerate.utils.reduce(torch.tensor(float(wish), device=runtime.current().device), "sum") > 0)


def of_each(thing: object) -> list:
    """What every process has here, by its rank."""
    return [thing] if processes().num_processes == 1 else accelerate.utils.gather_object([thing])


def forward_of(trained: nn.Module, recipe: Recipe) -> nn.Module:
    """What a step goes through: the method; with several processes, model and method in one that averages gradients."""
    if processes().num_processes == 1:
        return trained.method
    unused = accelerate.DistributedDataParallelKwargs(find_unused_parameters=recipe.unfreeze != "at_once")
    cpu = runtime.current().device.type == "cpu"
    return accelerate.Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[unused]).prepare_model(trained)
