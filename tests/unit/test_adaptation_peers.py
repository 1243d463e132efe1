"""The losses against skada, an independent library, for the same definitions (to 1e-6)."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel

from tl_helpers import adaptation
from tl_helpers.adaptation import shift
from tl_helpers.book.studies.adaptation_peers import CORAL, PEERS, STATISTICS, our_answers, skadas_answers

pytest.importorskip("skada", reason="skada, the library that is compared with, is not installed")
pytest.importorskip("skorch", reason="skada's deep part needs skorch, which is not installed")

from skada import CORALAdapter
from skada.deep._adversarial import CDANLoss, DANNLoss
from skada.deep.losses import _maximum_mean_discrepancy, deepcoral_loss
from skada.deep.modules import GradientReversalLayer


def batches(n: int = 24, m: int = 17, d: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return one, 0.5 + 1.5 * torch.randn(m, d, generator=generator, dtype=torch.float64)


def test_coral_loss_is_skadas():
    one, other = batches()
    torch.testing.assert_close(adaptation.coral_loss(one, other), deepcoral_loss(one, other), atol=1e-6, rtol=0)


def test_mmd_loss_is_skadas_estimate_with_our_kernel():
    """skada's kernel is exp(-|x - y| / sigma); its estimate, the biased one, is ours when it gets our Gaussian mixture."""
    one, other = batches()
    both = torch.cat([one, other])
    scale = torch.cdist(both, both).square().sum() / (len(both) * (len(both) - 1))

    def kernel(x, y):
        grams = [rbf_kernel(x, y, gamma=float(1 / (2 * f**2 * scale))) for f in shift.FACTORS]
        return torch.from_numpy(np.mean(grams, axis=0))

    want = _maximum_mean_discrepancy(one, other, kernel)
    torch.testing.assert_close(adaptation.mmd_loss(one, other), want, atol=1e-6, rtol=0)


def test_closed_form_coral_is_skadas():
    """With hardly any shrinkage; skada also moves the source's mean to the target's, which ours leaves to standardising."""
    one, other = (x.numpy() for x in batches(60, 50, 4))
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    domains = np.repeat([1, -2], [len(one), len(other)])
    theirs = CORALAdapter(reg=None).fit_transform(np.concatenate([one, other]), sample_domain=domains)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    scale = (len(one) - 1) / len(one), (len(other) - 1) / len(other)  # they divide covariances by N, we by N - 1
    ours = adaptation.coral(one, other, shrink=1e-12) * np.sqrt(scale[1] / scale[0])
    np.testing.assert_allclose(ours, theirs[: len(one)], atol=1e-6)


@pytest.mark.parametrize("loss", [DANNLoss, CDANLoss])
def test_domain_loss_is_half_of_skadas(loss):
    """They add the two domains' means and call the target 1; we average them and call the source 1."""
    generator = torch.Generator().manual_seed(1)
    ours, theirs = torch.randn(9, generator=generator), torch.randn(7, generator=generator)
    features = {"features_s": torch.zeros(9, 2), "features_t": torch.zeros(7, 2)}
    want = loss()(domain_pred_s=torch.sigmoid(-ours), domain_pred_t=torch.sigmoid(-theirs), **features)
    torch.testing.assert_close(adaptation.domain_loss(ours, theirs), want / 2, atol=1e-6, rtol=0)


def test_the_reversed_gradient_is_skadas():
    gradients = []
    for turn in (adaptation.reverse_gradient, functools.partial(GradientReversalLayer.apply)):
        x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
        (turn(x, 0.7) ** 3).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


def test_conditioning_is_skadas_multilinear_map():
    generator = torch.Generator().manual_seed(2)
    f, p = torch.randn(5, 3, generator=generator), torch.randn(5, 4, generator=generator).softmax(1)
    want = torch.bmm(p.unsqueeze(2), f.unsqueeze(1)).view(-1, 12)  # as in skada's CDANModule
    torch.testing.assert_close(adaptation.conditioned(f, p), want, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", PEERS)
def test_estimators_answer_as_skadas(method):
    """A pipeline of per-domain statistics, CORAL and a logistic regression, on features that no test has seen."""
    random = np.random.default_rng(3)
    answers = random.integers(0, 2, 120)
    mixed = random.normal(size=(6, 6))
    home = random.normal(size=(120, 6)) + answers[:, None]
    abroad, asked = (3 + random.normal(size=(n, 6)) @ mixed for n in (90, 70))
    data = home, abroad, asked, answers
    ours, theirs = our_answers(method, *data), skadas_answers(method, *data)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    if method == CORAL:
        assert np.abs(ours - our_answers(STATISTICS, *data)).max() > 0.01
