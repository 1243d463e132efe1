"""Progressive networks: earlier columns never change, new ones look at them, and the parameters are counted."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.small import stripes
from tl_helpers import freezing
from tl_helpers.continual import Experience, Progressive, Stream, run_stream
from tl_helpers.continual.strategies.progressive import Adapter, progressive_backbone
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, fit

WIDTH, LATERAL, PIXELS = 12, 5, 784
RECIPE = Recipe(epochs=2, lr=3e-3, batch_size=16, weight_decay=0.01, schedule="constant", warmup=0.0)


def stream_of(count=3, scenario="task"):
    """Two kinds of stripes, one of them dark at the top, `count` times; under other numbers each time."""
    names = tuple("abcdef"[: 2 * count]) if scenario != "domain" else ("a", "b")
    experiences = []
    for number in range(count):
        first = 0 if scenario == "domain" else 2 * number
        parts = {}
        for place, split in enumerate(("train", "validation", "test")):
            samples = stripes(32, seed=3 * number + place, name=f"{number}/{split}")
            samples.inputs[samples.labels == 1, :, :9] //= 2  # easy enough for two epochs
            parts[split] = dataclasses.replace(
                samples,
                labels=samples.labels + first,
                classes=names,
                extra={"experience": np.full(32, number)},
            )
        experiences.append(Experience(str(number), **parts, classes=(first, first + 1)))
    return Stream("stripes", scenario, names, tuple(experiences))


def make(seed):
    return Classifier(load_backbone("digit_mlp", pretrained=False, seed=seed), 6, seed=seed)


def learned(stream, seed=0, upto=None):
    """The strategy and its models after the first `upto` experiences."""
    strategy, model = Progressive(WIDTH, lateral=LATERAL), make(seed)
    strategy.before_stream(stream, make, seed)
    for now in range(len(stream) if upto is None else upto):
        strategy.now = now
        model = strategy.before_experience(model)
        strategy.learn(model, RECIPE, fresh=True)
        strategy.after_experience(model)
    return strategy


def columns_of(strategy, upto=None):
    return [tuple(list(m.backbone.stages.values())[1:]) for m in strategy.learned[:upto]]


def backbone(columns, seed=0):
    return progressive_backbone(columns, make(0).backbone.preprocessing, width=WIDTH, lateral=LATERAL, seed=seed)


# ---- columns ---------------------------------------------------------------------------------------------------------


def test_a_column_by_the_papers_formula():
    """Rusu et al. 2016, equation 2, layer by layer and column by column."""
    strategy = learned(stream_of())
    x = make(0).backbone.prepare(stream_of()[0].test.inputs).flatten(1)

    def linear(layer, h):
        return h @ layer.weight.T + (0 if layer.bias is None else layer.bias)

    def sideways(adapter, earlier):
        return (linear(adapter.down, adapter.scale * torch.cat(earlier, dim=1))).clamp_min(0)

    firsts, seconds = [], []
    for number, model in enumerate(strategy.learned):
        hidden1, hidden2 = columns_of(strategy)[number]
        h1 = linear(hidden1.own, x).clamp_min(0)
        into = linear(hidden2.own, h1)
        if number:
            into = into + linear(hidden2.into, sideways(hidden2.from_first, firsts))
        h2 = into.clamp_min(0)
        embedded = torch.cat([h2, sideways(hidden2.from_second, seconds)], dim=1) if number else h2
        want = linear(model.head[-1], embedded)
        found = strategy.logits(model, stream_of()[0].test, number)
        np.testing.assert_allclose(found, want.detach().numpy(), atol=1e-5)
        firsts.append(h1)
        seconds.append(h2)


def test_without_sideways_connections_columns_are_independent_networks():
    strategy = learned(stream_of())
    model = copy.deepcopy(strategy.learned[2])
    hidden1, hidden2 = list(model.backbone.stages.values())[1:]
    with torch.no_grad():
        hidden2.into.weight.zero_()
        hidden2.from_second.down.weight.zero_()
        hidden2.from_second.down.bias.zero_()
    alone = nn.Sequential(nn.Flatten(), hidden1.own, nn.ReLU(), hidden2.own, nn.ReLU())
    x = model.backbone.prepare(stream_of()[0].test.inputs)
    with torch.no_grad():
        want = alone(x) @ model.head[-1].weight[:, :WIDTH].T + model.head[-1].bias
        torch.testing.assert_close(model.eval()(x), want, atol=1e-5, rtol=0)
        other = strategy.learned[2].eval()(x)
    assert not torch.allclose(other, want, atol=1e-3)  # with them it does look sideways


def test_gradients_reach_every_part_of_the_new_column_and_nothing_else():
    strategy = learned(stream_of(), upto=2)
    model = Classifier(backbone(columns_of(strategy), seed=9), 6, seed=9)
    freezing.freeze(model, 1)
    for parameter in model.parameters():
        parameter.grad = None  # those of earlier columns are left from their own training
    x = model.backbone.prepare(stream_of()[2].train.inputs)
    nn.functional.cross_entropy(model(x), stream_of()[2].train.labels).backward()
    for name, parameter in model.named_parameters():
        if "earlier" in name:
            assert parameter.grad is None, name
        else:
            assert parameter.grad.abs().sum() > 0, name
    assert sum("scale" in name for name, p in model.named_parameters() if p.requires_grad) == 2


def test_an_adapter_starts_with_a_small_scalar_that_is_learned():
    adapter = Adapter(7, 3)
    assert 0 < adapter.scale.item() < 1
    assert adapter.scale.requires_grad
    assert adapter(torch.randn(4, 7)).shape == (4, 3)
    assert (adapter(torch.randn(4, 7)) >= 0).all()


def test_the_seed_settles_the_new_weights_whatever_the_global_generator_does():
    columns = [tuple(list(backbone([], seed=1).stages.values())[1:])]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = backbone(columns, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = backbone(columns, seed=3), backbone(columns, seed=4)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    changed = [n for n, t in one.state_dict().items() if not torch.equal(t, other.state_dict()[n])]
    assert {name for name in one.state_dict() if "earlier" not in name and "scale" not in name} == set(changed)


# ---- nothing old is changed -----------------------------------------------------------------------------------------


def test_earlier_columns_are_bit_identical_after_later_experiences():
    stream = stream_of()
    strategy, model, before = Progressive(WIDTH, lateral=LATERAL), make(0), []
    strategy.before_stream(stream, make, 0)
    for now in range(3):
        strategy.now = now
        model = strategy.before_experience(model)
        strategy.learn(model, RECIPE, fresh=True)
        strategy.after_experience(model)
        kept = copy.deepcopy(model.state_dict())
        answers = [strategy.logits(model, stream[on].test, on) for on in range(now + 1)]
        for earlier, (state, logits) in enumerate(before):
            own = strategy.learned[earlier].state_dict()
            assert own.keys() == state.keys()
            assert all(torch.equal(own[name], state[name]) for name in state)
            np.testing.assert_array_equal(answers[earlier], logits)
        before.append((kept, answers[now]))


def test_the_books_freeze_contract_holds_for_a_new_column():
    stream = stream_of()
    strategy = learned(stream, upto=1)
    model = Classifier(backbone(columns_of(strategy), seed=2), 6, seed=2)
    before = copy.deepcopy(model.state_dict())
    strategy.now = 1
    fit(model, stream[1].train, None, strategy.recipe(RECIPE), seed=0, method=strategy, fresh=True)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert not [name for name in changed if "earlier" in name]
    assert {name for name in before if "earlier" not in name} == changed


@pytest.mark.slow
def test_a_stream_without_forgetting_and_the_same_seed_gives_the_same():
    stream = stream_of()
    recipe = dataclasses.replace(RECIPE, epochs=25)  # long enough to learn something
    one, again = (
        run_stream(stream, Progressive(WIDTH, lateral=LATERAL), make, recipe, seed=1, fresh=True) for _ in range(2)
    )
    assert one.forgetting == 0
    assert one.backward_transfer == 0
    for column in range(3):
        assert len(set(one.matrix[column:, column])) == 1
    assert one.average_accuracy > 70
    np.testing.assert_array_equal(one.matrix, again.matrix)


# ---- counting, and refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_columns_adapters_and_heads_are_counted_once(count):
    strategy = learned(stream_of(3), upto=count)
    want = 0
    for earlier in range(count):
        want += PIXELS * WIDTH + WIDTH + WIDTH * WIDTH + WIDTH  # the column
        want += (WIDTH + (LATERAL if earlier else 0)) * 6 + 6  # its head
        if earlier:
            want += 2 * (1 + earlier * WIDTH * LATERAL + LATERAL) + LATERAL * WIDTH  # sideways, wider each time
    assert strategy.parameters_used(strategy.learned[-1]) == want
    assert strategy.memory() == 0


@pytest.mark.parametrize("scenario", ["domain", "class"])
def test_only_where_the_task_is_told(scenario):
    with pytest.raises(ValueError, match="told which"):
        run_stream(stream_of(scenario=scenario), Progressive(WIDTH), make, RECIPE, fresh=True)


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (-1, 5)])
def test_sizes_that_cannot_be(sizes):
    with pytest.raises(ValueError, match="1 or more"):
        Progressive(sizes[0], lateral=sizes[1])
