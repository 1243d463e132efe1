"""SetFit (Tunstall et al. 2022): fine-tune a sentence encoder on pairs of few labelled sentences, then fit a linear head."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers.utils import logging

from tl_helpers import runtime
from tl_helpers.models.text import MINILM_SHA256, minilm_folder
from tl_helpers.models.weights import checked_bytes
from tl_helpers.training import TrainingDiverged

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def sentence_encoder() -> SentenceTransformer:
    """The packaged all-MiniLM-L6-v2 as a `SentenceTransformer`; a WeightsError for a missing or damaged weight file.

    Sentences of more than 64 tokens are cut off.
    """
    from sentence_transformers import SentenceTransformer  # here: this import takes seconds

    checked_bytes(minilm_folder() / "model.safetensors", MINILM_SHA256)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # it takes a moment; its bar would stay in the page
    try:
        encoder = SentenceTransformer(str(minilm_folder()), device=str(runtime.current().device), local_files_only=True)
    finally:
        if shown:
            logging.enable_progress_bar()
    encoder.max_seq_length = 64
    return encoder


def pairs_of(labels: Sequence[int] | np.ndarray, *, count: int, seed: int = 0) -> list[tuple[int, int, float]]:
    """Pairs of sentences to pull together (1.0: same class) and push apart (0.0), half of each.

    Each is two positions and the cosine that they should have. Drawn without repetition as long as there are enough,
    then from the beginning again. A ValueError for one class only, fewer than two samples of every class, or fewer than
    two pairs.
    """
    labels = np.asarray(labels)
    if count < 2:
        raise ValueError(f"count={count}: use 2 pairs or more.")
    if len(np.unique(labels)) < 2:
        raise ValueError("Only one class: there is nothing to push apart. Give sentences of two classes or more.")
    every = list(itertools.combinations(range(len(labels)), 2))
    same = [pair for pair in every if labels[pair[0]] == labels[pair[1]]]
    if not same:
        raise ValueError("One sentence a class: there is nothing to pull together. Give two or more of a class.")
    other = [pair for pair in every if labels[pair[0]] != labels[pair[1]]]
    random = np.random.default_rng(seed)
    wanted = {1.0: count - count // 2, 0.0: count // 2}
    found = []
    for target, pairs in ((1.0, same), (0.0, other)):
        order: list[int] = []
        while len(order) < wanted[target]:
            order += random.permutation(len(pairs)).tolist()
        found += [(*pairs[k], target) for k in order[: wanted[target]]]
    return [found[k] for k in random.permutation(len(found))]


def setfit(
    encoder: SentenceTransformer,
    texts: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    *,
    iterations: int = 20,
    batch_size: int = 16,
    lr: float = 2e-5,
    seed: int = 0,
) -> list[float]:
    """Fine-tune a sentence encoder on pairs, in place: the first half of SetFit; the other is a linear head.

    One pass over ``2 * iterations * len(texts)`` pairs (see `pairs_of`), `batch_size` in a step, with the cosine loss of
    sentence-transformers, AdamW, a rate that rises linearly to `lr` in a tenth of the steps and falls in the others: the
    defaults of Tunstall et al. (2022). The seed is that of the pairs and of dropout. Returns the loss of each step.

    A ValueError for an empty text, labels that do not fit, or what `pairs_of` refuses; TrainingDiverged if the loss is
    no longer finite.
    """
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss  # here: the import takes seconds

    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts, but {len(labels)} labels: give one for each.")
    if iterations < 1 or batch_size < 1 or not 0 < lr < float("inf"):
        raise ValueError(
            f"iterations={iterations}, batch_size={batch_size}, lr={lr}: use 1 or more, and a rate above 0."
        )
    empty = [number for number, text in enumerate(texts) if not text.strip()]
    if empty:
        raise ValueError(f"Text {empty[0]} is empty. Fill it in or leave it out.")
    pairs = pairs_of(labels, count=2 * iterations * len(texts), seed=seed)
    batches = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]
    loss_of = CosineSimilarityLoss(encoder)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=lr)
    rise = max(1, round(0.1 * len(batches)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, (len(batches) - step) / max(1, len(batches) - rise))
    )
    losses = []
    encoder.train()
    with runtime.RandomNumbers(seed):
        for batch in runtime.progress(batches, total=len(batches), what="SetFit pairs"):
            ones, others, targets = zip(*batch, strict=True)
            given = [encoder.preprocess([texts[place] for place in side]) for side in (ones, others)]
            moved = [{k: v.to(encoder.device) for k, v in one.items() if torch.is_tensor(v)} for one in given]
            loss = loss_of(moved, torch.tensor(targets, device=encoder.device))
            losses.append(float(loss.detach()))
            if not np.isfinite(losses[-1]):
                raise TrainingDiverged(f"SetFit's loss is {losses[-1]}. Lower the learning rate ({lr:g}).")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    encoder.eval()
    return losses
