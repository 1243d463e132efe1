"""Multi-task learning: one backbone for several tasks, some labels missing, and weightings of their losses.

targets = Target("defect", ("sound", "defective")), Target("severity")
model = MultiTaskClassifier(backbone, targets)
fit(model, with_labels(samples, defect=..., severity=...), None, Recipe(), method=HardSharing(targets))
score_tasks(model, test)["defect"]["auc"]
"""

from tl_helpers.multitask.affinity import Observed, affinity_matrix, gradient_cosines, lookahead_affinity
from tl_helpers.multitask.gradnorm import GradNorm, balance_gradient, last_shared
from tl_helpers.multitask.model import CrossStitch, Heads, MultiTaskClassifier, by_task
from tl_helpers.multitask.pcgrad import PCGrad, without_conflicts
from tl_helpers.multitask.sharing import HardSharing, gradients_of, score_tasks, scored_tasks, shared_of
from tl_helpers.multitask.targets import MISSING, Target, pool, with_labels
from tl_helpers.multitask.uncertainty import Uncertainty
