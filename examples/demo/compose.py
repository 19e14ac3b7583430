"""Writes demo.mid and demo.lab from the chart below; plain Python, the same bytes every time.

Usage: python compose.py [FOLDER]        (default: this folder)
"""

from __future__ import annotations

import itertools
import struct
import sys
from pathlib import Path

BPM = 100
BEATS = 4  # a bar
BEAT = 60 / BPM  # seconds
TICKS = 480  # a beat
TAIL = 2.4  # seconds of silence after the last bar

# One section a line, chords of a bar share it equally. "N" is the count-in: drum sticks, no pitch.
CHART = """
count | N
A     | C:maj  | C:aug     | C:maj6       | C:7    | F:maj7  | F:min6  | G:sus4 | G:7
B     | A:min  | A:minmaj7 | A:min7       | D:sus2 | F#:dim7 | B:hdim7 | E:7    | A:min
C     | D:min7 | B:dim     | C:maj7 F:maj | C:maj
"""

# The tune, bar for bar with the chart: note and length in beats, "-" rests.
TUNE = """
count | -
A     | E5 3 G5 1 | G#5 3 E5 1 | A5 2 G5 1 E5 1 | A#5 3 G5 1 | A5 2 E5 2 | G#5 2 D5 2 | D5 1 C5 3 | B4 2 F5 1 D5 1
B     | E5 2 C6 2 | G#5 3 E5 1 | G5 3 E5 1 | E5 3 A5 1 | D#6 2 C6 1 A5 1 | F5 2 A5 1 D5 1 | E5 2 G#5 1 B5 1 | A5 4
C     | F5 2 A5 1 C6 1 | B5 2 F5 1 D5 1 | E5 1 B5 1 A5 2 | C6 4
"""

PITCH = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
INTERVALS = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "minmaj7": (0, 3, 7, 11),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
}
# part: (channel, General MIDI program or None for drums, volume, pan)
PARTS = {
    "keys": (0, 4, 96, 50),
    "bass": (1, 33, 104, 64),
    "strings": (2, 48, 62, 74),
    "guitar": (3, 24, 88, 92),
    "tune": (4, 73, 78, 64),
    "drums": (9, None, 78, 64),
}
STICKS, KICK, SNARE, HAT, RIDE = 37, 36, 38, 42, 51

Note = tuple[float, float, int, int]  # onset and length in beats, MIDI pitch, velocity


def bars(text: str) -> list[tuple[str, str]]:
    """(section, content) of every bar."""
    rows = [line.split("|") for line in text.strip().splitlines()]
    return [(row[0].strip(), bar.strip()) for row in rows for bar in row[1:]]


def pitch_class(name: str) -> int:
    return (PITCH[name[0]] + name.count("#") - name.count("b")) % 12


def chords() -> list[tuple[float, float, str, str]]:
    """(onset, length, label, section) of every chord, in beats."""
    out = []
    for number, (section, content) in enumerate(bars(CHART)):
        labels = content.split()
        share = BEATS / len(labels)
        out += [(number * BEATS + i * share, share, label, section) for i, label in enumerate(labels)]
    return out


def tones(label: str) -> tuple[int, ...]:
    """The chord's pitch classes, root first."""
    root, _, quality = label.partition(":")
    return tuple((pitch_class(root) + step) % 12 for step in INTERVALS[quality])


def voicing(classes: tuple[int, ...], before: tuple[int, ...], low: int = 54, high: int = 71) -> tuple[int, ...]:
    """One note of every pitch class in [low, high], as near to the last voicing as can be, no semitone clashes."""
    choices = [[p for p in range(low, high + 1) if p % 12 == c] for c in classes]
    options = [tuple(sorted(pick)) for pick in itertools.product(*choices)]

    def cost(notes: tuple[int, ...]) -> tuple[float, ...]:
        moved = sum(min(abs(n - b) for b in before) for n in notes) if before else abs(sum(notes) / len(notes) - 62)
        clash = sum(b - a < 2 for a, b in itertools.pairwise(notes))
        return (moved + 4 * clash + 0.1 * (notes[-1] - notes[0]), *notes)

    return min(options, key=cost)


def accompany() -> dict[str, list[Note]]:
    """Keys, bass, strings, guitar and drums for the whole chart."""
    parts: dict[str, list[Note]] = {name: [] for name in PARTS}
    before: tuple[int, ...] = ()
    end = sum(length for _, length, _, _ in chords())
    for onset, length, label, section in chords():
        if label == "N":
            parts["drums"] += [(onset + i, 0.2, STICKS, 96 if i == 0 else 76) for i in range(int(length))]
            continue
        classes = tones(label)
        before = voicing(classes, before)
        last = onset + length == end
        low = 33 + (classes[0] - 33) % 12
        parts["strings"] += [(onset, length, p, 62) for p in before]
        if last:
            parts["keys"] += [(onset, length, p, 74) for p in before]
            parts["guitar"] += [(onset + 0.06 * i, length - 0.06 * i, p, 74) for i, p in enumerate(before)]
            parts["bass"].append((onset, length, low, 92))
            parts["drums"] += [(onset, 0.3, KICK, 90), (onset, 0.3, RIDE, 66)]
            continue
        for half in range(0, int(length), 2):
            at = onset + half
            # The last tone of the spelling is the one that tells a sixth or seventh chord from its triad.
            parts["keys"] += [(at, 1.4, p, 94 if p % 12 == classes[-1] else 74) for p in before]
            parts["keys"] += [(at + 1.5, 0.45, p, 60) for p in before]
            parts["bass"] += [(at, 1.4, low, 92), (at + 1.5, 0.45, low + 12, 78)]
            parts["drums"] += [(at, 0.2, KICK, 92), (at + 1, 0.2, SNARE, 58)]
        if section != "A":
            order = (*before, *before[-2:0:-1])
            parts["guitar"] += [
                (onset + step / 2, 0.5, order[step % len(order)], 78 if step % 2 == 0 else 66)
                for step in range(int(length * 2))
            ]
        cymbal = RIDE if section == "B" else HAT
        parts["drums"] += [(onset + s / 2, 0.2, cymbal, 60 if s % 2 == 0 else 42) for s in range(int(length * 2))]
    return parts


def tune() -> list[Note]:
    """The lead, from TUNE; lengths of a bar must fill it."""
    out: list[Note] = []
    for number, (_, content) in enumerate(bars(TUNE)):
        if content.startswith("-"):
            continue
        words = content.split()
        at = float(number * BEATS)
        for name, length in zip(words[::2], map(float, words[1::2]), strict=True):
            out.append((at, length * 0.95, 12 * (int(name[-1]) + 1) + pitch_class(name[:-1]), 84))
            at += length
        if at != (number + 1) * BEATS:
            raise ValueError(f"bar {number} of the tune has {at - number * BEATS} beats")
    return out


def variable_length(value: int) -> bytes:
    """A MIDI delta time: seven bits a byte, high bit set on all but the last."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))


def track(events: list[tuple[int, int, bytes]]) -> bytes:
    """A MIDI track chunk from (tick, rank, message); equal ticks go by rank: set-up, note off, note on."""
    data, now = b"", 0
    for tick, _, message in sorted(events):
        data += variable_length(tick - now) + message
        now = tick
    data += variable_length(0) + b"\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(data)) + data


def midi_file(parts: dict[str, list[Note]]) -> bytes:
    """A format 1 Standard MIDI File with one track a part."""
    tempo = (0, 0, b"\xff\x51\x03" + struct.pack(">I", round(60e6 / BPM))[1:])
    tracks = [track([tempo])]
    for name, (channel, program, volume, pan) in PARTS.items():
        events = [(0, 0, bytes((0xFF, 0x03, len(name))) + name.encode())]
        if program is not None:
            events.append((0, 0, bytes((0xC0 | channel, program))))
        events += [(0, 0, bytes((0xB0 | channel, 7, volume))), (0, 0, bytes((0xB0 | channel, 10, pan)))]
        for onset, length, pitch, velocity in parts[name]:
            events.append((round(onset * TICKS), 2, bytes((0x90 | channel, pitch, velocity))))
            events.append((round((onset + length) * TICKS), 1, bytes((0x80 | channel, pitch, 0))))
        tracks.append(track(events))
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS) + b"".join(tracks)


def lab_text() -> str:
    """The chords in seconds, and the silence after them as N."""
    rows = [(onset * BEAT, (onset + length) * BEAT, label) for onset, length, label, _ in chords()]
    rows.append((rows[-1][1], rows[-1][1] + TAIL, "N"))
    return "".join(f"{start:.3f}\t{end:.3f}\t{label}\n" for start, end, label in rows)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    parts = accompany()
    parts["tune"] = tune()
    (folder / "demo.mid").write_bytes(midi_file(parts))
    (folder / "demo.lab").write_text(lab_text())


if __name__ == "__main__":
    main()
