"""From class posteriors to chord segments: windows, votes, smoothing, Viterbi, segments. Imports no torch."""

from __future__ import annotations

from ..ops.viterbi import viterbi
from .chordmini import chordmini_classes
from .options import DecodingOptions, options_hash
from .pipeline import FRAME_PERIOD, decode, frame_classes
from .segments import Segments, merge_short, segments
from .smoothing import majority, smooth
from .windows import average, softmax, stride_of, tent, vote, windows

__all__ = [
    "FRAME_PERIOD",
    "DecodingOptions",
    "Segments",
    "average",
    "chordmini_classes",
    "decode",
    "frame_classes",
    "majority",
    "merge_short",
    "options_hash",
    "segments",
    "smooth",
    "softmax",
    "stride_of",
    "tent",
    "viterbi",
    "vote",
    "windows",
]
