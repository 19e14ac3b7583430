"""Chords as standard MIDI files: notes to hear, and a marker with every symbol to read."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from ..errors import LabelError
from ..vocabulary import normalise, parse
from .annotation import Annotation

TICKS = 960  # per quarter note; at 120 to the minute a tick is 0.52 ms
TEMPO = 500_000  # microseconds per quarter note
_BASS, _CHORD, _VELOCITY = 36, 60, 72
_MARKER, _TEMPO_EVENT, _END = 0x06, 0x51, 0x2F


def midi(annotation: Annotation) -> bytes:
    """A format 1 file: a track with tempo and markers, a track with the chord tones above the bass note.

    Bass between C2 and B2, the other notes from C4; N and X are silent. Times are rounded to ticks of 0.52 ms.
    Raises LabelError for a label that is no chord.
    """
    bounds = np.round(np.append(annotation.starts, annotation.duration) * TICKS * 1e6 / TEMPO).astype(np.int64).tolist()
    markers = [(0, _meta(_TEMPO_EVENT, TEMPO.to_bytes(3, "big")))]
    notes: list[tuple[int, bytes]] = [(0, _meta(0x03, b"Chords"))]
    for start, end, label in zip(bounds[:-1], bounds[1:], annotation.labels, strict=True):
        markers.append((start, _meta(_MARKER, label.encode())))
        keys = _keys(label)
        notes += [(start, bytes((0x90, key, _VELOCITY))) for key in keys] + [
            (end, bytes((0x80, key, 0))) for key in keys
        ]
    header = b"MThd" + struct.pack(">IHHH", 6, 1, 2, TICKS)
    return header + _track(markers, bounds[-1]) + _track(notes, bounds[-1])


def _keys(label: str) -> list[int]:
    try:
        chord = parse(label)
    except LabelError:
        chord = parse(normalise(label))
    if not chord.is_chord:
        return []
    low = _BASS + (chord.root + chord.bass_semitone) % 12
    return [low, *(_CHORD + pitch for pitch in sorted(chord.pitch_classes))]


def _meta(kind: int, data: bytes) -> bytes:
    return bytes((0xFF, kind)) + _length(len(data)) + data


def _length(value: int) -> bytes:
    """Variable-length quantity: seven bits a byte, high bit set on all but the last."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def _track(events: list[tuple[int, bytes]], end: int) -> bytes:
    body, now = bytearray(), 0
    for time, event in events:
        body += _length(time - now) + event
        now = time
    body += _length(max(end - now, 0)) + _meta(_END, b"")
    return b"MTrk" + struct.pack(">I", len(body)) + bytes(body)


def read_midi(path: str | os.PathLike[str]) -> Annotation:
    """The markers of a MIDI file as chords, each up to the next one, the last up to the end of the longest track.

    Tempo changes are followed. Raises LabelError when the file cannot be read, is not a MIDI file with musical time,
    or has no markers.
    """
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LabelError(f"{name} cannot be read: {error.strerror or error}; check the path.") from error
    try:
        return _read(data)
    except (struct.error, IndexError):
        raise LabelError(f"{name} is a damaged MIDI file; export it again.") from None
    except LabelError as error:
        raise LabelError(f"{name} {error}") from None


def _read(data: bytes) -> Annotation:
    if data[:4] != b"MThd":
        raise LabelError("is not a MIDI file; name another.")
    size, _, tracks, division = struct.unpack(">IHHH", data[4:14])
    if division & 0x8000 or not division:
        raise LabelError("counts time in film frames, not beats; export it with musical time.")
    position, end = 8 + size, 0
    metas: list[tuple[int, int, bytes]] = []
    for _ in range(tracks):
        (length,) = struct.unpack(">I", data[position + 4 : position + 8])
        if data[position : position + 4] == b"MTrk":
            found, last = _events(data[position + 8 : position + 8 + length])
            metas += found
            end = max(end, last)
        position += 8 + length
    markers = sorted((tick, text) for tick, kind, text in metas if kind == _MARKER)
    if not markers:
        raise LabelError("has no markers, and chords are read from markers only; name another file.")
    changes = {0: TEMPO} | {t: int.from_bytes(d, "big") for t, k, d in sorted(metas) if k == _TEMPO_EVENT}
    ticks = np.array(sorted(changes))
    speed = np.array([changes[t] for t in ticks.tolist()]) / (division * 1e6)  # seconds a tick
    passed = np.append(0.0, np.cumsum(np.diff(ticks) * speed[:-1]))
    wanted = np.array([*(tick for tick, _ in markers), max(end, markers[-1][0])])
    at = np.searchsorted(ticks, wanted, side="right") - 1
    seconds = passed[at] + (wanted - ticks[at]) * speed[at]
    return Annotation(seconds[:-1], seconds[1:], [text.decode("utf-8", "replace").strip() for _, text in markers])


def _events(track: bytes) -> tuple[list[tuple[int, int, bytes]], int]:
    """(tick, kind, data) of a track's meta events, and the tick it ends at."""
    found, position, tick, status = [], 0, 0, 0
    while position < len(track):
        delta, position = _quantity(track, position)
        tick += delta
        if track[position] & 0x80:
            status, position = track[position], position + 1
        if status in (0xFF, 0xF0, 0xF7):
            kind = track[position] if status == 0xFF else -1
            size, position = _quantity(track, position + (status == 0xFF))
            found.append((tick, kind, track[position : position + size]))
            position += size
        else:
            position += 1 if status >> 4 in (0xC, 0xD) else 2
    return found, tick


def _quantity(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    while True:
        byte = data[position]
        value, position = value << 7 | byte & 0x7F, position + 1
        if not byte & 0x80:
            return value, position
