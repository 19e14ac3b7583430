"""Annotations: chord segments of a recording, their files, and their frames."""

from __future__ import annotations

from .annotation import Annotation
from .formats import FORMATS, dumps, write
from .frames import FRAME_PERIOD, frame_classes
from .json_reader import read_json
from .lab import read_lab

__all__ = ["FORMATS", "FRAME_PERIOD", "Annotation", "dumps", "frame_classes", "read_json", "read_lab", "write"]
