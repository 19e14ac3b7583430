"""Recordings from files: one block-wise reader over soundfile and, when installed, PyAV; and the search for them."""

from __future__ import annotations

from .finding import AUDIO_SUFFIXES, find_audio
from .opening import open_audio
from .reading import AudioInfo, AudioReader

__all__ = ["AUDIO_SUFFIXES", "AudioInfo", "AudioReader", "find_audio", "open_audio"]
