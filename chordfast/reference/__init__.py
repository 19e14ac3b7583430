"""The truth behind the operators: plain NumPy, float64, importing nothing of chordfast."""

from . import cqt, ingest, viterbi

__all__ = ["cqt", "ingest", "viterbi"]
