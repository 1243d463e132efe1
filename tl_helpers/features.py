"""Frozen features: run a backbone once over the images, keep the result on disk. Chapters 1 to 3 live on this."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tl_helpers import keys, runtime, store
from tl_helpers.data import Samples
from tl_helpers.frozen import Prefix
from tl_helpers.models import Backbone
from tl_helpers.models.backbone import pool_maps
from tl_helpers.models.text import warn_of_cut_texts

BATCH = 32


def extract(backbone: Backbone, samples: Samples, *, pooling: str = "avg") -> np.ndarray:
    """Embeddings of all samples, float32 (N, dim), computed once per machine.

    The weights are part of the cache key: change one and the features are computed anew. Samples have the size at which
    the backbone should see them; the last feature maps become a vector by ``avg``, ``max``, ``avg+max`` or ``flat``
    pooling.
    """
    last = backbone.stage_names[-1]
    return extract_stages(backbone, samples, stages=[last], pooling=pooling)[last]


def extract_stages(
    backbone: Backbone, samples: Samples, *, stages: Sequence[str] | None = None, pooling: str = "avg"
) -> dict[str, np.ndarray]:
    """Pooled features after several stages (all by default), from one pass: float32 (N, channels of the stage), by name.

    A ValueError for an unknown stage or pooling, or no samples.
    """
    stages = tuple(stages or backbone.stage_names)
    unknown = set(stages) - set(backbone.stage_names)
    if unknown:
        names = ", ".join(backbone.stage_names)
        raise ValueError(f"{backbone.name} has no stage {', '.join(sorted(unknown))}: {names}.")
    if not len(samples):
        raise ValueError(f"{samples.name} has no samples to extract features from.")
    warn_of_cut_texts(backbone, samples)
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        prefix = Prefix(backbone, max(backbone.stage_names.index(name) for name in stages) + 1)
        key = store.sure_name("These features are", lambda: feature_key(prefix, samples, stages, pooling))
        found = store.shared("features").compute(key, lambda: _run(prefix, samples, stages, pooling))
    finally:
        for module, training in modes:
            module.training = training
    return {name: found[name].numpy() for name in stages}


def feature_key(prefix: Prefix, samples: Samples, stages: Sequence[str], pooling: str) -> str:
    """The cache key of features: weights, pixels, preprocessing, stages, pooling, precision, engine and the code itself."""
    here, backbone = runtime.current(), prefix.backbone
    how = [list(stages), pooling, here.precision, here.device.type, list(prefix.engines)]
    return keys.fingerprint(
        "features", runtime.versions(), backbone, backbone.preprocessing, keys.fingerprint(samples.inputs), *how,
        keys.code_name(_run),
    )  # fmt: skip


def _run(prefix: Prefix, samples: Samples, stages: Sequence[str], pooling: str) -> dict[str, torch.Tensor]:
    places = {prefix.backbone.stage_names.index(name) + 1: name for name in stages}
    order = prefix.backbone.batch_order(samples.inputs)
    starts, found = range(0, len(samples), BATCH), {}
    for start in runtime.progress(starts, total=len(starts), what=f"features of {samples.name}"):
        which = order[start : start + BATCH]
        for place, maps in prefix(samples.inputs[which], 0, sorted(places)).items():
            vectors, name = pool_maps(maps.float(), pooling).cpu(), places[place]
            found.setdefault(name, vectors.new_empty((len(samples), *vectors.shape[1:])))[which] = vectors
    return found
