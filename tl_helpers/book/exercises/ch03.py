"""Checks of chapter 3: a backbone that is really frozen, and a probe that never looks at the test rows."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from tl_helpers import runtime
from tl_helpers.book.exercises.checking import Hint, exercise


class _Small(nn.Module):
    """A classifier like the chapter's, in miniature: backbone with batch norm, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


@exercise("freeze-the-backbone")
def freeze_the_backbone(freeze_backbone: Callable) -> None:
    """After any training only the head has changed, batch-norm buffers included; the model is returned."""
    with runtime.RandomNumbers(0):
        model = _Small()
        pictures, labels = torch.randn(24, 3, 8, 8) * 2 + 1, torch.arange(24) % 2
    reference = copy.deepcopy(model).eval()
    frozen = freeze_backbone(model)
    if not isinstance(frozen, nn.Module) or not all(hasattr(frozen, part) for part in ("backbone", "head")):
        raise Hint(f"Return the model itself, with its backbone and head; you returned a {type(frozen).__name__}.")
    if not all(p.requires_grad for p in frozen.head.parameters()):
        raise Hint(
            "The head is frozen together with the backbone: nothing is left that could learn the new task. "
            "Switch gradients off for model.backbone only."
        )
    eval_before_training = not any(m.training for m in _batch_norms(frozen.backbone))
    frozen.eval()
    if not _same_features(frozen, reference, pictures):
        raise Hint("Freezing itself has changed the backbone's features: leave its weights and statistics as they are.")
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    _train(frozen, pictures, labels)
    after = frozen.state_dict()
    moved = [n for n in before if n.startswith("backbone.") and not torch.equal(before[n], after[n])]
    parameters = {f"backbone.{n}" for n, _ in frozen.backbone.named_parameters()}
    if parameters & set(moved):
        if "requires_grad" in vars(frozen.backbone) or "requires_grad" in vars(frozen):
            raise Hint(
                "A module has no requires_grad: setting it there does nothing, and the weights moved. Set it on each "
                "parameter, or call backbone.requires_grad_(False), with the underscore."
            )
        if not parameters <= set(moved):
            raise Hint(
                f"Part of the backbone still learns ({', '.join(sorted(parameters & set(moved)))}): switch gradients off "
                "for all of its parameters, batch norm's own scale and shift too."
            )
        raise Hint(
            "The weights of the backbone moved: eval() stops batch norm from collecting statistics, it does not stop "
            "the optimiser. Switch the gradients off as well."
        )
    if moved:
        why = (
            "You called eval(), but every epoch's model.train() switches the backbone back. Make that call stop there."
            if eval_before_training
            else "Switched-off gradients do not stop it: in train mode batch norm updates them in the forward pass."
        )
        raise Hint(f"The running statistics drifted ({', '.join(moved)}), so the features changed. {why}")
    if all(torch.equal(before[n], after[n]) for n in before if n.startswith("head.")):
        raise Hint("The head did not learn: after training its weights are what they were.")
    frozen.train()
    if not _same_features(frozen, reference, pictures):
        raise Hint(
            "Nothing stored has changed, but in train mode batch norm still normalises with the other pictures of the "
            "batch, not with its stored statistics: the features are not the frozen ones. Keep it in eval mode."
        )
    if not frozen.head.training:
        raise Hint(
            "After model.train() the head is in eval mode as well, so that a dropout in it would do nothing. "
            "Hold back the backbone only."
        )
    frozen.eval()
    if frozen.head.training:
        raise Hint("After model.eval() the head is still in train mode: do not take eval() from the whole model.")


def _same_features(model: nn.Module, reference: nn.Module, pictures: torch.Tensor) -> bool:
    with torch.no_grad():
        # Through the whole model, as in training: what hangs on its forward pass takes effect.
        model(pictures[:4])
        return torch.allclose(model.backbone(pictures[:4]), reference.backbone(pictures[:4]), atol=1e-5)


def _batch_norms(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def _train(model: nn.Module, pictures: torch.Tensor, labels: torch.Tensor) -> None:
    """Two epochs of the usual loop: train mode at the start of each, an optimiser over all parameters."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    for _ in range(2):
        model.train()
        for rows in range(0, len(pictures), 8):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(pictures[rows : rows + 8]), labels[rows : rows + 8]).backward()
            optimiser.step()


@exercise("probe-without-peeking")
def probe_without_peeking(fit_probe: Callable) -> None:
    """(fitted pipeline, test accuracy): scaler from training rows only, C by validation accuracy."""
    train, validation, test = _three_sets()
    copies = [(x.copy(), y.copy()) for x, y in (train, validation, test)]
    result = fit_probe(*copies, list(_CANDIDATES))
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Hint("Return two things: the fitted pipeline and its test accuracy.")
    probe, accuracy = result
    scaler, head = _steps(probe)
    both = np.vstack([train[0], validation[0]]), np.concatenate([train[1], validation[1]])
    if _like(probe, float(head.C), both):
        raise Hint(_REFITTED)
    if not np.allclose(scaler.mean_, train[0].mean(axis=0), atol=1e-6):
        which = "validation" if np.allclose(scaler.mean_, both[0].mean(axis=0), atol=1e-6) else "test"
        raise Hint(
            f"The scaler was not fitted on the training rows alone: its means hold {which} rows too. A pipeline that "
            "is fitted on the training rows does the right thing by itself."
        )
    chosen = float(head.C)
    if not _like(probe, chosen, train):
        again = make_pipeline(
            scaler, LogisticRegression(C=chosen, max_iter=1000).fit(scaler.transform(both[0]), both[1])
        )
        if _apart(probe, again) < _SAME:
            raise Hint(_REFITTED)
        raise Hint(
            f"The classifier is not what LogisticRegression(C={chosen:g}, max_iter=1000) learns on the training rows."
        )
    scores = {name: _scores(train, rows) for name, rows in (("v", validation), ("t", test), ("r", train))}
    if scores["v"].get(chosen, -1) < max(scores["v"].values()) - 1e-9:
        if scores["t"].get(chosen) == max(scores["t"].values()):
            raise Hint(
                f"C = {chosen:g} is best on the test rows, not on the validation rows: it was chosen on the test rows, "
                "so the test accuracy is no longer a fair estimate. Choose by validation accuracy."
            )
        if scores["r"].get(chosen) == max(scores["r"].values()):
            raise Hint(
                f"C = {chosen:g} is best on the training rows: chosen on the training rows, the weakest regularisation "
                "always wins. Choose by validation accuracy."
            )
        raise Hint(f"C = {chosen:g} is not the candidate with the highest validation accuracy.")
    if not np.isclose(float(accuracy), probe.score(*test), atol=1e-6):
        raise Hint(
            f"The accuracy you return, {float(accuracy):.4f}, is not the pipeline's accuracy on the test rows (a share from "
            f"0 to 1): {probe.score(*test):.4f}."
        )
    few = [c for c in _CANDIDATES if c != chosen][:2]
    other, _ = fit_probe(*[(x.copy(), y.copy()) for x, y in (train, validation, test)], list(few))
    if float(_steps(other)[1].C) not in few:
        raise Hint(
            f"Asked to choose from {few}, you take C = {_steps(other)[1].C:g}: use the candidates that are given."
        )


_REFITTED = (
    "The classifier was fitted again on training and validation rows together. Only training rows may be fitted on: return "
    "the probe that won on the validation rows as it is."
)


_SAME = 0.05
"""Below it two probes count as the same: other solvers end 0.03 apart, fits on other rows 0.4."""


def _fitted(c: float, rows: tuple[np.ndarray, np.ndarray]) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(*rows)


def _apart(probe: Pipeline, other: Pipeline) -> float:
    """How far apart what two probes say is, as a share of its spread; on made-up rows."""
    x = np.random.default_rng(0).normal(size=(200, 30)) * np.linspace(0.5, 3, 30)
    one, two = probe.decision_function(x), other.decision_function(x)
    return float(np.linalg.norm(one - two) / np.linalg.norm(two))


def _like(probe: Pipeline, c: float, rows: tuple[np.ndarray, np.ndarray]) -> bool:
    return _apart(probe, _fitted(c, rows)) < _SAME


_CANDIDATES = (1e-4, 1e-2, 1.0, 100.0)


def _three_sets() -> list[tuple[np.ndarray, np.ndarray]]:
    """Small sets on which training, validation and test rows each prefer another C."""
    rng = np.random.default_rng(2)
    weights = np.concatenate([np.ones(6), np.zeros(24)])

    def draw(n: int, shift: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 30))
        y = (x @ weights + noise * rng.normal(size=n) > 0.9).astype(int)
        return x * np.linspace(0.5, 3, 30) + shift, y

    train, validation = draw(70, 0.0, 1.0), draw(300, 0.4, 0.3)
    x, _ = draw(200, 0.2, 0.3)
    # Test rows all of the commoner class: the strongest regularisation, which always answers that, wins on them.
    return [train, validation, (x, np.zeros(200, dtype=int))]


def _steps(probe: object) -> tuple[StandardScaler, LogisticRegression]:
    steps = [step for _, step in probe.steps] if isinstance(probe, Pipeline) else []
    scaler = next((s for s in steps if isinstance(s, StandardScaler)), None)
    head = next((s for s in steps if isinstance(s, LogisticRegression)), None)
    if scaler is None or head is None:
        raise Hint("The probe has to be a fitted scikit-learn pipeline of StandardScaler and LogisticRegression.")
    if isinstance(head, LogisticRegressionCV):
        raise Hint(
            "LogisticRegressionCV chooses C by folds of the rows it is fitted on. Choose by validation accuracy."
        )
    if not hasattr(scaler, "mean_") or not hasattr(head, "coef_"):
        raise Hint("The pipeline you return is not fitted yet.")
    return scaler, head


def _scores(train: tuple, rows: tuple) -> dict[float, float]:
    """Accuracy on `rows` for each candidate C, fitted on `train`."""
    return {c: _fitted(c, train).score(*rows) for c in _CANDIDATES}
