"""A model fresh from its packaged weights is on the CPU; what computes with it takes it to the device in use.

No GPU is needed to see that: every machine has the device "meta", whose tensors have a shape and no content. Each of these
goes its way on it, and stops where the first number is asked for; with a part left behind, it would stop before.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import pytest
import torch

from tests.unit.small import small_model, stripes
from tl_helpers import freezing, runtime
from tl_helpers.activations import Line
from tl_helpers.adaptation import adapt_batch_norm
from tl_helpers.continual.fisher import inputs_of
from tl_helpers.models import count_multiply_adds
from tl_helpers.training import Method, Recipe, Retention, evaluate, fit, fitting, range_test

DATA = stripes(24)
RECIPE = Recipe(epochs=1, batch_size=8)
NO_CONTENT = "Cannot copy out of meta tensor|cannot be called on meta tensors"


class Here(runtime.Runtime):
    """Autocast knows no such device."""

    def autocast(self):
        return contextlib.nullcontext()


@pytest.fixture(autouse=True)
def elsewhere(own_cache, monkeypatch):
    here = Here(**vars(runtime.current()) | {"device": torch.device("meta")})
    monkeypatch.setattr(runtime, "current", functools.lru_cache(lambda: here))


def where(module: torch.nn.Module) -> set[str]:
    return {parameter.device.type for parameter in module.parameters()}


def test_a_line_takes_the_whole_backbone():
    """With only the stages below it, the next that goes through all of them would stop half way."""
    model = freezing.freeze(small_model(), 2).eval()
    Line(model.backbone, 2, DATA, keep=False)
    assert where(model.backbone) == {"meta"}
    assert all(count_multiply_adds(model.backbone, 16).values())


class Begun(Exception):
    """The run has begun."""


class First(Method):
    def before_training(self, model, train):
        self.where = where(model)
        raise Begun


def test_a_run_takes_the_model_before_anything_of_a_method_acts(monkeypatch):
    """And so also before it is known whether the run is stored."""
    monkeypatch.setattr(fitting, "run_key", lambda *_, **__: "")  # weights without content have no name
    method, model = First(), small_model()
    with pytest.raises(Begun):
        fit(model, DATA, None, RECIPE, method=method)
    assert method.where == {"meta"}


@pytest.mark.parametrize("depth", [0, 1])
def test_what_a_fisher_diagonal_is_taken_of(depth):
    model = freezing.freeze(small_model(), depth).eval()
    if depth:
        with pytest.raises((NotImplementedError, RuntimeError), match=NO_CONTENT):
            inputs_of(model, DATA)
    else:
        assert inputs_of(model, DATA).device.type == "meta"
    assert where(model) == {"meta"}


@pytest.mark.parametrize(
    "act",
    [
        lambda model: range_test(model, DATA, RECIPE, steps=10),
        lambda model: evaluate(model, DATA),
        lambda model: Retention(DATA, model.head).accuracy(model.to("meta")),
        lambda model: adapt_batch_norm(model, DATA),
    ],
    ids=["range test", "evaluate", "retention", "statistics of another domain"],
)
def test_it_goes_through_the_network_with_every_part(act: Callable):
    with pytest.raises((NotImplementedError, RuntimeError), match=NO_CONTENT):
        act(small_model())


def test_retention_leaves_the_heads_owner_alone():
    head = small_model().head
    retention = Retention(DATA, head)
    retention.head.to("meta")
    assert where(head) == {"cpu"}
