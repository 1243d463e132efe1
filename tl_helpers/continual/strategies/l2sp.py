"""L2-SP: all weights are held back alike, whether they mattered or not."""

from __future__ import annotations

import dataclasses

from tl_helpers.continual.strategy import Strategy
from tl_helpers.training import Recipe


class L2SP(Strategy):
    """L2-SP (Li et al. 2018): the backbone is pulled to where it was before the experience; see ``Recipe.l2_sp``.

    Parameters
    ----------
    strength : float
        0 or more.
    """

    name = "L2-SP"

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__(strength=strength)
        self.strength = strength

    def recipe(self, recipe: Recipe) -> Recipe:
        return dataclasses.replace(recipe, l2_sp=self.strength if self.now else 0.0)
