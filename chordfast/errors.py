"""The errors a user can cause; each message is one sentence: what, where, what to do."""

from __future__ import annotations


class ChordfastError(Exception):
    """Base of every error chordfast raises on purpose."""


class UsageError(ChordfastError, ValueError):
    """Arguments that do not fit together, or do not exist (exit code 2)."""


class AudioError(ChordfastError):
    """A recording that cannot be read; ``outcome`` is the word written to the manifest."""

    def __init__(self, message: str, outcome: str = "unreadable") -> None:
        super().__init__(message)
        self.outcome = outcome


class ModelError(ChordfastError):
    """Weights that are missing, altered, hostile, or do not fit the architecture."""


class LabelError(ChordfastError, ValueError):
    """A chord label outside the grammar, or a label file that cannot be read."""


class StoreError(ChordfastError):
    """A store that is damaged, or was made otherwise than it is asked for."""
