"""Damaged recordings of every format we read, damaged alike for the same seed: bit flips, cuts, spliced headers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

SECONDS = 0.8
# suffix -> (libsndfile's format, subtype, sample rate); two kinds of one suffix are told apart by a word before it
_SOUNDFILE = {
    "wav": ("WAV", "PCM_16", 22050), "float.wav": ("WAV", "FLOAT", 44100), "deep.wav": ("WAVEX", "PCM_24", 48000),
    "law.wav": ("WAV", "ULAW", 8000), "flac": ("FLAC", "PCM_16", 22050), "ogg": ("OGG", "VORBIS", 22050),
    "opus": ("OGG", "OPUS", 24000), "mp3": ("MP3", "MPEG_LAYER_III", 22050), "aiff": ("AIFF", "PCM_16", 22050),
    "au": ("AU", "PCM_16", 22050), "caf": ("CAF", "PCM_16", 22050), "w64": ("W64", "PCM_16", 22050),
    "rf64": ("RF64", "PCM_16", 22050),
}  # fmt: skip
# suffix -> (FFmpeg's container, codec)
_FFMPEG = {
    "m4a": ("ipod", "aac"), "lossless.m4a": ("ipod", "alac"), "aac": ("adts", "aac"), "webm": ("webm", "libopus"),
    "mka": ("matroska", "ac3"), "wma": ("asf", "aac"), "mp2": ("mp2", "mp2"),
}  # fmt: skip


def seeds() -> dict[str, bytes]:
    """A short triad in every format that can be written here, by suffix; stereo where the word has no dot."""
    found = {}
    for suffix, (kind, subtype, rate) in _SOUNDFILE.items():
        out = io.BytesIO()
        soundfile.write(out, _triad(rate, 1 + ("." not in suffix)).T, rate, subtype, format=kind)
        found[suffix] = out.getvalue()
    try:
        import av
    except ImportError:
        return found
    for suffix, (container, codec) in _FFMPEG.items():
        with contextlib.suppress(ValueError):  # a build of FFmpeg that does not encode it
            found[suffix] = _encode(av, container, codec)
    return found


def _triad(rate: int, channels: int) -> np.ndarray:
    t = np.arange(int(SECONDS * rate)) / rate
    mono = 0.1 * sum(np.sin(2 * np.pi * f * t) for f in (261.6, 329.6, 392.0))
    return np.repeat(mono[None].astype(np.float32), channels, axis=0)


def _encode(av, container: str, codec: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container, options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream(codec, rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(_triad(48000, 2), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        fifo = av.AudioFifo()
        fifo.write(frame)
        while (part := fifo.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
            for packet in stream.encode(part):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return out.getvalue()


def _flip(data: bytearray, random: np.random.Generator, reach: int) -> bytearray:
    for place in random.integers(0, min(len(data), reach), random.integers(1, 33)):
        data[place] ^= 1 << int(random.integers(8))
    return data


def _cut_out(data: bytearray, random: np.random.Generator) -> bytearray:
    first, last = sorted(random.integers(0, len(data), 2))
    return data[:first] + data[last:]


def _repeat(data: bytearray, random: np.random.Generator) -> bytearray:
    first, last = sorted(random.integers(0, len(data), 2))
    return data[:last] + data[first:]


def _number(data: bytearray, random: np.random.Generator) -> bytearray:
    """A length, a rate or a count that is too large, too small or negative."""
    values = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x10000)
    place = int(random.integers(0, min(len(data), 256)))
    size = int(random.choice([2, 4, 8]))
    value = values[random.integers(len(values))] & ((1 << 8 * size) - 1)
    data[place : place + size] = value.to_bytes(size, "little" if random.integers(2) else "big")
    return data


def _noise(data: bytearray, random: np.random.Generator) -> bytearray:
    place, size = int(random.integers(len(data))), int(random.integers(1, 4096))
    data[place : place + size] = random.bytes(size)
    return data


_MUTATIONS: list[Callable[[bytearray, np.random.Generator], bytearray]] = [
    lambda data, random: _flip(data, random, 1 << 30),
    lambda data, random: _flip(data, random, 128),
    lambda data, random: data[: random.integers(len(data))],
    lambda data, random: data[random.integers(min(len(data), 512)) :],
    _cut_out,
    _repeat,
    _number,
    _noise,
    lambda data, random: data + random.bytes(int(random.integers(1, 4096))),
]


def write_mutants(folder: Path, count: int, seed: int = 0) -> list[str]:
    """``count`` files of names like ``12/00123.law.wav``, formats in turn; returns their paths below ``folder``.

    One in ten gets the first bytes of another format before its own rest, or its own bytes under another's suffix;
    the others one to three mutations of their own bytes.
    """
    found = seeds()
    suffixes, names = list(found), []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        suffix = suffixes[index % len(suffixes)]
        data, other = bytearray(found[suffix]), suffixes[random.integers(len(suffixes))]
        kind = random.integers(20)
        if kind == 0:
            first = int(random.integers(1, 256))
            data = bytearray(found[other][:first]) + data[first:]
        elif kind == 1:
            suffix = other
        for _ in range(random.integers(1, 4)):
            if kind > 1 and data:
                data = _MUTATIONS[random.integers(len(_MUTATIONS))](data, random)
        name = f"{index % 100:02d}/{index:05d}.{suffix}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        names.append(name)
    return names
