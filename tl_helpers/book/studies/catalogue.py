"""All studies of the book, in the order of its chapters."""

from __future__ import annotations

from tl_helpers.book.results import Study
from tl_helpers.book.studies import (
    adaptation,
    adaptation_limits,
    adaptation_peers,
    continual,
    domain_streams,
    few_shot,
    fine_tuning,
    first_transfer,
    forgetting,
    meta_learning,
    transfer,
    zero_shot,
)

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        *first_transfer.STUDIES,
        *fine_tuning.STUDIES,
        *adaptation.STUDIES,
        *adaptation_limits.STUDIES,
        *adaptation_peers.STUDIES,
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
