"""The truth behind the operators: plain NumPy, float64, importing nothing of chordfast."""

from . import cqt, gru, ingest, viterbi

__all__ = ["cqt", "gru", "ingest", "viterbi"]
