"""Depthwise convolutions whose weights' gradient is quick on a CPU.

PyTorch's own is slow for a 5 x 5 kernel on a small map, and for a map smaller than the kernel: it then works as if a channel
were sixteen. At 64 pixels that takes up to half of a training step of EfficientNet-Lite0.
"""

from __future__ import annotations

import torch
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

Pair = tuple[int, int]


def quicken(network: nn.Module) -> nn.Module:
    """Give a network's depthwise convolutions that gradient, in place; returns the network."""
    for module in network.modules():
        if type(module) in QUICK and 1 < module.groups == module.in_channels == module.out_channels:
            plain = module.bias is None and module.dilation == (1, 1) and module.padding_mode == "zeros"
            if plain and not isinstance(module.padding, str):
                module.__class__ = QUICK[type(module)]
    return network


class DepthwiseConv2d(nn.Conv2d):
    """As `torch.nn.Conv2d` with one filter a channel and neither bias nor dilation: (N, C, H, W) to (N, C, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        return depthwise(x, self.weight, self.stride, self.padding)


class DepthwiseConv2dSame(Conv2dSame):
    """As `timm.layers.Conv2dSame` with one filter a channel: what TensorFlow calls "same" padding."""

    def forward(self, x: Tensor) -> Tensor:
        return depthwise(pad_same(x, self.kernel_size, self.stride), self.weight, self.stride, (0, 0))


QUICK = {nn.Conv2d: DepthwiseConv2d, Conv2dSame: DepthwiseConv2dSame}


def depthwise(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Depthwise convolution of maps (N, C, H, W) with filters (C, 1, h, w) to (N, C, H', W').

    The gradient in the filters is by `weight_gradient` where that is quicker: on a CPU, for maps up to 8 x 8 and kernels
    that are 5 wide or wider than the map.
    """
    kernel, maps = weight.shape[2:], x.shape[2:]
    after = [(maps[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]
    quicker = max(kernel) > min(4, *maps) and after[0] * after[1] <= 64
    here = x.device.type == "cpu" and x.dtype == weight.dtype and not torch.is_autocast_enabled("cpu")
    if quicker and here and torch.is_grad_enabled() and weight.requires_grad:
        return _Depthwise.apply(x, weight, tuple(stride), tuple(padding))
    return nn.functional.conv2d(x, weight, None, stride, padding, groups=len(weight))


class _Depthwise(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        return nn.functional.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        x, weight, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            fixed = (None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight), (True, False, False))
            to_x = torch.ops.aten.convolution_backward(gradient, x, weight, *fixed)[0]
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(x, gradient, tuple(weight.shape[2:]), ctx.stride, ctx.padding)
        return to_x, to_weight, None, None


def weight_gradient(x: Tensor, gradient: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """A depthwise convolution's gradient in its filters, (C, 1, h, w), from its input and the gradient in its output.

    For each place in the filter: the products of the gradient with what that place has seen, summed up.
    """
    x, gradient = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    (height, width), (h, w) = kernel, stride
    found = x.new_zeros((height, width, x.shape[3]))
    for row in range(height):
        from_rows, to_rows = _seen(row - padding[0], h, x.shape[1], gradient.shape[1])
        for column in range(width):
            from_columns, to_columns = _seen(column - padding[1], w, x.shape[2], gradient.shape[2])
            seen = x[:, from_rows, from_columns]
            if seen.numel():
                found[row, column] = (seen * gradient[:, to_rows, to_columns]).sum(dim=(0, 1, 2))
    return found.permute(2, 0, 1).unsqueeze(1)


def _seen(shift: int, stride: int, inputs: int, outputs: int) -> tuple[slice, slice]:
    """Along one axis: which inputs a place of the filter, shifted from the first one, meets, and at which outputs."""
    first = max(0, -(shift // stride))
    last = max(first, min(outputs, (inputs - 1 - shift) // stride + 1))
    start, end = first * stride + shift, last * stride + shift
    return slice(start, max(start, end - stride + 1), stride), slice(first, last)
