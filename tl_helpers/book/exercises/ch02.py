"""Checks of chapter 2: a split that leaks no group, and grey pictures as the backbone expects them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tl_helpers.book.exercises.checking import Hint, exercise, leaves_global_generator, same_every_time

_NAMES = ("train", "validation", "test")


@exercise("split-without-leakage")
def split_without_leakage(split_groups: Callable) -> None:
    """Three index arrays over the rows; no row and no group in two of them."""
    rng = np.random.default_rng(5)
    groups = rng.permutation(np.repeat(100 + np.arange(60), rng.integers(3, 9, size=60)))
    first, second = same_every_time(lambda: _three_parts(split_groups(groups.copy(), 3)))
    rows = np.concatenate(first)
    if not np.issubdtype(rows.dtype, np.integer) or rows.min() < 0 or rows.max() >= len(groups):
        raise Hint(
            "Return row numbers, 0 to len(groups) - 1, as integers: with them the reader of your split picks the rows."
        )
    for i, j in ((0, 1), (0, 2), (1, 2)):
        shared = np.intersect1d(first[i], first[j])
        if len(shared):
            raise Hint(
                f"{len(shared)} times the same row is in {_NAMES[i]} and in {_NAMES[j]}. Slices from the front and "
                "from the back must meet, not overlap: [:k] goes with [k:]."
            )
    if len(rows) != len(groups) or len(np.unique(rows)) != len(groups):
        raise Hint(
            f"The three parts hold {len(np.unique(rows))} of {len(groups)} rows (are these row numbers, not group "
            "numbers?). Every row belongs to exactly one part."
        )
    for i, j in ((0, 1), (0, 2), (1, 2)):
        shared = np.intersect1d(groups[first[i]], groups[first[j]])
        if len(shared):
            raise Hint(
                f"{len(shared)} groups have rows in {_NAMES[i]} and in {_NAMES[j]}: that leaks, as rows of one group "
                "are alike. Shuffle and cut the list of groups, then collect the rows of each part's groups."
            )
    if not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        raise Hint("Two calls with the same seed gave different splits. Draw from np.random.default_rng(seed).")
    if not leaves_global_generator(lambda: split_groups(groups.copy(), 3)):
        raise Hint("Your function moves NumPy's global generator. Use an own one: np.random.default_rng(seed).")
    shares = np.array([len(part) for part in first]) / len(groups)
    if np.abs(shares - (0.6, 0.2, 0.2)).max() > 0.1:
        raise Hint(f"About 60, 20 and 20 % of the rows were asked for; you have {np.round(100 * shares).astype(int)}.")
    if np.array_equal(np.sort(first[0]), np.sort(_three_parts(split_groups(groups.copy(), 4))[0])):
        raise Hint("Another seed gave the same split: the seed is not used.")


def _three_parts(parts: tuple) -> list[np.ndarray]:
    if not isinstance(parts, (tuple, list)) or len(parts) != 3:
        raise Hint("Return three arrays: train, validation, test.")
    arrays = [np.asarray(p).ravel() for p in parts]
    for name, part in zip(_NAMES, arrays, strict=True):
        if len(part) == 0:
            raise Hint(f"The {name} part is empty.")
    return arrays


_RESIZE = "torch.nn.functional.interpolate(x, size=(size, size), mode='bilinear', antialias=True)"


@exercise("grey-to-backbone")
def grey_to_backbone(to_backbone: Callable) -> None:
    """(N, 1, H, W) uint8 -> (N, 3, size, size) float32 with mean 0.5 and std 0.5 taken out."""
    ramp = _ramps(8)
    got = to_backbone(ramp.clone(), 8)
    if not isinstance(got, torch.Tensor) or got.ndim != 4:
        raise Hint(f"Expected a tensor of shape (N, 3, size, size), got {_kind(got)}.")
    _check_shape(tuple(got.shape), (2, 3, 8, 8))
    if got.dtype != torch.float32:
        raise Hint(f"Expected float32, the type of the backbone's weights, got {got.dtype}.")
    _check_range(float(got.min()), float(got.max()))
    expected = (ramp.float() / 255 - 0.5) / 0.5
    if torch.allclose(got[:, :1].transpose(2, 3), expected, atol=0.02):
        raise Hint("The picture is turned: rows and columns changed places. Keep the order N, C, H, W throughout.")
    if not torch.allclose(got, expected.expand(2, 3, 8, 8), atol=0.02):
        raise Hint("The values are not (grey / 255 - 0.5) / 0.5, the same in all three channels.")
    dim = (ramp // 4) + 60
    if not torch.allclose(to_backbone(dim.clone(), 8), ((dim.float() / 255 - 0.5) / 0.5).expand(2, 3, 8, 8), atol=0.02):
        raise Hint(
            "A dim picture comes out with other values than (grey / 255 - 0.5) / 0.5. These numbers hold for every picture, "
            "whatever it or its batch happens to contain."
        )
    resized = to_backbone(torch.full((3, 1, 10, 10), 255, dtype=torch.uint8), 16)
    _check_shape(tuple(resized.shape), (3, 3, 16, 16))
    if not torch.allclose(resized, torch.ones_like(resized), atol=1e-3):
        raise Hint("After resizing, a white picture should be 1 everywhere: is there padding instead of resizing?")
    _check_resized(to_backbone)


def _ramps(size: int) -> torch.Tensor:
    """Black (top) to white (bottom), and white (left) to black: range, order of the steps and orientation all show."""
    steps = torch.linspace(0, 255, size).round().to(torch.uint8)
    return torch.stack([steps[:, None].expand(size, size), steps.flip(0).expand(size, size)])[:, None].contiguous()


def _check_resized(to_backbone: Callable) -> None:
    """The whole picture at another size; any way of interpolating will do, as the ramps are smooth."""
    ramp = _ramps(32)
    same = (ramp.float() / 255 - 0.5) / 0.5
    for size in (48, 16):
        got = to_backbone(ramp.clone(), size)
        _check_shape(tuple(got.shape), (2, 3, size, size))
        wanted = torch.nn.functional.interpolate(same, (size, size), mode="bilinear", antialias=True)
        if torch.allclose(got, wanted.expand(2, 3, size, size), atol=0.12):
            continue
        if size > 32 and torch.allclose(got[:, :1, :32, :32], same, atol=0.02):
            raise Hint(
                "The picture is repeated or continued at its old size (tiled): enlarge it with interpolate instead."
            )
        if size < 32 and float(got.max() - got.min()) < 1.7:
            raise Hint(
                "A smaller size cuts a piece out of the picture: shrink the whole picture instead (interpolate)."
            )
        raise Hint(
            f"At {size} x {size} pixels a smooth picture of 32 x 32 is no longer the same: resize with interpolate."
        )
    wide = to_backbone(torch.full((1, 1, 12, 20), 255, dtype=torch.uint8), 16)
    if tuple(wide.shape) != (1, 3, 16, 16):
        raise Hint(
            f"Pictures of 12 x 20 pixels become {tuple(wide.shape[2:])}, not (16, 16): give both sides, (size, size)."
        )


def _kind(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    n, _, size, _ = wanted
    if shape == wanted:
        return
    if shape == (n, 1, size, size):
        raise Hint("The backbone's first convolution wants three channels: repeat the grey channel.")
    if shape == (n, size, size, 3):
        raise Hint("That is channels last, as pictures on disk are; PyTorch wants (N, C, H, W).")
    raise Hint(f"Expected shape {wanted}, got {shape}.")


def _check_range(low: float, high: float) -> None:
    if high > 100:
        raise Hint(f"Values reach {high:.0f}: divide by 255 first, the backbone was trained on numbers from -1 to 1.")
    if abs(low) < 0.02 and abs(high - 1) < 0.02:
        raise Hint("Values run from 0 to 1: still to be normalised with mean 0.5 and standard deviation 0.5.")
    if abs(low) < 0.02 and abs(high - 2) < 0.02:
        raise Hint("Right steps in the wrong order: scale to 0..1 first, then subtract 0.5 and divide by 0.5.")
    if abs(low + 1) > 0.02 or abs(high - 1) > 0.02:
        raise Hint(f"Black should become -1 and white 1; yours become {low:.2f} and {high:.2f}.")
