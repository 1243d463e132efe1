"""Training: `Recipe` says how, `fit` trains, a `Method` adds to it, `evaluate` scores, `range_test` looks for a rate.

run = fit(model, task.samples("train", 96), task.samples("validation", 96), Recipe(epochs=5, lr=1e-3), seed=0)
evaluate(model, task.samples("test", 96))["accuracy"]
"""

from tl_helpers.training.fitting import fit, run_key
from tl_helpers.training.inputs import Batches
from tl_helpers.training.loop import Trained, optimizer_of, train
from tl_helpers.training.method import L2SP, Method, Step, cross_entropy
from tl_helpers.training.range_test import RangeTest, range_test
from tl_helpers.training.recipe import Recipe, line_at, rate_at
from tl_helpers.training.scoring import TrainingDiverged, calibration_error, embed, evaluate, predict, score, softmax
from tl_helpers.training.watcher import Retention, Watcher
