"""Networks trained for episodes: prototypical networks and matching networks, and fine-tuning within one episode."""

from __future__ import annotations

import copy
import functools
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tl_helpers import features, keys, runtime, store
from tl_helpers.data import Samples
from tl_helpers.fewshot.episodes import Episode, EpisodeSampler, score_episodes
from tl_helpers.heads import Head, class_means, matching, nearest_centroid
from tl_helpers.models import Backbone, Classifier
from tl_helpers.training import TrainingDiverged

LOGITS: dict[str, Head] = {"prototypical": nearest_centroid, "matching": matching}
"""What an episodic network is trained with, and answers with, by name."""


@dataclass(frozen=True)
class EpisodicRun:
    """What `train_episodic` did: the loss of each episode, float (episodes,), and the seconds of training.

    `validation` holds pairs: episodes so far, and accuracy in % over episodes of the validation classes. A run from the
    cache has the seconds of when it was computed.
    """

    losses: np.ndarray
    validation: tuple[tuple[int, float], ...]
    seconds: float


def train_episodic(
    backbone: Backbone,
    train: Samples,
    validation: Samples | None = None,
    *,
    kind: str = "prototypical",
    ways: int = 20,
    shots: int = 5,
    queries: int = 5,
    episodes: int = 400,
    lr: float = 2e-3,
    seed: int = 0,
    fresh: bool = False,
) -> EpisodicRun:
    """Train a backbone so that a simple head on its embeddings answers episodes; the backbone is changed in place.

    The kind is that of `LOGITS`; train and validation samples are of disjoint classes (`tl_helpers.data.load_meta_task`);
    ways, shots and queries are those of the training episodes: Snell et al. (2017) train with more ways than they test
    with. Adam, with half a cosine from `lr` down to 0. The weights with the best validation accuracy are kept (5-way
    1-shot over 200 episodes of the validation classes, looked at four times), or the last ones without `validation`. A
    run is stored in the cache and comes from there the next time, unless it is to be `fresh`.

    A ValueError for an unknown kind, fewer than one episode, a rate that is not above 0, or too few samples;
    TrainingDiverged if the loss is no longer finite.
    """
    if kind not in LOGITS:
        raise ValueError(f"Unknown kind {kind!r}: use {', '.join(LOGITS)}.")
    if episodes < 1 or not 0 < lr < float("inf"):
        raise ValueError(f"episodes={episodes}, lr={lr}: use 1 or more, and a rate above 0.")
    sampler = EpisodeSampler(train.labels, ways=ways, shots=shots, queries=queries, seed=seed)
    key = store.sure_name(
        "This run is",
        lambda: keys.fingerprint(
            "episodic", runtime.versions(), backbone, backbone.preprocessing, train.fingerprint,
            validation.fingerprint if validation else None, kind, ways, shots, queries, episodes, lr, seed,
            runtime.current().device.type, keys.code_name(_train, EpisodeSampler),
        ),
    )  # fmt: skip
    make = functools.partial(_train, backbone, train, validation, sampler, kind, episodes, lr)
    found = make() if fresh else store.shared("runs").compute(key, make)
    run = EpisodicRun(
        losses=found.pop("losses").numpy(),
        validation=tuple((int(number), float(accuracy)) for number, accuracy in found.pop("validation")),
        seconds=float(found.pop("seconds")),
    )
    backbone.load_state_dict(found)
    return run


def _train(
    backbone: Backbone,
    train: Samples,
    validation: Samples | None,
    sampler: EpisodeSampler,
    kind: str,
    episodes: int,
    lr: float,
) -> dict[str, torch.Tensor]:
    here = runtime.current()
    backbone.to(here.device).train()
    optimizer = torch.optim.Adam(backbone.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, episodes)
    losses, history, best, kept, seconds = [], [], -1.0, None, 0.0
    marks = {round(episodes * k / 4) for k in (1, 2, 3, 4)} if validation else set()
    held_out = EpisodeSampler(validation.labels, ways=5, shots=1, queries=10, seed=1) if validation else None
    for number in runtime.progress(range(1, episodes + 1), total=episodes, what=f"{kind} network on {train.name}"):
        start = time.perf_counter()
        episode = sampler[number - 1]
        both = torch.cat([train.inputs[episode.support], train.inputs[episode.query]])  # batch norm sees one batch
        embedded = backbone(backbone.prepare(both.to(here.device)))
        if not embedded.isfinite().all():
            raise TrainingDiverged(f"Episode {number} has NaN embeddings. Lower the learning rate ({lr:g}).")
        support, query = embedded.split([len(episode.support), len(episode.query)])
        labels = torch.from_numpy(episode.support_labels).to(here.device)
        answers = LOGITS[kind](support, labels, query)
        loss = functional.cross_entropy(answers, torch.from_numpy(episode.query_labels).to(here.device))
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise TrainingDiverged(f"The loss of episode {number} is {losses[-1]}. Lower the learning rate ({lr:g}).")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - start
        if number in marks:
            x = features.extract(backbone.eval(), validation)
            history.append((number, score_episodes(LOGITS[kind], x, held_out, count=200).accuracy))
            if history[-1][1] > best:
                best, kept = history[-1][1], copy.deepcopy(backbone.state_dict())
            backbone.train()
    backbone.eval()
    state = kept or backbone.state_dict()
    return {
        **{name: tensor.detach().cpu() for name, tensor in state.items()},
        "losses": torch.tensor(losses),
        "validation": torch.tensor(history or np.zeros((0, 2)), dtype=torch.float64),
        "seconds": torch.tensor(seconds),
    }


def fine_tuned(backbone: Backbone, samples: Samples, episode: Episode, *, steps: int = 10) -> np.ndarray:
    """Fine-tune a copy of the backbone and a linear head on an episode's support; scores of its queries, float32 (n * q, n).

    The head starts as the nearest centroid, which is linear too (Triantafillou et al. 2020), so no step is spent on
    finding what the class means say; 0 steps leave it there. Adam on the whole support at once, all layers at one rate;
    batch norm keeps the source's statistics, which a handful of samples cannot replace.
    """
    if steps < 0:
        raise ValueError(f"steps={steps}: use 0 or more.")
    device = runtime.current().device
    model = Classifier(copy.deepcopy(backbone), episode.ways).to(device).eval()
    x = backbone.prepare(samples.inputs[episode.support].to(device))
    y = torch.from_numpy(episode.support_labels).to(device)
    linear = model.head[-1]
    with torch.no_grad():
        means = class_means(model.backbone(x), y)
        linear.weight.copy_(2 * means)
        linear.bias.copy_(-(means**2).sum(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return model(backbone.prepare(samples.inputs[episode.query].to(device))).cpu().numpy()


def with_turned_classes(samples: Samples) -> Samples:
    """Four times as many classes: each also turned by a quarter, a half and three quarters (Santoro et al. 2016).

    For characters, whose turned forms count as other characters; used on meta-training classes only.
    """
    return Samples(
        name=f"{samples.name} turned",
        inputs=torch.cat([torch.rot90(samples.inputs, turns, dims=(2, 3)) for turns in range(4)]),
        labels=torch.cat([samples.labels + turns * len(samples.classes) for turns in range(4)]),
        classes=tuple(f"{name}, {90 * turns}°" for turns in range(4) for name in samples.classes),
        rows=np.tile(samples.rows, 4),
        extra={key: np.tile(column, 4) for key, column in samples.extra.items()},
        table=samples.table,
    )
