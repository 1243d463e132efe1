"""Small things to train on, and to train."""

import contextlib
import random
import threading

import numpy as np
import torch

from tl_helpers.data import Samples
from tl_helpers.models import Classifier, load_backbone


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
        inputs=torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)),
        labels=torch.from_numpy(labels),
        classes=("columns", "rows", "neither")[:classes],
        rows=np.arange(n),
    )


def small_model(classes: int = 2, seed: int = 0, dropout: float = 0.0) -> Classifier:
    """The small digit network with random weights and a new head."""
    return Classifier(load_backbone("digit_cnn", pretrained=False, seed=seed), classes, dropout=dropout, seed=seed)


@contextlib.contextmanager
def meddling():
    """Another thread that draws from the global generators, and reseeds them, all the time."""
    done, rounds = threading.Event(), []

    def meddle():
        while not done.is_set():
            _ = torch.rand(5), np.random.rand(), random.random()
            for seed in (torch.manual_seed, np.random.seed, random.seed):
                seed(len(rounds))
            rounds.append(1)

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert rounds
