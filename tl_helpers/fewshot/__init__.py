"""Few-shot learning: episodes, networks trained for episodes, and learning to learn. Heads are in `tl_helpers.heads`."""

from tl_helpers.fewshot.episodes import Episode, EpisodeSampler, EpisodeScore, score_episodes, score_with
from tl_helpers.fewshot.meta import (
    EpisodeBatch,
    Learner,
    MetaRecipe,
    MetaRun,
    adapt,
    adapted_outputs,
    batch_of,
    meta_gradient,
    meta_train,
    mlp,
    small_conv,
)
from tl_helpers.fewshot.networks import EpisodicRun, fine_tuned, train_episodic, with_turned_classes
from tl_helpers.fewshot.sentences import pairs_of, sentence_encoder, setfit
