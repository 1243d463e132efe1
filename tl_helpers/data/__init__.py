"""Tasks: what is to be learned, from which images, in which splits. Every chapter starts with `load_task`."""

from tl_helpers.data.corruptions import CORRUPTIONS, corrupt
from tl_helpers.data.domains import DomainPair, TargetLabelsError, Unlabelled, without_labels
from tl_helpers.data.errors import DataWarning, TaskError, UnreadableImageError
from tl_helpers.data.glyphs import MetaTask, load_meta_task
from tl_helpers.data.own import task_from
from tl_helpers.data.report import DataReport
from tl_helpers.data.sources import PACKAGED, load_task
from tl_helpers.data.splits import nested_subset, split_rows
from tl_helpers.data.task import Samples, Task
