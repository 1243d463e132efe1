"""Small tested tools behind the chapters of *Transfer Learning by Experiment*.

Read the modules in the order in which data flows: `runtime` and `cache` at the bottom, then `data`, `models`,
`freezing`, `features`, `training`, and `ledger`, `claims`, `chapter`, `plots`, `widgets`, `exercises` around them.
"""

from tl_helpers import runtime  # noqa: F401  first: it switches the hub libraries offline before they are imported

__version__ = "0.1.0"
