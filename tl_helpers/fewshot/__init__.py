"""Few-shot learning: episodes, heads on frozen features, networks trained for episodes, and learning to learn."""

from tl_helpers.fewshot.episodes import Episode, EpisodeSampler, EpisodeScore, Head, score_episodes, score_with

__all__ = [
    "Episode",
    "EpisodeSampler",
    "EpisodeScore",
    "Head",
    "score_episodes",
    "score_with",
]
