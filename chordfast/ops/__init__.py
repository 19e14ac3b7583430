"""The native operators: NumPy arrays and torch tensors in, the same kind out; raw operators are private.

Importing this does not import torch; an operator does when it is given a tensor. kd_loss, attention, conv3, layer_norm
and what belongs to it take nothing but tensors: their modules load with the first use of the name.
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
    from .conv3 import conv3 as conv3
    from .kd_loss import kd_loss as kd_loss
    from .layer_norm import branch_dropout_norm as branch_dropout_norm
    from .layer_norm import dropout as dropout
    from .layer_norm import dropout_add as dropout_add
    from .layer_norm import dropout_add_cat as dropout_add_cat
    from .layer_norm import layer_norm as layer_norm
    from .layer_norm import layer_norm_relu_dropout as layer_norm_relu_dropout
    from .layer_norm import relu_dropout as relu_dropout
    from .layer_norm import residual_dropout_norm as residual_dropout_norm

_LAZY = {  # name: module
    "attention": "attention",
    "branch_dropout_norm": "layer_norm",
    "conv3": "conv3",
    "dropout": "layer_norm",
    "dropout_add": "layer_norm",
    "dropout_add_cat": "layer_norm",
    "kd_loss": "kd_loss",
    "layer_norm": "layer_norm",
    "layer_norm_relu_dropout": "layer_norm",
    "relu_dropout": "layer_norm",
    "residual_dropout_norm": "layer_norm",
}

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
    "branch_dropout_norm",
    "conv3",
    "cqt",
    "cqt_flat",
    "dropout",
    "dropout_add",
    "dropout_add_cat",
    "gru",
    "ingest",
    "ingest_flat",
    "kd_loss",
    "layer_norm",
    "layer_norm_relu_dropout",
    "relu_dropout",
    "residual_dropout_norm",
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
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
