"""The eight exact views of a square image: flips and quarter turns, which move pixels without changing one.

A solar cell has no top, so each view is as good a picture of it as the original. Being a fixed set, views can be cached.
"""

from __future__ import annotations

import torch

VIEWS = 8


def view(images: torch.Tensor, number: int) -> torch.Tensor:
    """View `number` of images (N, C, H, W): 0 is the image itself, 1 to 3 its quarter turns, 4 to 7 those mirrored.

    A ValueError for another number, or images that are not square where a quarter turn needs it.
    """
    if not 0 <= number < VIEWS:
        raise ValueError(f"view {number}: there are {VIEWS}, numbered 0 to {VIEWS - 1}.")
    if number % 2 and images.shape[-1] != images.shape[-2]:
        raise ValueError(
            f"A quarter turn needs square images; these are {images.shape[-2]} x {images.shape[-1]}. "
            "Resize them: task.samples(split, size=96)."
        )
    turned = torch.rot90(images, number % 4, (2, 3))
    return turned.flip(3) if number >= 4 else turned


def views_of(images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """One view of each image: images (N, C, H, W) and numbers from 0 to 7, int64 (N,), to (N, C, H, W)."""
    turned = images.clone()
    for number in numbers.unique().tolist():
        if number:
            chosen = numbers == number
            turned[chosen] = view(images[chosen], number)
    return turned
