"""Corrupted copies of a split: what a camera, a lamp or a lens may do later. Chapter 1 tests models on them.

After Hendrycks and Dietterich (2019), "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations":
blur, noise and brightness, each in five severities, with strengths relative to the image size.
"""

from __future__ import annotations

import dataclasses

import torch
import torchvision.transforms.v2.functional as tvf

from tl_helpers.data.task import Samples

STRENGTHS = {
    "blur": (0.004, 0.008, 0.012, 0.018, 0.025),
    "noise": (0.04, 0.06, 0.08, 0.12, 0.18),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
}
"""By severity: deviation of the blur as a share of the image's height; the others of the range from black to white."""

CORRUPTIONS = tuple(STRENGTHS)


def corrupt(samples: Samples, kind: str, severity: int, seed: int = 0) -> Samples:
    """A corrupted copy of the samples; labels stay.

    By ``blur``, ``noise`` (drawn with `seed`) or ``brightness``, with a severity of 0 (unchanged) to 5. A ValueError
    for others.
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"Unknown corruption {kind!r}: use {', '.join(CORRUPTIONS)}.")
    if severity not in range(6):
        raise ValueError(f"severity={severity}: use 0 (none) to 5 (strong).")
    if severity == 0:
        return samples
    pixels = samples.inputs.float() / 255
    strength = STRENGTHS[kind][severity - 1]
    if kind == "blur":
        sigma = strength * samples.inputs.shape[-2]
        width = 2 * max(1, round(3 * sigma)) + 1
        pixels = tvf.gaussian_blur(pixels, [width, width], [sigma, sigma])
    elif kind == "noise":
        generator = torch.Generator().manual_seed(seed)
        pixels = pixels + strength * torch.randn(pixels.shape, generator=generator)
    else:
        pixels = pixels + strength
    return dataclasses.replace(
        samples,
        name=f"{samples.name} + {kind} {severity}",
        inputs=(pixels.clamp(0, 1) * 255).round().to(torch.uint8),
    )
