"""Few-shot learning: episodes, heads on frozen features, networks trained for episodes, and learning to learn."""

from tl_helpers.fewshot.episodes import Episode, EpisodeSampler, EpisodeScore, Head, score_episodes, score_with
from tl_helpers.fewshot.heads import (
    HEADS,
    centred,
    class_means,
    cosine_centroid,
    cosine_classifier,
    linear_probe,
    matching,
    nearest_centroid,
    refined_centroid,
    ridge,
)
from tl_helpers.fewshot.networks import (
    EpisodicRun,
    fine_tuned,
    matching_logits,
    prototypical_logits,
    train_episodic,
    with_turned_classes,
)
from tl_helpers.fewshot.sentences import pairs_of, sentence_encoder, setfit

__all__ = [
    "HEADS",
    "Episode",
    "EpisodeSampler",
    "EpisodeScore",
    "EpisodicRun",
    "Head",
    "centred",
    "class_means",
    "cosine_centroid",
    "cosine_classifier",
    "fine_tuned",
    "linear_probe",
    "matching",
    "matching_logits",
    "nearest_centroid",
    "pairs_of",
    "prototypical_logits",
    "refined_centroid",
    "ridge",
    "score_episodes",
    "score_with",
    "sentence_encoder",
    "setfit",
    "train_episodic",
    "with_turned_classes",
]
