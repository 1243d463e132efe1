"""Similarities and what is done with them: hubs and their corrections, seen against unseen, accuracy, calibration.

`similarities` are (N, L) throughout: N samples, L labels; the highest in a row is the answer.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import skew

from tl_helpers.heads import cosines
from tl_helpers.training.scoring import calibration_error, softmax
from tl_helpers.zeroshot.labels import check_embeddings


def cosine(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cosines of samples (N, d) and labels (L, d): float64, shape (N, L); a ValueError for NaN, or widths that differ."""
    check_embeddings(x, labels)
    return cosines(*(torch.from_numpy(np.array(part, dtype=float)) for part in (x, labels))).numpy()


def ranks(similarities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many labels come before the right one: int, shape (N,), 0 is best. Ties count against it, as NaN would.

    A ValueError for shapes that do not fit, NaN, or labels out of range.
    """
    truth = np.asarray(truth)
    check_embeddings(similarities, what="similarities")
    if truth.shape != (len(similarities),):
        raise ValueError(f"{len(similarities)} samples but right answers of shape {truth.shape}.")
    if truth.min() < 0 or truth.max() >= similarities.shape[1]:
        raise ValueError(
            f"right answers from {truth.min()} to {truth.max()}; there are {similarities.shape[1]} labels."
        )
    right = np.take_along_axis(similarities, truth[:, None], axis=1)
    return (similarities >= right).sum(axis=1) - 1


def accuracy(similarities: np.ndarray, truth: np.ndarray, top: int = 1) -> float:
    """Share of samples whose right label is among the `top` highest, in %."""
    return 100 * float((ranks(similarities, truth) < top).mean())


def chance(labels: int, top: int = 1) -> float:
    """What guessing gives among so many labels, in %."""
    return 100 * min(top, labels) / labels


def occurrences(similarities: np.ndarray, k: int = 1) -> np.ndarray:
    """N_k: how often each label is among the k highest of a sample (Radovanovic et al. 2010): int, shape (L,)."""
    check_embeddings(similarities, what="similarities")
    if not 1 <= k <= similarities.shape[1]:
        raise ValueError(f"k={k}: from 1 to {similarities.shape[1]}, the number of labels.")
    highest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return np.bincount(highest.ravel(), minlength=similarities.shape[1])


def hubness(similarities: np.ndarray, k: int = 1) -> float:
    """Skewness of N_k: near 0 if all labels are answered alike, large where a few are answered to everything."""
    return float(skew(occurrences(similarities, k)))


def inverted_softmax(similarities: np.ndarray, bank: np.ndarray | None = None, *, beta: float = 10.0) -> np.ndarray:
    r"""How probable a label finds a sample, rather than the other way (Smith et al. 2017, equation 3): logarithms, (N, L).

    .. math:: \frac{e^{\beta s_{ij}}}{\sum_n e^{\beta s_{nj}}}

    A label that is near to everything has a large sum, and loses. The sum runs over the N samples themselves, and then
    an answer depends on the other samples; or over a `bank` of similarities of other samples to the same labels, (M,
    L).
    """
    bank = _bank(similarities, bank)
    if not beta > 0:
        raise ValueError(f"beta={beta}: above 0.")
    high = (beta * bank).max(axis=0)
    return beta * similarities - high - np.log(np.exp(beta * bank - high).sum(axis=0))


def csls(similarities: np.ndarray, bank: np.ndarray | None = None, *, k: int = 10) -> np.ndarray:
    """Cross-domain similarity local scaling (Conneau et al. 2018), equation 3: 2 s - r(sample) - r(label), shape (N, L).

    r is the mean similarity, a cosine, to the k nearest on the other side; for the neighbours of labels in the `bank`,
    as in `inverted_softmax`.
    """
    bank = _bank(similarities, bank)
    if not 1 <= k <= min(len(bank), similarities.shape[1]):
        raise ValueError(f"k={k}: from 1 to {min(len(bank), similarities.shape[1])}, the samples and labels there are.")
    of_samples = np.sort(similarities, axis=1)[:, -k:].mean(axis=1)
    of_labels = np.sort(bank, axis=0)[-k:].mean(axis=0)
    return 2 * similarities - of_samples[:, None] - of_labels


def globally_corrected(similarities: np.ndarray) -> np.ndarray:
    """For each label, the rank of a sample among all samples (Dinu et al. 2015), negative; cosines break ties."""
    check_embeddings(similarities, what="similarities")
    order = np.argsort(np.argsort(-similarities, axis=0, kind="stable"), axis=0, kind="stable")
    span = float(np.abs(similarities).max()) or 1.0
    return similarities / (4 * span) - order


def _bank(similarities: np.ndarray, bank: np.ndarray | None) -> np.ndarray:
    check_embeddings(similarities, what="similarities")
    if bank is None:
        return similarities
    check_embeddings(bank, what="bank")
    if bank.shape[1] != similarities.shape[1]:
        raise ValueError(f"the bank has {bank.shape[1]} labels, the similarities {similarities.shape[1]}.")
    return bank


def harmonic_mean(seen: float, unseen: float) -> float:
    """2 s u / (s + u): high only if both are (Xian et al. 2019, equation 11); 0 if both are 0."""
    if seen < 0 or unseen < 0:
        raise ValueError(f"accuracies {seen} and {unseen}: none can be below 0.")
    return 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0


def stacked(similarities: np.ndarray, seen: np.ndarray, gamma: float) -> np.ndarray:
    """Calibrated stacking (Chao et al. 2016), equation 3: `gamma` is taken off the labels that are `seen`, bool (L,)."""
    return similarities - gamma * _seen(similarities, seen)


def generalised(similarities: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Generalised zero-shot: all labels compete, samples of seen and of unseen ones are counted apart (Xian et al. 2019).

    `truth` are the right labels, int (N,), some of them seen and some unseen; `seen` says which are, bool (L,). Returns
    ``seen_accuracy``, ``unseen_accuracy`` and ``harmonic_accuracy``, in %: means over labels of each label's accuracy.
    A ValueError if samples of seen or of unseen labels are missing, or shapes do not fit.
    """
    known, truth = _seen(similarities, seen), np.asarray(truth)
    right = ranks(similarities, truth) == 0
    of_label = known[truth]
    if of_label.all() or not of_label.any():
        raise ValueError("only samples of seen or only of unseen labels: a generalised score needs both.")
    found = {
        name: 100 * float(np.mean([right[truth == label].mean() for label in np.unique(truth[part])]))
        for name, part in (("seen_accuracy", of_label), ("unseen_accuracy", ~of_label))
    }
    return found | {"harmonic_accuracy": harmonic_mean(found["seen_accuracy"], found["unseen_accuracy"])}


def seen_unseen_curve(
    similarities: np.ndarray, truth: np.ndarray, seen: np.ndarray, gammas: np.ndarray
) -> list[dict[str, float]]:
    """`generalised` for each gamma of `stacked`, with that gamma: what Chao et al. (2016) draw."""
    return [{"gamma": float(g)} | generalised(stacked(similarities, seen, g), truth, seen) for g in gammas]


def best_gamma(similarities: np.ndarray, truth: np.ndarray, seen: np.ndarray, gammas: np.ndarray) -> float:
    """The gamma with the highest harmonic mean: for validation labels, never for the unseen ones that are reported."""
    curve = seen_unseen_curve(similarities, truth, seen, gammas)
    return max(curve, key=lambda row: row["harmonic_accuracy"])["gamma"]


def _seen(similarities: np.ndarray, seen: np.ndarray) -> np.ndarray:
    check_embeddings(similarities, what="similarities")
    seen = np.asarray(seen)
    if seen.dtype != bool or seen.shape != (similarities.shape[1],):
        raise ValueError(f"seen: one True or False for each of the {similarities.shape[1]} labels; got {seen.shape}.")
    return seen


TEMPERATURES = np.geomspace(0.003, 1.0, 40)
"""On offer to `best_temperature`; cosines differ by hundredths, so useful ones are small."""


def probabilities(similarities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of similarities over a temperature (Guo et al. 2017, equation 9): rows sum to 1."""
    check_embeddings(similarities, what="similarities")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: above 0.")
    return softmax(np.asarray(similarities, dtype=float) / temperature)


def best_temperature(similarities: np.ndarray, truth: np.ndarray) -> float:
    """The one of `TEMPERATURES` with the least negative log-likelihood: for validation labels, never for the unseen."""
    truth = np.asarray(truth)
    ranks(similarities, truth)  # the same checks

    def loss(temperature: float) -> float:
        p = probabilities(similarities, temperature)
        return float(-np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-300)).mean())

    return float(min(TEMPERATURES, key=loss))


def expected_calibration_error(similarities: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Expected calibration error of `probabilities`, in points; see `tl_helpers.training.scoring.calibration_error`."""
    return 100 * calibration_error(np.asarray(truth), probabilities(similarities, temperature))
