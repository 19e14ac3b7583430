"""The chord networks: BTC, 2E1D, and the files their weights come in.

Names load on first use, so that importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

# public name -> module that holds it
_LAZY = {
    "ChordModel": "common",
    "BTC": "btc",
    "BTCConfig": "btc",
    "TwoE1D": "twoe1d",
    "TwoE1DConfig": "twoe1d",
    "Checkpoint": "checkpoints",
    "LoadReport": "checkpoints",
    "average": "averaging",
    "convert": "checkpoints",
    "load_checkpoint": "checkpoints",
    "load_model": "checkpoints",
    "save_checkpoint": "checkpoints",
}

if TYPE_CHECKING:
    from .averaging import average as average
    from .btc import BTC as BTC
    from .btc import BTCConfig as BTCConfig
    from .checkpoints import Checkpoint as Checkpoint
    from .checkpoints import LoadReport as LoadReport
    from .checkpoints import convert as convert
    from .checkpoints import load_checkpoint as load_checkpoint
    from .checkpoints import load_model as load_model
    from .checkpoints import save_checkpoint as save_checkpoint
    from .common import ChordModel as ChordModel
    from .twoe1d import TwoE1D as TwoE1D
    from .twoe1d import TwoE1DConfig as TwoE1DConfig

__all__ = [
    "BTC",
    "BTCConfig",
    "Checkpoint",
    "ChordModel",
    "LoadReport",
    "TwoE1D",
    "TwoE1DConfig",
    "average",
    "convert",
    "load_checkpoint",
    "load_model",
    "save_checkpoint",
]


__getattr__ = attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return __all__
