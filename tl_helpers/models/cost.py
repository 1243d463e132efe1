"""What a network costs, counted instead of timed: multiply-adds, the same on every machine. Chapters 1 and 5 claim by it."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from tl_helpers.models.backbone import Backbone


def count_multiply_adds(backbone: Backbone, size: int) -> dict[str, int]:
    """Multiply-adds of the forward pass of one image of `size` pixels on a side: by stage name, in their order.

    PyTorch's counter sees convolutions and matrix products, which are nearly all of the work; batch norm and
    activations are left out. A backward pass costs about twice a forward pass, since each of these products has two
    gradients. The backbone, for images, runs in eval mode and is left as it was.
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
