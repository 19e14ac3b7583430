"""NVTX ranges around pipeline stages; no-ops unless ``CHORDFAST_NVTX=1`` and nvtx is importable."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_DOMAIN = None
if os.environ.get("CHORDFAST_NVTX") == "1":
    with contextlib.suppress(ImportError):
        import nvtx

        _DOMAIN = nvtx.get_domain("chordfast")


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Mark a stage (hash, decode, ingest, cqt, ring, upload, model, chords, write, store) for Nsight; free when off."""
    if _DOMAIN is None:
        yield
        return
    attributes = _DOMAIN.get_event_attributes(message=name)
    _DOMAIN.push_range(attributes)
    try:
        yield
    finally:
        _DOMAIN.pop_range()
