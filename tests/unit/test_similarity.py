"""tl_helpers.similarity: CKA against the kernel form of its definition, and its invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_helpers.similarity import linear_cka, stage_similarity

from .small import small_model, stripes


def by_kernels(x, y):
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with linear kernels and an explicit centring matrix."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, other = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.trace(k @ other) / math.sqrt(np.trace(k @ k) * np.trace(other @ other))


def features(seed, n=30, dim=5):
    return np.random.default_rng(seed).normal(size=(n, dim))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 40), p=st.integers(1, 8), q=st.integers(1, 8))
def test_equals_the_kernel_form(seed, n, p, q):
    x, y = features(seed, n, p), features(seed + 1, n, q)
    assert linear_cka(x, y) == pytest.approx(by_kernels(x, y), abs=1e-9)
    assert 0 <= linear_cka(x, y) <= 1 + 1e-9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_rotation_scale_and_shift_do_not_count(seed, scale, shift):
    x, y = features(seed), features(seed + 1)
    rotation = np.linalg.qr(features(seed + 2, 5, 5))[0]
    assert linear_cka(x, scale * x @ rotation + shift) == pytest.approx(1)
    assert linear_cka(scale * x @ rotation + shift, y) == pytest.approx(linear_cka(x, y))


def test_stages_of_a_changed_network():
    model, other = small_model().backbone, small_model().backbone
    with torch.no_grad():
        other.stages["conv3"][0].weight.normal_(generator=torch.Generator().manual_seed(1))
    found = stage_similarity(model, other, stripes(40))
    assert list(found) == ["conv1", "conv2", "conv3"]
    assert found["conv1"] == pytest.approx(1)
    assert found["conv2"] == pytest.approx(1)
    assert found["conv3"] < 0.999


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (features(0, 4), features(0, 5), "same samples"),
        (np.full((4, 2), np.nan), features(0, 4), "NaN"),
        (np.ones((4, 2)), features(0, 4), "same features"),
    ],
)
def test_what_cannot_be_compared(x, y, says):
    with pytest.raises(ValueError, match=says):
        linear_cka(x, y)
