"""Features of recordings: decode, mix down and resample, constant-Q transform. Imports no torch."""

from .extraction import (
    Extractor,
    Song,
    extract,
    extract_samples,
    extract_song,
    extractor_for,
    features_hash,
    plans_of,
    stream_song,
)

__all__ = [
    "Extractor",
    "Song",
    "extract",
    "extract_samples",
    "extract_song",
    "extractor_for",
    "features_hash",
    "plans_of",
    "stream_song",
]
