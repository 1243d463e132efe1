"""Every unit test has a cache folder of its own, one thread, and no progress bars."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from tl_helpers import runtime
from tl_helpers.data import Samples
from tl_helpers.models import Classifier, load_backbone

# Nothing depends on a clock or on an earlier run: no deadlines, and the same examples each time. To search for others:
# pytest --hypothesis-profile=default --hypothesis-seed=random
settings.register_profile("book", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("book")


def plain_settings(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Not what the reader of this machine has set or stored."""
    for name, value in {"TL_CACHE": str(cache), "TL_THREADS": "1", "TL_DEVICE": "cpu", "TL_PROGRESS": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in ("TL_PRECISION", "TL_FRESH", "TL_ONLINE"):
        monkeypatch.delenv(name, raising=False)
    runtime.current.cache_clear()


@pytest.fixture(autouse=True, scope="session")
def common_cache(tmp_path_factory):
    """Where a module's fixture reads and stores, before `own_cache` of the first test that asks for it; cold at first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common-cache"  # of all workers
    with pytest.MonkeyPatch.context() as monkeypatch:
        plain_settings(monkeypatch, folder)
        yield folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A fresh runtime on a cold cache."""
    plain_settings(monkeypatch, tmp_path / "cache")
    yield tmp_path / "cache"
    runtime.current.cache_clear()


@pytest.fixture
def decoded_once(own_cache, common_cache):
    """For tests that are about what is in the images: those of the packaged tasks are decoded once for all of them."""
    images = common_cache / "images"
    images.mkdir(parents=True, exist_ok=True)
    own_cache.mkdir(exist_ok=True)
    (own_cache / "images").symlink_to(images)


def stripes(n: int = 64, size: int = 28, seed: int = 0, classes: int = 2, name: str = "stripes/train") -> Samples:
    """Noisy images with dark columns (class 0), dark rows (1) or neither (2): learnable in a second."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = rng.integers(90, 166, size=(n, 1, size, size))
    for image, label in zip(pixels, labels, strict=True):
        start = rng.integers(0, 4)
        if label == 0:
            image[0, :, start::4] -= 80
        elif label == 1:
            image[0, start::4, :] -= 80
    return Samples(
        name=name,
        pixels=torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)),
        labels=torch.from_numpy(labels),
        classes=("columns", "rows", "neither")[:classes],
        rows=np.arange(n),
    )


def small_model(classes: int = 2, seed: int = 0, dropout: float = 0.0) -> Classifier:
    """The small digit network with random weights and a new head."""
    return Classifier(load_backbone("digit_cnn", pretrained=False, seed=seed), classes, dropout=dropout, seed=seed)
