"""The native operators: NumPy arrays and torch tensors in, the same kind out; raw operators are private.

Importing this does not import torch; an operator does when it is given a tensor.
"""

from .cqt import CqtStream, cqt
from .feature_plan import BTC, CREMA, CREMA_H1, CREMA_H2, FeaturePlan
from .ingest import IngestStream, ingest
from .viterbi import viterbi, viterbi_batch

__all__ = [
    "BTC",
    "CREMA",
    "CREMA_H1",
    "CREMA_H2",
    "CqtStream",
    "FeaturePlan",
    "IngestStream",
    "cqt",
    "ingest",
    "viterbi",
    "viterbi_batch",
]
