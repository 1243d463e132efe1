"""What a network costs, counted instead of timed: multiply-adds, the same on every machine. Chapters 1 and 5 claim by it."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from tl_helpers.models.backbone import Backbone


def count_multiply_adds(backbone: Backbone, size: int) -> dict[str, int]:
    """Multiply-adds of the forward pass of one image, stage by stage.

    PyTorch's counter sees convolutions and matrix products, which are nearly all of the work; batch norm and activations
    are left out. A backward pass costs about twice a forward pass, since each of these products has two gradients.

    Parameters
    ----------
    backbone : Backbone
        For images; runs in eval mode and is left as it was.
    size : int
        Pixels on a side.

    Returns
    -------
    dict of str to int
        Stage name to multiply-adds, in the order of the stages.

    Raises
    ------
    ValueError
        For a size below 1.
    """
    if size < 1:
        raise ValueError(f"size={size}: an image has 1 pixel or more on a side.")
    was_training, found = backbone.training, {}
    backbone.eval()
    device = next(backbone.parameters()).device
    try:
        with torch.inference_mode():
            x = backbone.prepare(torch.zeros((1, 1, size, size), dtype=torch.uint8, device=device))
            for name, stage in backbone.stages.items():
                with FlopCounterMode(display=False) as counter:
                    x = stage(x)
                found[name] = counter.get_total_flops() // 2
    finally:
        backbone.train(was_training)
    return found
