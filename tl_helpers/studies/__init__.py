"""The recorded studies: what `make results` runs, one function for each, called with the parameters of one cell.

A live control and the test that runs a sampled cell again call the same functions, so what is recorded and what a reader
computes are the same thing. Chapters read the results with `tl_helpers.results.load`.
"""

from tl_helpers.results import Study
from tl_helpers.studies import (
    adaptation,
    continual,
    domain_streams,
    few_shot,
    fine_tuning,
    forgetting,
    meta_learning,
    transfer,
    zero_shot,
)
from tl_helpers.studies.adaptation import (
    METHODS,
    STRENGTHS,
    adaptation_cell,
    adapted,
    new_model,
    pair_of,
    recipe_of,
    with_statistics,
)
from tl_helpers.studies.fine_tuning import (
    ALL,
    BASE,
    EPOCHS,
    PUBLISHED,
    RATES,
    SIZE,
    STRATEGIES,
    STRATEGY_EPOCHS,
    classifier,
    grid_cell,
    labelled,
    published_cell,
    recipe_for,
    strategy_cell,
    textile_cell,
    train_strategy,
)
from tl_helpers.studies.transfer import IMAGES, NOTHING, TEXTS, proportions_cell, samples_of, task_of, transfer_cell

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        *fine_tuning.STUDIES,
        *adaptation.STUDIES,
        *transfer.STUDIES,
        *few_shot.STUDIES,
        *meta_learning.STUDIES,
        *zero_shot.STUDIES,
        *forgetting.STUDIES,
        *continual.STUDIES,
        *domain_streams.STUDIES,
    )
}
"""All studies by name."""

__all__ = [
    "ALL",
    "BASE",
    "EPOCHS",
    "IMAGES",
    "METHODS",
    "NOTHING",
    "PUBLISHED",
    "RATES",
    "SIZE",
    "STRATEGIES",
    "STRATEGY_EPOCHS",
    "STRENGTHS",
    "STUDIES",
    "TEXTS",
    "adaptation_cell",
    "adapted",
    "classifier",
    "grid_cell",
    "labelled",
    "new_model",
    "pair_of",
    "proportions_cell",
    "published_cell",
    "recipe_for",
    "recipe_of",
    "samples_of",
    "strategy_cell",
    "task_of",
    "textile_cell",
    "train_strategy",
    "transfer_cell",
    "with_statistics",
]
