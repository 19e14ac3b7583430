"""Evaluation of chord annotations: mir_eval's scores, quality, calibration, intervals and tests, reports."""

from __future__ import annotations

from .chordmini import ChordMiniCorpus
from .comparison import COMPARISONS, INVERSIONS, MEASURES, SCORES, SEGMENTATION
from .corpus import Corpus
from .evaluation import Evaluation, evaluate
from .inputs import Issue, load, prepare
from .matching import read_split
from .report import write_report
from .song import score
from .statistics import bootstrap, paired

__all__ = [
    "COMPARISONS",
    "INVERSIONS",
    "MEASURES",
    "SCORES",
    "SEGMENTATION",
    "ChordMiniCorpus",
    "Corpus",
    "Evaluation",
    "Issue",
    "bootstrap",
    "evaluate",
    "load",
    "paired",
    "prepare",
    "read_split",
    "score",
    "write_report",
]
