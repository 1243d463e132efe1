"""Naive: fine-tune on each experience in turn. What everything else is measured against."""

from __future__ import annotations

from tl_helpers.continual.strategy import Strategy


class Naive(Strategy):
    """Nothing against forgetting: the lower bound."""

    name = "naive"
