"""tl_helpers.data.splits: no leakage, stratified, nested."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_helpers.data import nested_subset, split_rows

seeds = st.integers(0, 2**31)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(8, 60), min_size=2, max_size=5), seed=seeds)
def test_split_is_a_stratified_partition(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = split_rows(labels, seed=seed)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(labels)))
    for label, size in enumerate(sizes):
        for name, share in {"train": 0.6, "validation": 0.15, "test": 0.25}.items():
            got = (labels[rows[name]] == label).sum()
            assert abs(got - share * size) <= 2
            assert got >= 1


@settings(max_examples=60, deadline=None)
@given(groups=st.lists(st.integers(0, 30), min_size=60, max_size=200), seed=seeds)
def test_groups_stay_together(groups, seed):
    groups = np.array(groups)
    labels = (groups >= 15).astype(int)
    if min(len(np.unique(groups[labels == label])) for label in (0, 1)) < 3:
        with pytest.raises(ValueError, match="at least 3"):
            split_rows(labels, groups, seed=seed)
        return
    rows = split_rows(labels, groups, seed=seed)
    parts = [set(groups[index]) for index in rows.values()]
    assert all(parts)
    assert len(parts[0] | parts[1] | parts[2]) == sum(len(part) for part in parts)


def test_split_repeats_with_its_seed_only():
    labels = np.arange(200) % 2
    assert np.array_equal(split_rows(labels, seed=1)["test"], split_rows(labels, seed=1)["test"])
    assert not np.array_equal(split_rows(labels, seed=1)["test"], split_rows(labels, seed=2)["test"])


@pytest.mark.parametrize(
    ("labels", "options", "says"),
    [
        ([], {}, "non-empty"),
        ([0, 1] * 9, {"groups": [1, 2]}, "one group for each row"),
        ([0] * 20 + [1, 1], {}, "only 2 row"),
    ],
)
def test_bad_input_is_explained(labels, options, says):
    with pytest.raises(ValueError, match=says):
        split_rows(labels, **options)


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4), data=st.data(), seed=seeds)
def test_subsets_are_nested_and_stratified(sizes, data, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    large = data.draw(st.integers(len(sizes), len(labels)))
    small = data.draw(st.integers(len(sizes), large))
    few, many = nested_subset(labels, small, seed), nested_subset(labels, large, seed)
    assert np.array_equal(many[:small], few)
    assert len(set(many.tolist())) == large
    for label, size in enumerate(sizes):
        got = (labels[many] == label).sum()
        assert got >= 1
        assert abs(got - large * size / len(labels)) <= len(sizes) + 1


@pytest.mark.parametrize("n", [0, 1, 11])
def test_subset_size_out_of_range(n):
    with pytest.raises(ValueError, match=r"2 \(one for each class\) to 10"):
        nested_subset(np.arange(10) % 2, n)


def test_subset_ignores_global_random_state():
    labels = np.arange(50) % 2
    np.random.seed(1)
    one = nested_subset(labels, 20, seed=3)
    np.random.seed(2)
    assert np.array_equal(one, nested_subset(labels, 20, seed=3))
