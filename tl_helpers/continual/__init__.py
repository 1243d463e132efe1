"""Catastrophic forgetting and continual learning: streams of tasks, strategies against forgetting, and their metrics.

stream = split_stream(load_task("mnist5k"), "class")
outcome = run_stream(stream, Replay(size=200), make_model, Recipe(epochs=20, lr=1e-3), seed=0)
outcome.matrix, outcome.average_accuracy, outcome.forgetting
"""

from tl_helpers.continual.buffer import Buffer
from tl_helpers.continual.fisher import ESTIMATES, fisher_diagonal
from tl_helpers.continual.metrics import average_accuracy, backward_transfer, forgetting, forward_transfer
from tl_helpers.continual.source import KeepAnswers, between
from tl_helpers.continual.strategies.agem import AGEM, correction
from tl_helpers.continual.strategies.derpp import DERPlusPlus
from tl_helpers.continual.strategies.ewc import EWC, quadratic_penalty
from tl_helpers.continual.strategies.gdumb import GDumb
from tl_helpers.continual.strategies.joint import Joint
from tl_helpers.continual.strategies.l2sp import L2SP
from tl_helpers.continual.strategies.labels_trick import LabelsTrick
from tl_helpers.continual.strategies.lwf import LwF, distillation_loss
from tl_helpers.continual.strategies.naive import Naive
from tl_helpers.continual.strategies.nearest_mean import NearestMean, StreamingLDA
from tl_helpers.continual.strategies.online_ewc import OnlineEWC
from tl_helpers.continual.strategies.progressive import Progressive
from tl_helpers.continual.strategies.replay import Replay
from tl_helpers.continual.strategies.si import SI
from tl_helpers.continual.strategy import Outcome, Strategy, masked_cross_entropy, run_stream
from tl_helpers.continual.streams import (
    SCENARIOS,
    Experience,
    Stream,
    domain_stream,
    permuted_stream,
    rotated_stream,
    split_stream,
    together,
)
