"""The strategies, one short file each. A new one: subclass `Strategy` in a file of its own, and name it here."""

from tl_helpers.continual.strategies.agem import AGEM
from tl_helpers.continual.strategies.ewc import EWC
from tl_helpers.continual.strategies.gdumb import GDumb
from tl_helpers.continual.strategies.joint import Joint
from tl_helpers.continual.strategies.l2sp import L2SP
from tl_helpers.continual.strategies.labels_trick import LabelsTrick
from tl_helpers.continual.strategies.lwf import LwF
from tl_helpers.continual.strategies.naive import Naive
from tl_helpers.continual.strategies.nearest_mean import NearestMean, StreamingLDA
from tl_helpers.continual.strategies.online_ewc import OnlineEWC
from tl_helpers.continual.strategies.progressive import Progressive
from tl_helpers.continual.strategies.replay import Replay
from tl_helpers.continual.strategies.si import SI

__all__ = [
    "AGEM",
    "EWC",
    "L2SP",
    "SI",
    "GDumb",
    "Joint",
    "LabelsTrick",
    "LwF",
    "Naive",
    "NearestMean",
    "OnlineEWC",
    "Progressive",
    "Replay",
    "StreamingLDA",
]
