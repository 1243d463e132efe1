"""Frozen features: run a backbone once over the images, keep the result on disk. Chapters 1 to 3 live on this."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tl_helpers import keys, runtime, store
from tl_helpers.data import Samples
from tl_helpers.models import Backbone
from tl_helpers.models.backbone import pool_maps

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
    key = store.sure_name("These features are", lambda: feature_key(backbone, samples, stages, pooling))
    found = store.shared("features").compute(key, lambda: _run(backbone, samples, stages, pooling))
    return {name: found[name].numpy() for name in stages}


def feature_key(backbone: Backbone, samples: Samples, stages: Sequence[str], pooling: str) -> str:
    """The cache key of features: weights, pixels, preprocessing, stages, pooling, precision and the code itself."""
    here = runtime.current()
    data, how = keys.fingerprint(samples.inputs), [list(stages), pooling, here.precision, here.device.type]
    return keys.fingerprint(
        "features", runtime.versions(), backbone, backbone.preprocessing, data, *how, keys.code_name(_run)
    )


def _run(backbone: Backbone, samples: Samples, stages: Sequence[str], pooling: str) -> dict[str, torch.Tensor]:
    here = runtime.current()
    was_training = backbone.training
    backbone.eval().to(here.device)
    found: dict[str, list[torch.Tensor]] = {name: [] for name in stages}
    last = stages[-1] if len(stages) == 1 else backbone.stage_names[-1]
    order = backbone.batch_order(samples.inputs)
    starts = range(0, len(samples), BATCH)
    with torch.inference_mode(), here.autocast():
        for start in runtime.progress(starts, total=len(starts), what=f"features of {samples.name}"):
            x = backbone.prepare(samples.inputs[order[start : start + BATCH]].to(here.device))
            for name, stage in backbone.stages.items():
                x = stage(x)
                if name in found:
                    found[name].append(pool_maps(x.float(), pooling).cpu())
                if name == last:
                    break
    backbone.train(was_training)
    back = torch.argsort(order)
    return {name: torch.cat(parts)[back] for name, parts in found.items()}
