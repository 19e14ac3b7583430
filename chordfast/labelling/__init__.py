"""Labelling: one recording (`label`), or any number with workers, a manifest and resuming (`label_folder`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

if TYPE_CHECKING:
    from .folder import label_folder as label_folder
    from .single import label as label
    from .summary import LabellingInterrupted as LabellingInterrupted
    from .summary import OutputError as OutputError
    from .summary import Summary as Summary

# Loaded with the first use: a worker process imports this package too and needs none of it.
_LAZY = {
    "label": "single",
    "label_folder": "folder",
    "LabellingInterrupted": "summary",
    "OutputError": "summary",
    "Summary": "summary",
}
__all__ = ["LabellingInterrupted", "OutputError", "Summary", "label", "label_folder"]


__getattr__ = attributes(__name__, _LAZY)
