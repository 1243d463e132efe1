"""Training: `Recipe` says how, `fit` trains, `evaluate` scores, `range_test` looks for a rate.

run = fit(model, task.samples("train", 96), task.samples("validation", 96), Recipe(epochs=5, lr=1e-3), seed=0)
evaluate(model, task.samples("test", 96))["accuracy"]
"""

from tl_helpers.training.alignment import Alignment
from tl_helpers.training.loop import TrainingDiverged, fit, run_key
from tl_helpers.training.plugin import Plugin, Retention, Step
from tl_helpers.training.range_test import RangeTest, range_test
from tl_helpers.training.recipe import Recipe, line_at, rate_at
from tl_helpers.training.scoring import calibration_error, embed, evaluate, predict, score, softmax

__all__ = [
    "Alignment",
    "Plugin",
    "RangeTest",
    "Recipe",
    "Retention",
    "Step",
    "TrainingDiverged",
    "calibration_error",
    "embed",
    "evaluate",
    "fit",
    "line_at",
    "predict",
    "range_test",
    "rate_at",
    "run_key",
    "score",
    "softmax",
]
