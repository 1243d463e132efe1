"""The freeze contract, for every backbone and depth, in training that really runs."""

import pytest
import torch

from tl_helpers.freezing import FreezeViolation, assert_frozen, count_trainable, freeze, parameter_groups, snapshot
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, fit

from .small import small_model, stripes


def steps(model, n=2, lr=0.1):
    """A careless training loop: every parameter that asks for a gradient, model.train(), a few steps."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    model.train()
    channels = model.backbone.preprocessing.channels
    for _ in range(n):
        loss = model(torch.randn(8, channels, 32, 32)).logsumexp(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


BACKBONES = [(name, depth) for name in ("digit_cnn", "digit_lenet") for depth in range(4)] + [
    (name, depth) for name in ("efficientnet_lite0", "timm/resnet18") for depth in (0, 1, 3, 5)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "depth"), BACKBONES)
def test_contract_holds_for_every_backbone(name, depth):
    model = Classifier(load_backbone(name, pretrained=False), 2)
    freeze(model, depth)
    before = snapshot(model)
    steps(model)
    assert_frozen(model, before)


def test_deepest_line_leaves_only_the_head():
    model = Classifier(load_backbone("efficientnet_lite0", pretrained=False), 2)
    freeze(model, model.backbone.depth)
    assert count_trainable(model) == 1280 * 2 + 2
    freeze(model, 0)
    assert count_trainable(model) == sum(p.numel() for p in model.parameters())


def test_batch_norm_stays_in_eval_mode_below_the_line_only():
    model = freeze(small_model(), 2).train()
    modes = [stage[1].training for stage in model.backbone.stages.values()]
    assert modes == [False, False, True]
    freeze(model, 1)  # gradual unfreezing: the line moves while the model is in train mode
    assert [stage[1].training for stage in model.backbone.stages.values()] == [False, True, True]
    model.eval()
    assert not any(module.training for module in model.modules())


def test_drifting_batch_norm_is_caught_with_its_cause():
    model = small_model()
    for stage in list(model.backbone.stages.values())[:2]:
        stage.requires_grad_(False)  # the field's most reported bug: this alone
    before = snapshot(model)
    before = type(before)(before.state, depth=2)
    steps(model)
    with pytest.raises(FreezeViolation, match=r"drifted .* eval mode"):
        assert_frozen(model, before)


def test_moved_parameter_is_caught():
    model = freeze(small_model(), 2)
    before = snapshot(model)
    with torch.no_grad():
        model.backbone.stages["conv1"][0].weight[0, 0, 0, 0] += 1e-6
    with pytest.raises(FreezeViolation, match="frozen tensors changed"):
        assert_frozen(model, before)


@pytest.mark.parametrize("forgotten", ["head", "conv3"])
def test_what_should_have_changed_is_caught(forgotten):
    model = freeze(small_model(), 1)
    part = model.head if forgotten == "head" else model.backbone.stages[forgotten]
    part.requires_grad_(False)
    before = snapshot(model)
    steps(model)
    with pytest.raises(FreezeViolation, match=f"Nothing in (the |stage ){forgotten}"):
        assert_frozen(model, before)


def test_snapshot_is_a_copy():
    model = small_model()
    before = snapshot(model)
    steps(model)
    assert not torch.equal(before.state["head.1.weight"], model.state_dict()["head.1.weight"])


@pytest.mark.parametrize("depth", [-1, 4, 0.5])
def test_depth_out_of_range(depth):
    model = small_model()
    with pytest.raises(ValueError, match="conv1, conv2, conv3"):
        freeze(model, depth)
    assert count_trainable(model) == sum(p.numel() for p in model.parameters())  # nothing half done


def test_groups_hold_every_trainable_parameter_once_at_its_rate():
    model = freeze(small_model(), 1)
    groups = parameter_groups(model, lr=1.0, decay=0.5, weight_decay=0.1)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates == {"conv2": 0.25, "conv3": 0.5, "head": 1.0}
    for group in groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


@pytest.mark.parametrize(("lr", "decay"), [(0, 1.0), (-1, 1.0), (1.0, 0.0), (1.0, 1.1)])
def test_rates_out_of_range(lr, decay):
    with pytest.raises(ValueError, match=r"above 0"):
        parameter_groups(small_model(), lr=lr, decay=decay)


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_contract_holds_in_fit(depth):
    model = freeze(small_model(), depth)
    before = snapshot(model)
    fit(model, stripes(32), stripes(16, seed=1, name="stripes/validation"), Recipe(epochs=2, freeze_depth=depth))
    assert_frozen(model, before)
