"""One interface for every zero-shot classifier: samples and names go into one space, the nearest name is the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torchvision.models._meta import _IMAGENET_CATEGORIES

from tl_helpers import features, runtime
from tl_helpers.data import Samples
from tl_helpers.models import load_imagenet_classifier
from tl_helpers.training.scoring import softmax
from tl_helpers.zeroshot.labels import check_names, embed_labels, embed_texts, fill, remembered_backbone
from tl_helpers.zeroshot.maps import LinearMap, conse
from tl_helpers.zeroshot.scores import cosine

IMAGENET_NAMES: tuple[str, ...] = tuple(_IMAGENET_CATEGORIES)
"""Names of the thousand classes, in the order of the classifier's outputs."""

BATCH = 32


@dataclass(frozen=True)
class ZeroShot:
    """Two functions into one space, and that is all a zero-shot classifier is.

    One takes N `Samples` to a float array (N, d), the other L names and a template to (L, d).
    """

    embed_samples: Callable[[Samples], np.ndarray]
    embed_names: Callable[[Sequence[str], str | Sequence[str]], np.ndarray]

    def scores(self, samples: Samples, names: Sequence[str], template: str | Sequence[str] = "{}") -> np.ndarray:
        """Cosines of samples and names: float64, shape (N, L).

        A ValueError for names that cannot be labels (see `check_names`), NaN, or spaces that do not fit.
        """
        return cosine(self.embed_samples(samples), self.embed_names(check_names(names), template))

    def predict(self, samples: Samples, names: Sequence[str]) -> np.ndarray:
        """Which name is nearest: int, shape (N,)."""
        return self.scores(samples, names).argmax(axis=1)


def nearest_text() -> ZeroShot:
    """Sentences and label descriptions by one encoder, all-MiniLM-L6-v2."""
    return ZeroShot(lambda samples: embed_texts(samples.texts), embed_labels)


def by_conse(*, top: int = 10) -> ZeroShot:
    """Images by the names of the ImageNet classes that they look like (`conse`); nothing is trained."""
    return ZeroShot(lambda samples: conse(imagenet_probabilities(samples), imagenet_labels(), top=top), embed_labels)


def lite0_features(samples: Samples) -> np.ndarray:
    """What EfficientNet-Lite0 makes of images, from the cache: float32, shape (N, 1280)."""
    return features.extract(remembered_backbone("efficientnet_lite0"), samples)


def by_map(mapping: LinearMap, embed: Callable[[Samples], np.ndarray] = lite0_features) -> ZeroShot:
    """Images by a learned map to names: see `ridge_map`, `ranking_map`.

    `embed` gives the features that the map was trained on, `Samples` to (N, p).
    """
    return ZeroShot(lambda samples: mapping(embed(samples)), embed_labels)


def by_clip(source: str | Path = "openai/clip-vit-base-patch32") -> ZeroShot:
    """CLIP (Radford et al. 2021) from the hub, or from a folder with its files: images and names trained together.

    The source is a name on the hub (a RuntimeError unless ``TL_ONLINE=1``), or a local folder with ``config.json``,
    safetensors weights and the processor's files.
    """
    local = Path(source).is_dir()
    if not local:
        runtime.require_online(f"The weights of {source}")
    from transformers import CLIPModel, CLIPProcessor  # here: this import takes seconds

    device = runtime.current().device
    model = CLIPModel.from_pretrained(source, use_safetensors=True, local_files_only=local).eval().to(device)
    processor = CLIPProcessor.from_pretrained(source, local_files_only=local)

    def run(call: Callable[..., Any], **inputs: torch.Tensor) -> torch.Tensor:
        found = call(**{name: tensor.to(device) for name, tensor in inputs.items()}).pooler_output
        return functional.normalize(found.float().cpu(), dim=1)

    @torch.inference_mode()
    def embed_samples(samples: Samples) -> np.ndarray:
        parts = []
        for pixels in samples.inputs.expand(-1, 3, -1, -1).split(BATCH):
            images = [Image.fromarray(image) for image in pixels.permute(0, 2, 3, 1).numpy()]
            inputs = processor(images=images, return_tensors="pt")
            parts.append(run(model.get_image_features, pixel_values=inputs["pixel_values"]))
        return torch.cat(parts).numpy()

    @torch.inference_mode()
    def embed_names(names: Sequence[str], templates: str | Sequence[str]) -> np.ndarray:
        total = 0.0
        for template in [templates] if isinstance(templates, str) else templates:
            inputs = processor(text=fill(template, names), return_tensors="pt", padding=True, truncation=True)
            wanted = {key: inputs[key] for key in ("input_ids", "attention_mask")}
            total = total + run(model.get_text_features, **wanted)
        return functional.normalize(total, dim=1).numpy()

    return ZeroShot(embed_samples, embed_names)


def imagenet_probabilities(samples: Samples) -> np.ndarray:
    """What the ImageNet classifier answers, from the cached features: float64, shape (N, 1000)."""
    return probabilities_of(lite0_features(samples))


def probabilities_of(x: np.ndarray) -> np.ndarray:
    """ImageNet probabilities (N, 1000) from features of EfficientNet-Lite0 (N, 1280): its last linear layer, and softmax."""
    head = _imagenet_head()
    if x.ndim != 2 or x.shape[1] != head.in_features:
        raise ValueError(f"features have shape {x.shape}; the ImageNet head takes (N, {head.in_features}).")
    with torch.inference_mode():
        return softmax(head(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))).numpy())


def imagenet_labels() -> np.ndarray:
    """Embeddings of the names of the ImageNet classes: float32, shape (1000, 384), of length 1."""
    return embed_texts(IMAGENET_NAMES)


@functools.lru_cache(maxsize=1)
def _imagenet_head() -> torch.nn.Linear:
    return load_imagenet_classifier().get_classifier()
