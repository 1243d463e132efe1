"""tl_helpers.book.studies.feature_extraction: what moved is told, stage by stage."""

import numpy as np
import pytest
import torch

from tl_helpers import freezing
from tl_helpers.book.studies.feature_extraction import crystals, variance_drift
from tl_helpers.models import Classifier, load_backbone


def test_drift_counts_doublings_of_the_stage_that_moved_and_of_no_other():
    model = Classifier(load_backbone("efficientnet_lite0", pretrained=False, seed=0), classes=2, seed=0)
    before = freezing.snapshot(model)
    with torch.no_grad():
        for layer in model.backbone.stages["stage2"].modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_var.copy_(4 * (layer.running_var + layer.eps) - layer.eps)
    moved = variance_drift(before, model)
    assert list(moved) == list(model.backbone.stage_names)
    assert moved.pop("stage2") == pytest.approx(2, abs=1e-4)
    assert set(moved.values()) == {0.0}


def test_rows_of_one_kind_keep_their_order():
    kind = np.array(["mono", "poly", "mono", "poly"])
    rows = {"train": np.array([3, 2, 0]), "test": np.array([1])}
    kept = crystals(rows, kind, "mono")
    assert kept["train"].tolist() == [2, 0]
    assert not len(kept["test"])
