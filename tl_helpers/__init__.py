"""Small tested tools behind the chapters of *Transfer Learning by Experiment*.

Read the modules in the order in which data flows: `runtime`, `stats`, `store` and `ledger` at the bottom, then `data`,
`models`, `freezing`, `features`, `training`, and on these the folders of methods. `book` is the book's own furniture:
nothing else imports from it.
"""

from tl_helpers import runtime  # noqa: F401  first: it switches the hub libraries offline before they are imported

__version__ = "0.1.0"
