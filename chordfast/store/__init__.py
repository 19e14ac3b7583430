"""Features and a teacher's posteriors, written once, read at random (docs/store.md)."""

from __future__ import annotations

from .exporting import FORMATS, export
from .identity import POSTERIORS, StoreIdentity
from .index import require_pyarrow
from .layout import writers
from .reader import Store
from .record import NO_AGREEMENT, OUTCOMES, Row, SongRecord
from .summary import summary
from .verifying import Damage, verify
from .versions import base_and_shift, shifted_id
from .writer import SHARD_BYTES, StoreWriter

__all__ = [
    "FORMATS",
    "NO_AGREEMENT",
    "OUTCOMES",
    "POSTERIORS",
    "SHARD_BYTES",
    "Damage",
    "Row",
    "SongRecord",
    "Store",
    "StoreIdentity",
    "StoreWriter",
    "base_and_shift",
    "export",
    "require_pyarrow",
    "shifted_id",
    "summary",
    "verify",
    "writers",
]
