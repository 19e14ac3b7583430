"""``--store``: the store a run fills beside the label files, and which songs are in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError, UsageError
from ..features import features_hash
from ..ops.feature_plan import BTC, FeaturePlan
from ..store import POSTERIORS, Store, StoreIdentity, StoreWriter, require_pyarrow
from . import recognise
from .shards import Shard

if TYPE_CHECKING:
    from ..teachers import Recogniser


@dataclass(frozen=True)
class Storing:
    """A store that is asked for: its folder, its identity, and the name under which this run writes to it."""

    path: Path
    identity: StoreIdentity
    writer: str = "0"

    @classmethod
    def asked(
        cls, path: str | os.PathLike[str] | None, recogniser: Recogniser, quality: str, options_hash: str,
        posteriors: str, top: int, part: Shard | None,
    ) -> Storing | None:  # fmt: skip
        """What --store, --store-posteriors and --top ask for; None without a store.

        UsageError when pyarrow is missing or a value is impossible, StoreError when the folder is no such store.
        """
        if path is None:
            return None
        if posteriors not in POSTERIORS:
            raise UsageError(f"unknown kind of posteriors {posteriors!r}; choose from {', '.join(POSTERIORS)}")
        require_pyarrow()  # now, not when the shards are sealed
        kind: Any = posteriors
        identity = StoreIdentity(
            BTC, features_hash((BTC,), quality), recogniser.name, recogniser.hash, recogniser.classes, options_hash,
            kind, top if posteriors == "topk" else 8,
        )  # fmt: skip
        return cls(Path(path), identity, part.name if part else "0")

    def songs(self) -> frozenset[str]:
        """Keys of the songs that are in the store now, sealed or not; StoreError when it was made otherwise."""
        if not (self.path / "store.json").exists():
            return frozenset()
        store = Store(self.path)
        if difference := store.identity.difference(self.identity):
            raise StoreError(f"the store {self.path} has {difference}; give this run another folder for its store")
        return frozenset(row.id for row in store.rows)

    def open(self) -> StoreWriter:
        return StoreWriter(self.path, self.identity, self.writer)


def stored_songs(path: str, identity_hash: str) -> frozenset[str]:
    """Keys of the songs in the store at ``path``, none when it is gone or has another identity."""
    if not os.path.exists(os.path.join(path, "store.json")):
        return frozenset()
    store = Store(path)
    return frozenset(row.id for row in store.rows) if store.identity.hash == identity_hash else frozenset()


def plans_with(recogniser: Recogniser, storing: Storing | None) -> tuple[tuple[FeaturePlan, ...], int | None]:
    """The plans to compute, the recogniser's first, and which of them goes to the store (None without one)."""
    plans = recognise.plans_for(recogniser)
    if storing is None:
        return plans, None
    if BTC not in plans:
        plans = (*plans, BTC)
    return plans, plans.index(BTC)
