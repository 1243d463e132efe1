"""Exercises: `exercises.check("freeze-the-backbone", freeze_backbone)` in a notebook, the checks themselves here.

Stub and solution live in the notebook only; the check and the mistakes that it must catch live in `chNN.py`.
How to write one is told in `checking`.
"""

from tl_helpers.book.exercises.checking import Exercise, Feedback, Hint, check, exercise, registered

__all__ = ["Exercise", "Feedback", "Hint", "check", "exercise", "registered"]
