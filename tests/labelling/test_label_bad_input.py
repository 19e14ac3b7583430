"""Whatever lies in a music folder: one run over all of it, then a verdict for every file."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from labelling_fakes import TemplateRecogniser
from test_label_disk import as_nobody

from chordfast.features import extract_song
from chordfast.labelling import Summary, label_folder
from chordfast.labelling.manifest import NAME, Row, read
from chordfast.labelling.worker import read_whole
from chordfast.ops import BTC

SECONDS = 8.0


def triad(rate: int, seconds: float = SECONDS, channels: int = 1) -> np.ndarray:
    """C major, three octaves, float64 [N] or [N, channels] (the same in each), peak below 0.5."""
    t = np.arange(round(rate * seconds)) / rate
    notes = [130.8128 * 2 ** (octave + step / 12) for octave in range(3) for step in (0, 4, 7)]
    mono = 0.05 * sum(np.sin(2 * np.pi * f * t + i) for i, f in enumerate(notes))
    return mono if channels == 1 else np.repeat(mono[:, None], channels, axis=1)


SUFFIXES = ("wav", "flac", "ogg", "mp3")
CHORD = ("ok", "C:maj")
NONE = ("unreadable", None)
EXPECTED: dict[str, tuple[str, str | None]] = {
    **{f"{kind}.{suffix}": NONE for kind in ("empty", "text", "noise") for suffix in SUFFIXES},
    **{f"cut.{suffix}": ("truncated", "C:maj") for suffix in (*SUFFIXES, "aiff")},
    **{f"header_only.{suffix}": NONE for suffix in ("flac", "ogg", "mp3")},
    **{f"rate{rate}.wav": CHORD for rate in (8000, 11025, 22050, 44100, 48000, 96000, 192000)},
    **{f"{suffix}.{suffix}": CHORD for suffix in SUFFIXES},
    **{
        f"{name}.wav": CHORD
        for name in ("u8", "int24", "int32", "double", "stereo", "six", "clipped", "loud", "nan", "inf")
    },
    "no_samples.wav": ("too_short", None),
    "one_sample.wav": ("too_short", "N"),
    "hundred_samples.wav": ("too_short", "N"),
    "silence.wav": ("silent", "N"),
    "dither.wav": ("silent", "N"),
    "only_nan.wav": ("silent", "N"),
    "opposite.wav": ("silent", "N"),
    "ünï – 日本 🎵 'q\" & $(x).wav": CHORD,
    "-o.wav": CHORD,
    "two\nlines.wav": CHORD,
    os.fsdecode(b"latin1-\xe9.wav"): CHORD,
    "x" * 251 + ".wav": CHORD,
    "folder.mp3/inside.wav": CHORD,
    "same.wav": CHORD,
    "same.flac": CHORD,
    "sub/same.wav": CHORD,
}


def write(folder: Path, name: str, samples: np.ndarray, rate: int = 22050, subtype: str | None = None) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as handle:  # soundfile cannot open every name itself
        soundfile.write(handle, samples, rate, subtype, format=path.suffix[1:].upper())


def make_corpus(folder: Path) -> None:
    random = np.random.default_rng(0)
    tone = triad(22050)
    for suffix in SUFFIXES:
        (folder / f"empty.{suffix}").touch()
        (folder / f"text.{suffix}").write_text("These are liner notes, not music.\n" * 100)
        (folder / f"noise.{suffix}").write_bytes(random.bytes(60_000))
        write(folder, f"{suffix}.{suffix}", tone)
    for suffix in (*SUFFIXES, "aiff"):
        write(folder, f"cut.{suffix}", tone)
        whole = (folder / f"cut.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) * 6 // 10])
        if suffix in ("flac", "ogg", "mp3"):
            (folder / f"header_only.{suffix}").write_bytes(whole[:60])
    for rate in (8000, 11025, 22050, 44100, 48000, 96000, 192000):
        write(folder, f"rate{rate}.wav", triad(rate), rate)
    for name, subtype in (("u8", "PCM_U8"), ("int24", "PCM_24"), ("int32", "PCM_32"), ("double", "DOUBLE")):
        write(folder, f"{name}.wav", tone, subtype=subtype)
    write(folder, "stereo.wav", triad(44100, channels=2), 44100)
    write(folder, "six.wav", triad(48000, channels=6), 48000)
    write(folder, "clipped.wav", np.clip(20 * tone, -1, 1))
    write(folder, "loud.wav", 1000 * tone, subtype="FLOAT")
    for name, bad in (("nan", [np.nan]), ("inf", [np.inf, -np.inf, np.nan])):
        broken = tone.copy()
        broken[5000 : 5000 + 40 * len(bad) : 40] = bad[0]
        for i, value in enumerate(bad):
            broken[9000 + i] = value
        write(folder, f"{name}.wav", broken, subtype="FLOAT")
    for name, samples in (("no_samples", 0), ("one_sample", 1), ("hundred_samples", 100)):
        write(folder, f"{name}.wav", tone[:samples])
    write(folder, "silence.wav", np.zeros(44100))
    write(folder, "dither.wav", random.integers(-1, 2, 44100).astype(np.int16))
    write(folder, "only_nan.wav", np.full(44100, np.nan), subtype="FLOAT")
    write(folder, "opposite.wav", np.stack([tone, -tone], axis=1), subtype="PCM_16")
    (folder / "folder.mp3").mkdir()
    (folder / "empty_folder.mp3").mkdir()
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for name in sorted(EXPECTED.keys() - written):
        write(folder, name, tone)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary, dict[str, Row]]:
    base = tmp_path_factory.mktemp("bad")
    (base / "in").mkdir()
    make_corpus(base / "in")
    summary = label_folder(base / "in", base / "out", TemplateRecogniser(), formats=["lab", "json"], jobs=2)
    return base, summary, read(base / "out" / NAME)


def test_every_file_has_one_row(corpus: tuple[Path, Summary, dict[str, Row]]) -> None:
    base, summary, rows = corpus
    assert rows.keys() == EXPECTED.keys()
    assert len((base / "out" / NAME).read_bytes().splitlines()) == len(EXPECTED)
    assert summary.exit_code == 1
    written = {str(path.relative_to(base / "out")) for path in (base / "out").rglob("*") if path.is_file()}
    assert written == {NAME, "run.json"} | {name for row in rows.values() for name in row.outputs.values()}


@pytest.mark.parametrize("name", EXPECTED, ids=lambda name: name.encode("ascii", "backslashreplace").decode()[:40])
def test_verdict(corpus: tuple[Path, Summary, dict[str, Row]], name: str) -> None:
    base, _, rows = corpus
    outcome, label = EXPECTED[name]
    row = rows[name]
    assert row.outcome == outcome, row.note
    if label is None:
        assert row.outputs == {}
        assert outcome == "too_short" or row.note
        return
    lines = (base / "out" / row.outputs["lab"]).read_text().splitlines()
    spans = [(float(start), float(end), text) for start, end, text in (line.split("\t") for line in lines)]
    assert spans[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert spans[-1][1] == pytest.approx(row.seconds, abs=1e-6)
    time = {text: sum(end - start for start, end, found in spans if found == text) for _, _, text in spans}
    assert max(time, key=lambda text: time[text]) == label
    assert time[label] >= 0.9 * row.seconds
    if outcome == "truncated":
        assert 0.3 * SECONDS < row.seconds < 0.8 * SECONDS
        assert "breaks off" in row.note
    elif outcome == "ok":
        assert row.seconds == pytest.approx(SECONDS, abs=0.06)  # MP3 pads


@pytest.mark.parametrize(("name", "count"), [("nan.wav", 2), ("inf.wav", 6), ("only_nan.wav", 44100), ("wav.wav", 0)])
def test_samples_that_are_no_numbers_are_counted(
    corpus: tuple[Path, Summary, dict[str, Row]], name: str, count: int
) -> None:
    note = f"{count} non-finite samples replaced by 0"
    assert (note in corpus[2][name].note) == (count > 0)


def test_same_base_names_do_not_meet(corpus: tuple[Path, Summary, dict[str, Row]]) -> None:
    rows = corpus[2]
    assert rows["same.wav"].outputs["lab"] == "same.wav.lab"
    assert rows["same.flac"].outputs["lab"] == "same.flac.lab"
    assert rows["sub/same.wav"].outputs["lab"] == "sub/same.lab"


def test_second_start_finds_all_of_it_done(corpus: tuple[Path, Summary, dict[str, Row]]) -> None:
    base, summary, _ = corpus
    again = label_folder(base / "in", base / "out", TemplateRecogniser(), formats=["lab", "json"], dry_run=True)
    assert [job.source.key for job in again.planned] == []
    assert again.outcomes == summary.outcomes


def test_no_permission_to_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "closed.wav"
        write(path.parent, path.name, triad(22050, 1.0))
        path.chmod(0)
        path.parent.chmod(0o755)
        with as_nobody():
            header, arrays = read_whole(str(path), {"plans": (BTC,), "extract": extract_song, "quality": "relaxed"})
    assert arrays is None
    assert header["outcome"] == "unreadable"
    assert "ermission denied" in header["note"]
    assert header["rows"] == []


def test_what_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in/pipe.wav")
    (tmp_path / "in/dangling.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in/loop.wav").symlink_to(tmp_path / "in/loop.wav")
    named = [tmp_path / "in" / name for name in ("pipe.wav", "dangling.wav", "loop.wav")]
    label_folder(named, tmp_path / "out", TemplateRecogniser(), jobs=1, timeout=5)
    outcomes = {key: row.outcome for key, row in read(tmp_path / "out" / NAME).items()}
    assert outcomes == dict.fromkeys(["pipe.wav", "dangling.wav", "loop.wav"], "unreadable")


HOURS = """
import sys
from chordfast.features import extract_song
song = extract_song(sys.argv[1])
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(song.outcome, song.n_samples, *song.features.shape, peak // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_three_hours_need_memory_for_their_features_only(tmp_path: Path) -> None:
    rate, minute = 8000, np.zeros(8000 * 60, np.int16)
    minute[: 8000 * 2] = (8000 * triad(8000, 2.0)).astype(np.int16)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", rate, 1, "PCM_16", format="FLAC") as out:
        for _ in range(180):
            out.write(minute)
    done = subprocess.run(
        [sys.executable, "-c", HOURS, str(tmp_path / "long.flac")], capture_output=True, text=True, check=True
    )
    outcome, n_samples, frames, bins, megabytes = done.stdout.split()
    assert (outcome, int(n_samples)) == ("ok", 3 * 3600 * 22050)
    assert (int(frames), int(bins)) == (BTC.n_frames(3 * 3600 * 22050), 144)
    # Features: 67 MB, twice while they are joined. The samples would be 950 MB.
    assert int(megabytes) < 300
