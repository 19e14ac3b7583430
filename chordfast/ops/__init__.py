"""The native operators: NumPy arrays and torch tensors in, the same kind out; raw operators are private.

Importing this does not import torch; an operator does when it is given a tensor. kd_loss and attention take nothing but
tensors: their modules load with the first use of the name.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .cqt import CqtStream, cqt, cqt_flat
from .feature_plan import BTC, CREMA, CREMA_H1, CREMA_H2, FeaturePlan
from .gru import gru
from .hybrid_plan import LV, HybridPlan
from .ingest import IngestStream, ingest, ingest_flat
from .viterbi import viterbi, viterbi_batch

if TYPE_CHECKING:
    from .attention import attention as attention
    from .kd_loss import kd_loss as kd_loss

_LAZY = ("attention", "kd_loss")

__all__ = [
    "BTC",
    "CREMA",
    "CREMA_H1",
    "CREMA_H2",
    "LV",
    "CqtStream",
    "FeaturePlan",
    "HybridPlan",
    "IngestStream",
    "attention",
    "cqt",
    "cqt_flat",
    "gru",
    "ingest",
    "ingest_flat",
    "kd_loss",
    "viterbi",
    "viterbi_batch",
]


class _Package(ModuleType):
    """Importing a submodule sets it as the package's attribute; where a function has its name, the function stays."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, getattr(value, name) if name in _LAZY and isinstance(value, ModuleType) else value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{name}", __name__), name)
