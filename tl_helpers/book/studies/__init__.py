"""The recorded studies: what `make results` runs, one function for each, called with the parameters of one cell.

A live control and the test that runs a sampled cell again call the same functions, so what is recorded and what a reader
computes are the same thing. Chapters read the results with `tl_helpers.book.results.load`; `catalogue` lists all studies.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from tl_helpers import runtime
from tl_helpers.models import Backbone
from tl_helpers.models.backbone import pool_maps


def with_adapter(backbone: Backbone, dim: int = 128, *, after: str | None = None, seed: int = 0) -> Backbone:
    """The backbone with two more stages: ``pool``, and an ``adapter`` of batch norm and a small dense layer.

    Freeze all below the adapter, and a training run costs next to nothing, yet has features of its own to move.

    Parameters
    ----------
    backbone : Backbone
        Its stages are shared, not copied.
    dim : int
        Width of the new embedding.
    after : str, optional
        The stage that the adapter sits on; those above it are left out. The last one by default; a ValueError for no
        stage.
    seed : int
        Of the new weights, independent of the global random state.
    """
    names = backbone.stage_names
    if after is not None and after not in names:
        raise ValueError(f"{backbone.name} has no stage {after!r}: {', '.join(names)}.")
    kept = names[: names.index(after) + 1] if after else names
    stages = {name: backbone.stages[name] for name in kept}
    width = backbone.dim if len(kept) == len(names) else width_after(backbone, stages)
    with runtime.RandomNumbers(seed):
        adapter = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Linear(width, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
        )
    return type(backbone)(
        name=f"{backbone.name}{f'/{after}' if after else ''}+adapter",
        stages={**stages, "pool": Pool(), "adapter": adapter},
        dim=dim,
        preprocessing=backbone.preprocessing,
        licence=backbone.licence,
        source=backbone.source,
    )


def width_after(backbone: Backbone, stages: Mapping[str, nn.Module]) -> int:
    """Channels after the last of these stages, found by sending one blank image through them."""
    network = nn.Sequential(*stages.values())
    was_training = network.training
    parameter = next(network.parameters())
    blank = torch.zeros(1, backbone.preprocessing.channels, 64, 64, device=parameter.device)
    with torch.no_grad():
        channels = pool_maps(network.eval()(blank)).shape[1]
    network.train(was_training)
    return channels


class Pool(nn.Module):
    """`pool_maps` as a layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return pool_maps(x)
