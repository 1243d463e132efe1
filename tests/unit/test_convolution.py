"""Depthwise convolutions with a gradient of their own give what PyTorch's give."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import nn

from tl_helpers.models import Classifier, convolution, load_backbone


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    maps=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_gradients_are_those_of_the_library(kernel, maps, stride, padding):
    generator = torch.Generator().manual_seed(0)
    maps = tuple(max(size, width - 2 * around) for size, width, around in zip(maps, kernel, padding, strict=True))
    x, weight = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 3, *maps), (3, 1, *kernel))
    )
    want = nn.functional.conv2d(x, weight, None, stride, padding, groups=3)
    got = convolution._Depthwise.apply(x, weight, stride, padding)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    upstream = torch.randn(want.shape, generator=generator, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad(got, (x, weight), upstream), torch.autograd.grad(want, (x, weight), upstream), strict=True
    ):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_gradients_of_gradients():
    x, weight = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 2, 2, 3), (2, 1, 5, 5)))
    assert torch.autograd.gradgradcheck(lambda x, w: convolution.depthwise(x, w, (1, 1), (2, 2)), (x, weight))


def test_gradients_for_each_sample():
    """As `torch.func` takes them, over the batch at once."""
    x, weight = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.randn(2, 1, 5, 5, dtype=torch.float64)

    def loss(weight, sample, convolve):
        return convolve(sample[None], weight).square().sum()

    def each(convolve):
        return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, None))(weight, x, convolve)

    ours = each(lambda x, w: convolution._Depthwise.apply(x, w, (1, 1), (2, 2)))
    theirs = each(lambda x, w: nn.functional.conv2d(x, w, None, 1, 2, groups=2))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("size", [33, 64])
def test_a_whole_network_trains_as_timms_does(size):
    """Every parameter's gradient, in float64; and the parameters are called what timm calls them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=2).double()
        x = torch.randn(2, 3, size, size, dtype=torch.float64)
    ours = convolution.quicken(copy.deepcopy(theirs))
    found = []
    for network in (ours, theirs):
        network(x).square().sum().backward()
        found.append({name: parameter.grad for name, parameter in network.named_parameters()})
    assert list(found[0]) == list(found[1])
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-6, atol=1e-6 * float(gradient.abs().max()))


def test_which_convolutions_are_changed():
    backbone = load_backbone(pretrained=False)
    kinds = {type(module) for module in backbone.modules() if isinstance(module, nn.Conv2d) and module.groups > 1}
    assert kinds == {convolution.DepthwiseConv2d, convolution.DepthwiseConv2dSame}
    others = nn.ModuleList(
        [
            nn.Conv2d(4, 4, 3, groups=2, bias=False),
            nn.Conv2d(4, 8, 3, groups=4, bias=False),
            nn.Conv2d(4, 4, 3, groups=4, bias=True),
            nn.Conv2d(4, 4, 3, groups=4, bias=False, dilation=2),
            nn.Conv2d(4, 4, 3, groups=4, bias=False, padding_mode="circular"),
            nn.Conv2d(4, 4, 3, groups=4, bias=False, padding="same"),
            nn.Conv2d(1, 1, 3, bias=False),
            type("Own", (nn.Conv2d,), {})(4, 4, 3, groups=4, bias=False),
        ]
    )
    kinds = [type(module) for module in others]
    assert [type(module) for module in convolution.quicken(others)] == kinds


def quick(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return "Depthwise" in type(convolution.depthwise(x, weight, (1, 1), (2, 2)).grad_fn).__name__


def test_where_it_is_used():
    """For small maps on a CPU in the precision of the weights, where these are trained; the library does the rest."""
    x, weight = torch.randn(2, 3, 4, 4), torch.randn(3, 1, 5, 5, requires_grad=True)
    assert quick(x, weight)
    assert quick(x.double(), weight.double())
    assert not quick(torch.randn(2, 3, 12, 12), weight)
    assert not quick(x.requires_grad_(), weight.detach())
    with torch.no_grad():
        assert not quick(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not quick(x, weight)


def test_trains_in_bfloat16_and_where_only_the_input_needs_a_gradient():
    model = Classifier(load_backbone(pretrained=False), 2)
    x = torch.randn(3, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(x).square().sum()
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    model.requires_grad_(False)
    model(x.requires_grad_()).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("same", [False, True])
def test_bad_shapes_are_the_librarys_errors(same):
    kind = Conv2dSame if same else nn.Conv2d
    module = convolution.quicken(nn.Sequential(kind(4, 4, 5, groups=4, bias=False)))
    with pytest.raises(RuntimeError, match=r"channels|size"):
        module(torch.randn(2, 3, 4, 4))
