"""TENT: what moves, what does not, and in which order answers and steps come."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tl_helpers import adaptation
from tl_helpers.data import load_task
from tl_helpers.models import Classifier, load_backbone


@pytest.fixture(scope="module")
def model_and_samples():
    model = Classifier(load_backbone("digit_lenet", pretrained=False, seed=0), 10, seed=0).eval()
    return model, load_task("optdigits").samples("validation", 28).take(np.arange(50))


def test_only_scales_and_shifts_of_batch_norm_move(model_and_samples):
    model, samples = model_and_samples
    before = copy.deepcopy(model.state_dict())
    adapted, logits = adaptation.tent(model, samples, batch_size=10)
    assert logits.shape == (50, 10)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    norms = {name for name, part in adapted.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
    moved = {name for name, value in adapted.state_dict().items() if not torch.equal(before[name].cpu(), value.cpu())}
    assert moved == {f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")}
    assert not adapted.training


def test_an_answer_comes_before_its_step(model_and_samples):
    """So the first batch is answered as with no steps at all, and only later ones differ."""
    model, samples = model_and_samples
    still, learns = (adaptation.tent(model, samples, batch_size=10, lr=rate)[1] for rate in (0.0, 0.01))
    np.testing.assert_array_equal(still[:10], learns[:10])
    assert np.abs(still[10:] - learns[10:]).max() > 1e-3


def test_a_batch_is_normalised_by_itself(model_and_samples):
    model, samples = model_and_samples
    alone = adaptation.tent(model, samples.take(np.arange(20, 30)), batch_size=10, lr=0.0)[1]
    np.testing.assert_allclose(adaptation.tent(model, samples, batch_size=10, lr=0.0)[1][20:30], alone, atol=1e-5)


def test_steps_make_the_answers_surer(model_and_samples):
    model, samples = model_and_samples
    adapted, _ = adaptation.tent(model, samples, batch_size=50, lr=0.01)
    before, after = (adaptation.tent(each, samples, batch_size=50, lr=0.0)[1] for each in (model, adapted))
    entropies = [adaptation.entropy(torch.from_numpy(each).softmax(1)).mean() for each in (before, after)]
    assert entropies[1] < entropies[0]


def test_errors(model_and_samples):
    model, samples = model_and_samples
    with pytest.raises(ValueError, match="two samples"):
        adaptation.tent(model, samples, batch_size=1)
    with pytest.raises(ValueError, match="lr=-1"):
        adaptation.tent(model, samples, lr=-1)
    frozen = copy.deepcopy(model)
    frozen.backbone.stages = nn.ModuleDict({"flat": nn.Flatten()})
    frozen.backbone.frozen_depth = 0
    with pytest.raises(ValueError, match="no batch norm"):
        adaptation.tent(frozen, samples)
