"""Shift measures, alignment losses and statistics, each against a slow direct formula or a library's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel
from torch import nn

from tests.unit.small import small_model, stripes
from tl_helpers import adaptation
from tl_helpers.adaptation import shift


def cloud(n: int, d: int = 4, *, seed: int = 0, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, scale, size=(n, d))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]


# ---- measures --------------------------------------------------------------------------------------------------------


def slow_mmd(x, y, kernel):
    """Gretton et al. 2012, equation 3, term by term."""
    n, m = len(x), len(y)
    within = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    beyond = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + beyond - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize("name", ["linear", "rbf", "laplace"])
def test_mmd_term_by_term(name):
    x, y = cloud(9), cloud(7, seed=1, mean=0.7)
    both = np.concatenate([x, y])
    pairs = [(a, b) for i, a in enumerate(both) for b in both[i + 1 :]]
    order = 1 if name == "laplace" else 2
    median = np.median([np.linalg.norm(a - b, ord=order) for a, b in pairs])

    def kernel(a, b):
        if name == "linear":
            return a @ b
        if name == "rbf":
            gammas = [1 / (2 * (f * median) ** 2) for f in shift.FACTORS]
            return np.mean([rbf_kernel(a[None], b[None], gamma=g).item() for g in gammas])
        return np.mean([laplacian_kernel(a[None], b[None], gamma=1 / (f * median)).item() for f in shift.FACTORS])

    assert adaptation.mmd(x, y, kernel=name).value == pytest.approx(slow_mmd(x, y, kernel), abs=1e-9)


def test_permutation_test_sees_a_shift_and_not_its_absence():
    assert adaptation.mmd(cloud(60), cloud(60, seed=1, mean=1), permutations=200).p_value < 0.01
    p_values = [adaptation.mmd(cloud(30, seed=s), cloud(30, seed=s + 100), permutations=99).p_value for s in range(20)]
    assert 0.2 < np.mean(p_values) < 0.8
    assert adaptation.mmd(cloud(5), cloud(5, seed=1)).p_value is None


def test_a_distance_from_nothing_to_everything():
    assert adaptation.a_distance(cloud(200), cloud(200, seed=1)) < 0.4
    assert adaptation.a_distance(cloud(200), cloud(200, seed=1, mean=8)) == pytest.approx(2, abs=0.02)
    # many more of one domain is not a difference
    assert adaptation.a_distance(cloud(600), cloud(60, seed=1)) < 0.5


def test_centres_move_by_what_was_added():
    x, y = cloud(400), np.repeat([0, 1], 200)
    moved = x + np.where(y == 1, 3.0, 0.0)[:, None]
    still, far = adaptation.centroid_distances(x, y, moved, y)
    assert still == pytest.approx(0, abs=1e-9)
    spread = np.sqrt(np.mean([np.sum((a - x[y == label].mean(0)) ** 2) for a, label in zip(x, y, strict=True)]))
    assert far == pytest.approx(3 * math.sqrt(4) / spread)
    assert np.isnan(adaptation.centroid_distances(x, y, moved[:200], y[:200])[1])


def test_label_shift_by_hand():
    assert adaptation.label_shift(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx(0.25)
    assert adaptation.label_shift(np.array([0]), np.array([1])) == 1


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 50))
def test_proportions_without_labels(share, seed):
    """Where only the proportions differ, they are found again although the classifier errs."""
    generator = np.random.default_rng(seed)

    def judge(truth):
        return np.where(generator.random(len(truth)) < 0.8, truth, 1 - truth)

    held_out = np.repeat([0, 1], 4000)
    target = (generator.random(8000) < share).astype(int)
    found = adaptation.estimate_proportions(held_out, judge(held_out), judge(target))
    assert found.sum() == pytest.approx(1)
    assert found[1] == pytest.approx(target.mean(), abs=0.06)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: adaptation.mmd(cloud(4), cloud(4, 3)), "same d"),
        (lambda: adaptation.mmd(cloud(1), cloud(4)), "two samples"),
        (lambda: adaptation.mmd(cloud(4), np.full((4, 4), np.nan)), "NaN"),
        (lambda: adaptation.mmd(cloud(4), cloud(4), kernel="cubic"), "cubic"),
        (lambda: adaptation.mmd(np.zeros((4, 2)), np.zeros((4, 2))), "equal"),
        (lambda: adaptation.a_distance(cloud(3), cloud(50)), "too few"),
        (lambda: adaptation.a_distance(cloud(0), cloud(50)), "no samples"),
        (lambda: adaptation.estimate_proportions(np.zeros(5, int), np.ones(5, int), np.ones(5, int)), "class 1"),
        (lambda: adaptation.standardise(cloud(3), np.array([0, 0, 1])), "one sample"),
        (lambda: adaptation.standardise(cloud(3), np.array([0, 0])), "2 domains"),
        (lambda: adaptation.coral(cloud(5), cloud(5), shrink=0), "above 0"),
        (lambda: adaptation.coral_loss(torch.zeros(1, 3), torch.zeros(4, 3)), "batch size"),
        (lambda: adaptation.mmd_loss(torch.zeros(4, 3), torch.zeros(4, 2)), "same d"),
        (lambda: adaptation.reversal_strength(1.2), "from 0 to 1"),
        (lambda: adaptation.negative_entropy(np.array([[0.4, 0.4]])), "sum to 1"),
        (lambda: adaptation.mutual_information(np.zeros((0, 2))), "N, classes"),
        (lambda: adaptation.importance_weighted(np.ones(3), np.ones(4)), "same length"),
        (lambda: adaptation.importance_weighted(np.ones(3), np.array([1, -1, 1])), "0 or more"),
        (lambda: adaptation.adapt_batch_norm(small_model(), stripes(1)), "two samples"),
    ],
)
def test_what_cannot_be_says_why(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_coral_loss_is_the_papers():
    x, y = cloud(12), cloud(9, seed=1, scale=2)
    want = np.sum((np.cov(x, rowvar=False) - np.cov(y, rowvar=False)) ** 2) / (4 * 4**2)
    assert adaptation.coral_loss(*tensors(x, y)).item() == pytest.approx(want, abs=1e-9)


def test_mmd_loss_term_by_term():
    x, y = cloud(6), cloud(5, seed=1, mean=1)
    both = np.concatenate([x, y])
    scale = np.sum([np.sum((a - b) ** 2) for a in both for b in both]) / (len(both) * (len(both) - 1))

    def k(a, b):
        return np.mean([math.exp(-np.sum((a - b) ** 2) / (2 * f**2 * scale)) for f in shift.FACTORS])

    want = np.mean([k(a, b) for a in x for b in x]) + np.mean([k(a, b) for a in y for b in y])
    want -= 2 * np.mean([k(a, b) for a in x for b in y])
    assert adaptation.mmd_loss(*tensors(x, y)).item() == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("loss", [adaptation.coral_loss, adaptation.mmd_loss])
def test_losses_vanish_for_equal_batches_and_have_right_gradients(loss):
    x = cloud(6)
    assert loss(*tensors(x, x)).item() == pytest.approx(0, abs=1e-12)
    if loss is adaptation.coral_loss:  # the bandwidth of mmd_loss is without gradient, by definition
        assert torch.autograd.gradcheck(loss, tensors(x, cloud(5, seed=1)))


def test_gradients_turn_round():
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    out = adaptation.reverse_gradient(x, 0.5)
    assert torch.equal(out, x)
    (out * torch.tensor([1.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [-0.5, -2.0]


def test_reversal_schedule():
    assert adaptation.reversal_strength(0) == 0
    assert adaptation.reversal_strength(1) == pytest.approx(math.tanh(5))  # the same curve, written otherwise
    assert adaptation.reversal_strength(0.3) < adaptation.reversal_strength(0.4)


def test_domain_loss_is_cross_entropy():
    a, b = torch.randn(5, generator=torch.Generator().manual_seed(0)), torch.randn(3)
    bce = nn.functional.binary_cross_entropy_with_logits
    want = (bce(a, torch.ones(5)) + bce(b, torch.zeros(3))) / 2
    torch.testing.assert_close(adaptation.domain_loss(a, b), want)
    torch.testing.assert_close(adaptation.domain_loss(a, b, (torch.full((5,), 2.0), torch.full((3,), 7.0))), want)


def test_conditioning_and_certainty():
    f, p = torch.arange(6.0).reshape(2, 3), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    want = torch.stack([torch.outer(q, g).flatten() for q, g in zip(p, f, strict=True)])
    torch.testing.assert_close(adaptation.conditioned(f, p), want)
    torch.testing.assert_close(adaptation.entropy(p), torch.tensor(scipy_entropy(p.numpy(), axis=1)))
    assert adaptation.certainty(p)[1] == 2
    assert adaptation.certainty(p)[0] < 2


# ---- choosing without labels --------------------------------------------------------------------------------------------


def test_confident_is_not_the_same_as_good():
    sure = np.tile([[0.0, 1.0]], (6, 1))
    diverse = np.array([[1.0, 0.0], [0.0, 1.0]] * 3)
    unsure = np.full((6, 2), 0.5)
    assert adaptation.negative_entropy(sure) == adaptation.negative_entropy(diverse) == 0
    assert adaptation.negative_entropy(unsure) == pytest.approx(-math.log(2))
    assert adaptation.mutual_information(sure) == 0  # one class for all: collapse
    assert adaptation.mutual_information(diverse) == pytest.approx(math.log(2))
    assert adaptation.mutual_information(unsure) == pytest.approx(0)


def test_importance_weights_estimate_the_targets_accuracy():
    """Right on the left, wrong on the right; the target lies further right. Only inputs shift."""
    generator = np.random.default_rng(0)
    source, target = generator.normal(0, 1, (8000, 1)), generator.normal(0.8, 1, (8000, 1))

    def right(x):
        return generator.random(len(x)) < np.where(x[:, 0] < 0.5, 0.95, 0.55)

    held_out, truth = right(source), 100 * right(target).mean()
    weights = adaptation.importance_weights(source, target)
    assert weights.mean() == pytest.approx(1)
    assert abs(100 * held_out.mean() - truth) > 8
    assert adaptation.importance_weighted(held_out, weights) == pytest.approx(truth, abs=3)


def test_control_variate_by_hand():
    right, w = np.array([1, 0, 1, 0, 0]), np.array([0.5, 2.0, 1.5, 1.0, 0.6])
    weighted = w * (1 - right)
    eta = -np.cov(weighted, w)[0, 1] / np.var(w, ddof=1)
    want = weighted.mean() + eta * w.mean() - eta
    assert adaptation.importance_weighted(right, w) == pytest.approx(100 * (1 - want))
    assert adaptation.importance_weighted(right, np.ones(5)) == pytest.approx(40)  # no shift: plain accuracy


# ---- statistics ------------------------------------------------------------------------------------------------------


def test_standardise_each_domain():
    x = np.concatenate([cloud(50, mean=5, scale=3), cloud(30, seed=1, mean=-2)])
    x[:, 1] = 7  # a feature that says nothing
    domains = np.repeat(["a", "b"], [50, 30])
    out = adaptation.standardise(x, domains)
    for domain in "ab":
        part = out[domains == domain]
        np.testing.assert_allclose(part.mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(np.delete(part.std(0), 1), 1)
        assert not part[:, 1].any()


def test_coral_is_the_papers_algorithm():
    x, y = cloud(40), cloud(30, seed=1) @ np.diag([1, 2, 3, 4])
    eye = np.eye(4)
    want = x @ np.linalg.inv(sqrtm(np.cov(x, rowvar=False) + eye)) @ sqrtm(np.cov(y, rowvar=False) + eye)
    np.testing.assert_allclose(adaptation.coral(x, y), want, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_coral_gives_the_targets_covariance(seed):
    x, y = cloud(80, seed=seed), cloud(90, seed=seed + 1) @ np.random.default_rng(seed).normal(size=(4, 4))
    out = adaptation.coral(x, y, shrink=1e-9)
    np.testing.assert_allclose(np.cov(out, rowvar=False), np.cov(y, rowvar=False), atol=1e-5)


def test_adabn_takes_the_targets_statistics_and_leaves_the_model_alone():
    model, samples = small_model(), stripes(48)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = adaptation.adapt_batch_norm(model, samples)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    first, norm = next((n, m) for n, m in adapted.named_modules() if isinstance(m, nn.BatchNorm2d))
    seen = []
    hook = dict(model.named_modules())[first].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(model.backbone.prepare(samples.inputs))
    hook.remove()
    torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, seen[0].var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert not adapted.training
    weights = [name for name, _ in model.named_parameters()]
    assert all(torch.equal(adapted.state_dict()[name], before[name]) for name in weights)
