"""Annotations: chord segments of a recording, their files, and their frames."""

from __future__ import annotations

from .annotation import Annotation
from .dialects import SPELLINGS, lead_sheet, respell
from .formats import BINARY_FORMATS, FORMATS, dumps, encode, write
from .frames import FRAME_PERIOD, frame_classes
from .json_reader import read_json
from .lab import read_lab
from .parquet import parquet, read_parquet
from .reading import READABLE, format_of, read, read_places

__all__ = [
    "BINARY_FORMATS",
    "FORMATS",
    "FRAME_PERIOD",
    "READABLE",
    "SPELLINGS",
    "Annotation",
    "dumps",
    "encode",
    "format_of",
    "frame_classes",
    "lead_sheet",
    "parquet",
    "read",
    "read_json",
    "read_lab",
    "read_parquet",
    "read_places",
    "respell",
    "write",
]
