"""Sonic Visualiser, MIDI, Parquet, JAMS and CSV: written for others, parsed by others, read back."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import jams
import numpy as np
import pytest

from chordfast.annotations import (
    BINARY_FORMATS,
    FORMATS,
    Annotation,
    dumps,
    format_of,
    parquet,
    read,
    read_parquet,
    read_places,
    write,
)
from chordfast.errors import LabelError, UsageError


def song() -> Annotation:
    return Annotation(
        [0, 0.5, 4 / 3],
        [0.5, 4 / 3, 2.75],
        ["N", "Bb:min7/b3", "A#:hdim7"],
        confidence=[float("nan"), 0.875, 0.25],
        alternatives=["", "A:min", "X"],
        alternative_confidence=[float("nan"), 0.0625, 0.125],
        meta={"title": 'A "B" <c> & d', "model": "crema"},
    )


def assert_like(found: Annotation, tolerance: float) -> None:
    assert found.labels == song().labels
    np.testing.assert_allclose(found.intervals, song().intervals, atol=tolerance)
    assert found.duration == pytest.approx(2.75, abs=tolerance)


@pytest.mark.parametrize("name", [*FORMATS, "midi"])
def test_every_format_reads_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"song{(FORMATS | BINARY_FORMATS)[name]}"
    write(song(), path, name)
    assert format_of(path) == name
    found, places = read_places(path)
    assert_like(found, {"midi": 3e-4, "svl": 12e-6}.get(name, 1e-6))
    assert read(path, name) == found
    if name in ("json", "jams", "csv"):
        assert found.confidence is not None and found.alternative_confidence is not None
        np.testing.assert_array_equal(found.confidence, np.array([np.nan, 0.875, 0.25], dtype=np.float32))
        assert found.alternatives is not None and found.alternatives[1:] == ["A:min", "X"]
        np.testing.assert_allclose(found.alternative_confidence[1:], [0.0625, 0.125])
    assert places == {"csv": ["line 2", "line 3", "line 4"], "lab": ["line 1", "line 2", "line 3"]}.get(name, places)
    if name in ("json", "jams"):
        assert found.meta == song().meta


def test_svl_is_a_layer_of_regions() -> None:
    root = ElementTree.fromstring(dumps(song(), "svl"))
    assert root.tag == "sv" and [child.tag for child in root] == ["data", "display"]
    model, layer = root.find("data/model"), root.find("display/layer")
    assert model is not None and layer is not None
    expected = {"type": "sparse", "subtype": "region", "dimensions": "3", "sampleRate": "44100", "end": "121275"}
    assert {key: model.get(key) for key in expected} == expected
    assert model.get("name") == 'A "B" <c> & d'
    assert layer.get("type") == "regions" and layer.get("model") == model.get("id")
    data = root.find("data/dataset")
    assert data is not None and data.get("id") == model.get("dataset") and data.get("dimensions") == "3"
    assert [point.attrib for point in data] == [
        {"frame": "0", "value": "-1", "duration": "22050", "label": "N"},
        {"frame": "22050", "value": "10", "duration": "36750", "label": "Bb:min7/b3"},
        {"frame": "58800", "value": "10", "duration": "62475", "label": "A#:hdim7"},
    ]


def test_midi_as_mido_reads_it(tmp_path: Path) -> None:
    mido = pytest.importorskip("mido")
    write(song(), tmp_path / "song.mid", "midi")
    file = mido.MidiFile(tmp_path / "song.mid")
    assert (file.type, len(file.tracks)) == (1, 2)
    assert file.length == pytest.approx(2.75, abs=1e-3)
    now, markers, sounding, at = 0.0, [], set(), {}
    for message in file:
        now += message.time
        if message.type == "marker":
            markers.append((round(now, 2), message.text))
        elif message.type == "note_on":
            sounding.add(message.note)
            at[round(now, 2)] = set(sounding)
        elif message.type == "note_off":
            sounding.remove(message.note)
    assert markers == [(0.0, "N"), (0.5, "Bb:min7/b3"), (1.33, "A#:hdim7")]
    # Db below Bb Db F Ab; then Bb below Bb Db E Ab
    assert at == {0.5: {37, 70, 61, 65, 68}, 1.33: {46, 70, 61, 64, 68}}
    assert not sounding


def test_midi_of_others(tmp_path: Path) -> None:
    mido = pytest.importorskip("mido")
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks += [mido.MidiTrack(), mido.MidiTrack()]
    file.tracks[0] += [
        mido.MetaMessage("set_tempo", tempo=500_000, time=0),
        mido.MetaMessage("set_tempo", tempo=250_000, time=960),  # twice as fast from 1 s on
        mido.MetaMessage("end_of_track", time=2880),
    ]
    file.tracks[1] += [
        mido.Message("program_change", program=5, time=0),
        mido.MetaMessage("marker", text="C", time=480),
        mido.Message("note_on", note=60, velocity=9, time=0),
        mido.Message("note_on", note=60, velocity=0, time=0),  # running status
        mido.Message("sysex", data=(1, 2, 3), time=0),
        mido.MetaMessage("marker", text="G7", time=960),
    ]
    file.save(tmp_path / "song.mid")
    assert list(read(tmp_path / "song.mid")) == [(0.5, 1.25, "C"), (1.25, 2.5, "G7")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.mid", b"RIFF", "is not a MIDI file"),
        ("a.mid", b"MThd" + struct.pack(">IHHH", 6, 1, 1, 0xE728), "counts time in film frames"),
        ("a.mid", b"MThd" + struct.pack(">IHHH", 6, 1, 3, 480), "damaged MIDI file"),
        ("a.mid", b"MThd" + struct.pack(">IHHH", 6, 1, 0, 480), "has no markers"),
        ("a.svl", b"<sv>", "is not XML"),
        ("a.svl", b"<sv/>", "has no region layer"),
        ("a.svl", b'<!DOCTYPE sv [<!ENTITY a "b">]><sv/>', "declares XML entities"),
        ("a.svl", b'<sv><model subtype="region" dataset="0" sampleRate="1"/>'
         b'<dataset id="0"><point frame="x"/></dataset></sv>',
         "region without valid times"),
        ("a.jams", b"{", "is not JSON"),
        ("a.jams", b"[]", "is not a JAMS file"),
        ("a.jams", b'{"annotations": [{"namespace": "beat", "data": []}]}', "no annotation of the namespace chord"),
        ("a.jams", b'{"annotations": [{"namespace": "chord", "data": [{"time": 0}]}]}', "damaged JAMS file"),
        ("a.csv", b"start,end,label\n0,1\n", "line 2: .*fewer than three fields"),
        ("a.csv", b"0,1,C\n1,x,D\n", "line 2: .*not a finite number"),
        ("a.csv", b"start,end,label,confidence\n0,1,C,high\n", "line 2: .*not a number"),
        ("a.csv", b"\xff", "line 1: bytes that are not UTF-8"),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LabelError, match=words) as raised:
        read(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("suffix", [".jams", ".svl", ".mid", ".csv", ".json"])
def test_missing_files(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(LabelError, match="cannot be read: No such file"):
        read(tmp_path / f"none{suffix}")


def test_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"of no known format; its name must end with \.lab"):
        read(tmp_path / "a.pdf")
    with pytest.raises(UsageError, match="no annotation format 'pdf'"):
        read(tmp_path / "a.lab", "pdf")


def test_jams_of_the_jams_library(tmp_path: Path) -> None:
    book = jams.JAMS()
    book.file_metadata.duration = 4.0
    made = jams.Annotation(namespace="chord", duration=4.0)
    made.append(time=0.0, duration=1.1, value="C:maj", confidence=0.5)
    made.append(time=1.1, duration=2.9, value="A:min7", confidence=None)
    book.annotations.append(jams.Annotation(namespace="beat", duration=4.0))
    book.annotations.append(made)
    book.save(str(tmp_path / "a.jams"))
    found = read(tmp_path / "a.jams")
    assert list(found) == [(0.0, 1.1, "C:maj"), (1.1, 4.0, "A:min7")]
    assert found.alternatives is None and found.confidence is not None and found.confidence[0] == 0.5


def test_old_jams_tables(tmp_path: Path) -> None:
    data = '{"time": [0, 1], "duration": [1, 1], "value": ["C", "G"], "confidence": [null, null]}'
    (tmp_path / "a.jams").write_text(f'{{"annotations": [{{"namespace": "chord_harte", "data": {data}}}]}}')
    assert list(read(tmp_path / "a.jams")) == [(0, 1, "C"), (1, 2, "G")]


def test_csv_of_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('0,1,"C:maj(2,*3)"\n\n1,2.5,G\n')
    found, places = read_places(tmp_path / "a.csv")
    assert list(found) == [(0, 1, "C:maj(2,*3)"), (1, 2.5, "G")] and places == ["line 1", "line 3"]
    (tmp_path / "b.csv").write_text("Label,Start,End\nC,0,1\n")
    assert list(read(tmp_path / "b.csv")) == [(0, 1, "C")]


def test_parquet(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write(song(), tmp_path / "song.parquet", "parquet")
    assert_like(read(tmp_path / "song.parquet"), 1e-6)
    other = Annotation([0], [1], ["C:maj"])
    (tmp_path / "all.parquet").write_bytes(parquet({"a/x": song(), "b": other, "empty": Annotation([], [], [])}))
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.column("song").to_pylist() == ["a/x"] * 3 + ["b"]
    assert table.column("confidence").to_pylist() == [None, 0.875, 0.25, None]
    found = read_parquet(tmp_path / "all.parquet")
    assert found == {"a/x": song(), "b": other, "empty": Annotation([], [], [])}
    with pytest.raises(LabelError, match="holds 3 songs"):
        read(tmp_path / "all.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(LabelError, match="cannot be read as Parquet"):
        read(tmp_path / "bad.parquet")
    pq.write_table(table.drop_columns(["label"]), tmp_path / "none.parquet")
    with pytest.raises(LabelError, match="has no column label"):
        read(tmp_path / "none.parquet")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'chordfast\[parquet\]'"):
        write(song(), tmp_path / "song.parquet", "parquet")
    assert not list(tmp_path.iterdir())
