"""Songs with expert analyses, from music21's corpus, as MIDI and .lab files: music that no model here has heard.

    pip install music21 mido
    python benchmarks/analysed_scores.py OUT [--soundfont FILE.sf2]

Twenty chorales of Bach go to OUT/bach, Monteverdi's madrigals to OUT/monteverdi: the notes of the scores, each voice on
its own channel, all on one instrument drawn by the song's name, and the analyses as chord labels. Songs whose notes do
not fit their analysis (fewer than 80 % of the sounding time within the chord) are left out and said so. With a
soundfont, the fluidsynth program also makes OUT/SET/song.flac.
"""

from __future__ import annotations

import argparse
import random
import subprocess
from pathlib import Path

import mido
from music21 import corpus, roman, stream

QUALITIES = {
    (0, 4, 7): "maj",
    (0, 3, 7): "min",
    (0, 3, 6): "dim",
    (0, 4, 8): "aug",
    (0, 4, 7, 10): "7",
    (0, 4, 7, 11): "maj7",
    (0, 3, 7, 10): "min7",
    (0, 3, 7, 11): "minmaj7",
    (0, 3, 6, 9): "dim7",
    (0, 3, 6, 10): "hdim7",
    (0, 2, 7): "sus2",
    (0, 5, 7): "sus4",
}
DEGREES = {2: "2", 3: "b3", 4: "3", 5: "4", 6: "b5", 7: "5", 8: "#5", 9: "6", 10: "b7", 11: "7"}
PROGRAMS = (0, 6, 19, 20, 48, 49, 52, 61)  # pianos, organs, strings, choir, brass
TICKS = 480


def label(chord: roman.RomanNumeral) -> str:
    """Harte label of a Roman numeral; X for what is none of the qualities above."""
    root = chord.root()
    tones = tuple(sorted({(pitch.pitchClass - root.pitchClass) % 12 for pitch in chord.pitches}))
    quality = QUALITIES.get(tones)
    if quality is None:
        return "X"
    bass = (chord.bass().pitchClass - root.pitchClass) % 12
    if quality == "dim7" and bass == 9:
        return f"{root.name.replace('-', 'b')}:dim7/bb7"
    return f"{root.name.replace('-', 'b')}:{quality}" + (f"/{DEGREES[bass]}" if bass else "")


def segments(analysis: stream.Score) -> list[tuple[float, float, str, set[int]]]:
    """(start, end, label, pitch classes) of the chords, in quarter notes; equal neighbours are one."""
    numerals = sorted(
        analysis.recurse().getElementsByClass(roman.RomanNumeral), key=lambda n: n.getOffsetInHierarchy(analysis)
    )
    starts = [float(numeral.getOffsetInHierarchy(analysis)) for numeral in numerals]
    ends = [*starts[1:], starts[-1] + float(numerals[-1].quarterLength)]
    out: list[tuple[float, float, str, set[int]]] = []
    for numeral, start, end in zip(numerals, starts, ends, strict=True):
        text = label(numeral)
        if out and out[-1][2] == text:
            out[-1] = (out[-1][0], end, text, out[-1][3])
        elif end > start:
            out.append((start, end, text, {pitch.pitchClass for pitch in numeral.pitches}))
    return out


def voices(score: stream.Score) -> list[list[tuple[float, float, int]]]:
    """(start, end, MIDI pitch) of every part's notes, in quarter notes."""
    return [
        [
            (float(note.offset), float(note.offset + note.quarterLength), pitch.midi)
            for note in part.stripTies().flatten().notes
            if note.quarterLength
            for pitch in note.pitches
        ]
        for part in score.parts
    ]


def fit(parts: list[list[tuple[float, float, int]]], chords: list[tuple[float, float, str, set[int]]]) -> float:
    """Share of the sounding time whose pitch belongs to the chord."""
    inside = total = 0.0
    for part in parts:
        for start, end, pitch in part:
            for first, last, _, tones in chords:
                overlap = max(0.0, min(end, last) - max(start, first))
                total += overlap
                inside += overlap * (pitch % 12 in tones)
    return inside / max(total, 1e-9)


def write_midi(path: Path, parts: list[list[tuple[float, float, int]]], tempo: float, program: int) -> None:
    file = mido.MidiFile(ticks_per_beat=TICKS)
    head = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo))])
    file.tracks.append(head)
    for channel, part in enumerate(parts[:9]):
        events = [(round(TICKS * end), 0, pitch) for _, end, pitch in part]
        events += [(round(TICKS * start), 1, pitch) for start, _, pitch in part]
        track, now = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)]), 0
        for tick, on, pitch in sorted(events):
            kind = "note_on" if on else "note_off"
            track.append(mido.Message(kind, channel=channel, note=pitch, velocity=80 * on, time=tick - now))
            now = tick
        file.tracks.append(track)
    file.save(path)


def sources() -> list[tuple[str, str, str, str, float]]:
    """(set, song, analysis, score, quarter notes a minute); score "" is found by the analysis' BWV number."""
    chorales = [
        ("bach", f"chorale_{i:02}", f"bach/choraleAnalyses/riemenschneider{i:03}.rntxt", "", 72.0) for i in range(1, 21)
    ]
    madrigals = [
        (
            "monteverdi",
            f"madrigal_{book}_{i:02}",
            f"monteverdi/madrigal.{book}.{i}.rntxt",
            f"monteverdi/madrigal.{book}.{i}.mxl",
            108.0,
        )
        for book, count in ((3, 20), (4, 20), (5, 8))
        for i in range(1, count + 1)
    ]
    return chorales + madrigals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--soundfont", type=Path)
    arguments = parser.parse_args()
    for folder, song, analysis_name, score_name, tempo in sources():
        try:
            analysis = corpus.parse(analysis_name)
            score = corpus.parse(score_name or "bwv" + bwv(analysis_name))
            chords, parts = segments(analysis), voices(score)
        except Exception as problem:  # a corpus of many hands: whatever music21 cannot read is left out
            print(f"{song}: left out, {type(problem).__name__}: {problem}", flush=True)
            continue
        share = fit(parts, chords)
        if share < 0.8:
            print(f"{song}: left out, {share:.0%} of its notes fit the analysis", flush=True)
            continue
        place = arguments.out / folder
        place.mkdir(parents=True, exist_ok=True)
        write_midi(place / f"{song}.mid", parts, tempo, random.Random(song).choice(PROGRAMS))
        second = 60 / tempo
        lines = [f"{a * second:.4f}\t{b * second:.4f}\t{text}" for a, b, text, _ in chords]
        (place / f"{song}.lab").write_text("\n".join(lines) + "\n")
        if arguments.soundfont:
            sound = place / f"{song}.flac"
            command = [
                "fluidsynth",
                "-ni",
                "-q",
                "-r",
                "44100",
                "-T",
                "flac",
                "-F",
                str(sound),
                str(arguments.soundfont),
            ]
            subprocess.run([*command, str(place / f"{song}.mid")], check=True, stdout=subprocess.DEVNULL)
        print(f"{song}: {len(chords)} chords, {share:.0%} of its notes fit", flush=True)


def bwv(analysis: str) -> str:
    """The BWV number in a chorale's analysis."""
    text = (Path(corpus.__file__).parent / analysis).read_text()
    return next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("BWV"))


if __name__ == "__main__":
    main()
