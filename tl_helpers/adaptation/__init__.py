"""Domain adaptation: measure a shift between a source and a target domain, and repair it without labels of the target."""

from tl_helpers.adaptation.methods import (
    CDAN,
    DAN,
    DANN,
    Alignment,
    DeepCORAL,
    SelfTraining,
    certainty,
    conditioned,
    coral_loss,
    domain_loss,
    entropy,
    mmd_loss,
    reversal_strength,
    reverse_gradient,
)
from tl_helpers.adaptation.selection import (
    importance_weighted,
    importance_weights,
    mutual_information,
    negative_entropy,
    reverse_validation,
)
from tl_helpers.adaptation.shift import (
    Discrepancy,
    a_distance,
    centroid_distances,
    estimate_proportions,
    label_shift,
    mmd,
)
from tl_helpers.adaptation.statistics import adapt_batch_norm, coral, standardise
from tl_helpers.adaptation.test_time import tent
