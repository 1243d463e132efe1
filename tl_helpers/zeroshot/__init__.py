"""Zero-shot: classes without a single labelled sample, known by their names only (chapter 11).

Samples and names are brought into one space, and the nearest name is the answer: one encoder for texts, ConSE or a learned
map for images. Then what goes wrong there: hubs, seen classes that win, confidence that is not earned.
"""

from tl_helpers.zeroshot.classifiers import (
    IMAGENET_NAMES,
    ZeroShot,
    by_clip,
    by_conse,
    by_map,
    imagenet_labels,
    imagenet_probabilities,
    nearest_text,
    probabilities_of,
)
from tl_helpers.zeroshot.labels import check_names, check_split, embed_labels, embed_texts, fill
from tl_helpers.zeroshot.maps import LinearMap, conse, eszsl_map, ranking_loss, ranking_map, ridge_map
from tl_helpers.zeroshot.scores import (
    accuracy,
    best_gamma,
    best_temperature,
    chance,
    cosine,
    csls,
    expected_calibration_error,
    generalised,
    globally_corrected,
    harmonic_mean,
    hubness,
    inverted_softmax,
    occurrences,
    probabilities,
    ranks,
    seen_unseen_curve,
    stacked,
)
