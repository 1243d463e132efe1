"""tl_helpers.models.cost: work is counted, not timed."""

import pytest
import torch

from tl_helpers.models import count_multiply_adds, load_backbone


def by_hand(backbone, size):
    """Output positions x kernel x channels of every convolution and linear layer, from hooks."""
    counts = dict.fromkeys(backbone.stage_names, 0)

    def count(name):
        def hook(layer, _, output):
            shape = layer.weight.shape
            places = output.shape[-1] * output.shape[-2] if output.ndim == 4 else 1
            counts[name] += shape.numel() * places

        return hook

    hooks = [
        layer.register_forward_hook(count(name))
        for name, stage in backbone.stages.items()
        for layer in stage.modules()
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    with torch.no_grad():
        backbone.eval()(backbone.prepare(torch.zeros((1, 1, size, size), dtype=torch.uint8)))
    for hook in hooks:
        hook.remove()
    return counts


@pytest.mark.parametrize(("name", "size"), [("digit_cnn", 28), ("efficientnet_lite0", 64), ("efficientnet_lite0", 224)])
def test_counts_are_those_of_the_layers(name, size):
    backbone = load_backbone(name, pretrained=False).train()
    found = count_multiply_adds(backbone, size)
    assert backbone.training
    assert list(found) == list(backbone.stage_names)
    assert found == by_hand(backbone, size)


def test_lite0_costs_what_its_authors_say():
    total = sum(count_multiply_adds(load_backbone("efficientnet_lite0", pretrained=False), 224).values())
    assert total == pytest.approx(407e6, rel=0.06)  # theirs counts the classifier and more


def test_an_image_has_pixels():
    with pytest.raises(ValueError, match="1 pixel"):
        count_multiply_adds(load_backbone("digit_cnn", pretrained=False), 0)
