"""Statistics and CORAL on solar cells, by this book and by the library skada (chapter 7)."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from tl_helpers import adaptation, features
from tl_helpers.book.replication import seeds
from tl_helpers.book.results import Study
from tl_helpers.book.studies.adaptation import AFTER, CELL_PAIRS, CELLS
from tl_helpers.data import load_task
from tl_helpers.models import load_backbone

STATISTICS, CORAL = PEERS = ("own statistics", "CORAL")


def peers_cell(source_target: str, method: str, seed: int) -> dict[str, float]:
    """Features of a frozen stage, adapted without the target's labels, and a logistic regression: by both libraries.

    Parameters
    ----------
    source_target : str
        ``mono -> poly`` or ``poly -> mono``.
    method : str
        One of `PEERS`.
    seed : int
        Of the split.

    Returns
    -------
    dict of str to float
        ``oracle_balanced_accuracy`` on the target's test split, in %; ``skadas_oracle_balanced_accuracy``, the same of
        skada's answers; ``furthest``, the largest difference between the two's probabilities.
    """
    source, target = source_target.split(" -> ")
    cells = load_task("elpv", seed=seed)
    home, abroad = cells.only(domain=source), cells.only(domain=target)
    stage, everything = AFTER[CELLS], cells.all_samples(CELLS)
    x = features.extract_stages(load_backbone("efficientnet_lite0"), everything, stages=[stage])[stage].astype(float)
    data = *(x[rows] for rows in (home.rows("train"), abroad.rows("train"), abroad.rows("test"))), home.labels("train")
    ours, skadas = our_answers(method, *data), skadas_answers(method, *data)
    scores = [balanced_accuracy_score(abroad.labels("test"), answers.argmax(1)) for answers in (ours, skadas)]
    return {
        "oracle_balanced_accuracy": round(100 * float(scores[0]), 4),
        "skadas_oracle_balanced_accuracy": round(100 * float(scores[1]), 4),
        "furthest": round(float(np.abs(ours - skadas).max()), 9),
    }


def our_answers(method: str, home: np.ndarray, abroad: np.ndarray, asked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities, float (K, classes), by this book's functions, without shrinkage.

    From features of the source and of the target, to learn from, and of the target, to answer, float (N, d), (M, d), (K, d);
    classes of the source's, int (N,).
    """
    moments = [(part.mean(0), part.std(0)) for part in (home, abroad, abroad)]
    home, abroad, asked = (
        (part - mean) / np.where(std > 0, std, 1)
        for part, (mean, std) in zip((home, abroad, asked), moments, strict=True)
    )
    if method == CORAL:
        scale = (len(home) - 1) / len(home), (len(abroad) - 1) / len(abroad)  # skada's covariances are over N
        home = adaptation.coral(home, abroad, shrink=1e-12) * np.sqrt(scale[1] / scale[0])
    return _head().fit(home, labels).predict_proba(asked)


def skadas_answers(
    method: str, home: np.ndarray, abroad: np.ndarray, asked: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The same by skada's estimators; the target's samples stand masked in the fit.

    Raises
    ------
    ModuleNotFoundError
        Where skada is not installed: pip's extra ``references`` has it.
    """
    from skada import CORALAdapter, PerDomain, make_da_pipeline

    domains = np.repeat([1, -2], [len(home), len(abroad)])
    masked = np.concatenate([labels, np.full(len(abroad), -1)])
    steps = [PerDomain(StandardScaler()), *([CORALAdapter(reg=None)] if method == CORAL else [])]
    pipeline = make_da_pipeline(*steps, _head())
    pipeline.fit(np.concatenate([home, abroad]), masked, sample_domain=domains)
    return pipeline.predict_proba(asked, sample_domain=np.full(len(asked), -2))


def _head() -> LogisticRegression:
    return LogisticRegression(C=0.01, max_iter=5000, tol=1e-8)


STUDIES = (
    Study(
        "adaptation_peers",
        "Solar cells, both ways: own statistics and CORAL, by this book and by the library skada",
        {"source_target": CELL_PAIRS, "method": PEERS, "seed": seeds(5)},
        peers_cell,
        cited={},
    ),
)
