"""Features of recordings: decode, mix down and resample, constant-Q transform. Imports no torch."""

from .extraction import Song, extract, extract_samples, extract_song, features_hash

__all__ = ["Song", "extract", "extract_samples", "extract_song", "features_hash"]
