"""What can be wrong with data."""

from __future__ import annotations


class TaskError(ValueError):
    """The data cannot be a task as it is; the message says what to change."""


class UnreadableImageError(TaskError):
    """An image file could not be decoded; the message names it."""


class DataWarning(UserWarning):
    """Something of the data is not used, or was decided for you: what, and where to read about it."""
