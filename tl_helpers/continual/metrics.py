r"""Metrics of continual learning, all from one matrix: :math:`R_{i,j}` is the accuracy on experience j after learning i.

It is a float array (T, T), in %. Rows and columns are in the order of the stream; a method that sees everything at once
fills in its rows, too.
"""

from __future__ import annotations

import numpy as np


def average_accuracy(matrix: np.ndarray) -> float:
    """Mean accuracy on all experiences after the last (Lopez-Paz and Ranzato 2017, ACC): the mean of the last row, in %."""
    return float(_checked(matrix)[-1].mean())


def forgetting(matrix: np.ndarray) -> float:
    r"""How far each experience but the last has fallen below its best, on average (Chaudhry et al. 2018), in points.

    .. math:: \frac{1}{T-1} \sum_{j<T} \left( \max_{j \le i < T} R_{i,j} - R_{T,j} \right)

    0 for a stream of one experience; negative if everything got better. The maximum is over the rows from an experience's
    own on and before the last.
    """
    matrix = _checked(matrix)
    return _mean([matrix[j:-1, j].max() - matrix[-1, j] for j in range(len(matrix) - 1)])


def backward_transfer(matrix: np.ndarray) -> float:
    r"""What later learning did to earlier experiences (Lopez-Paz and Ranzato 2017), in points; negative: it hurt.

    .. math:: \frac{1}{T-1} \sum_{j<T} \left( R_{T,j} - R_{j,j} \right)
    """
    matrix = _checked(matrix)
    return _mean([matrix[-1, j] - matrix[j, j] for j in range(len(matrix) - 1)])


def forward_transfer(matrix: np.ndarray, baseline: np.ndarray) -> float:
    r"""What earlier experiences did for later ones before these were learned (Lopez-Paz and Ranzato 2017), in points.

    .. math:: \frac{1}{T-1} \sum_{j>1} \left( R_{j-1,j} - b_j \right)

    with the baseline b, shape (T,): accuracy of the untrained model on each experience, in %.
    """
    matrix, baseline = _checked(matrix), np.asarray(baseline, dtype=float)
    if baseline.shape != (len(matrix),):
        raise ValueError(f"baseline of shape {baseline.shape} for {len(matrix)} experiences: one value for each.")
    return _mean([matrix[j - 1, j] - baseline[j] for j in range(1, len(matrix))])


def _mean(values: list[float]) -> float:
    """0 for a stream of one experience."""
    return float(np.mean(values)) if values else 0.0


def _checked(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise ValueError(f"An accuracy matrix has as many rows (after learning) as columns (on); got {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise ValueError("NaN or infinity in the accuracy matrix: was every experience scored after every other?")
    return matrix
