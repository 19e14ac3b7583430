"""Writers: content, no gaps, round trips, the published variants, validity as JAMS."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.annotations import FORMATS, Annotation, dumps, read_json, read_lab, write
from chordfast.errors import LabelError, UsageError
from chordfast.vocabulary import class_label

GOLDEN = Path(__file__).parents[1] / "golden/vocabulary"


def song() -> Annotation:
    return Annotation(
        [0, 0.5, 1 / 3 + 1],
        [0.5, 1 / 3 + 1, 2.75],
        ["N", "C:maj", "A#:hdim7"],
        confidence=[float("nan"), 0.875, 1 / 3],
        alternatives=["", "A:min", "X"],
        alternative_confidence=[float("nan"), 0.0625, 0.1],
        meta={"model": "crema", "title": "Bär", "count": np.int64(3), "path": Path("a/b")},
    )


def test_lab_and_audacity() -> None:
    text = "0.000000\t0.500000\tN\n0.500000\t1.333333\tC:maj\n1.333333\t2.750000\tA#:hdim7\n"
    assert dumps(song()) == dumps(song(), "lab") == dumps(song(), "audacity") == text


def test_csv() -> None:
    assert dumps(song(), "csv").splitlines() == [
        "start,end,label,confidence,alternative,alternative_confidence",
        "0.000000,0.500000,N,,,",
        "0.500000,1.333333,C:maj,0.875,A:min,0.0625",
        "1.333333,2.750000,A#:hdim7,0.333333,X,0.1",
    ]
    odd = Annotation([0], [1], ["C:maj(2,*3)"])
    assert list(csv.reader(io.StringIO(dumps(odd, "csv"))))[1] == ["0.000000", "1.000000", "C:maj(2,*3)", "", "", ""]


def test_json() -> None:
    content = json.loads(dumps(song(), "json"))
    assert content["duration"] == 2.75
    assert content["meta"] == {"model": "crema", "title": "Bär", "count": 3, "path": "a/b"}
    assert content["segments"][0] == {
        "start": 0.0,
        "end": 0.5,
        "label": "N",
        "confidence": None,
        "alternative": None,
        "alternative_confidence": None,
    }
    assert content["segments"][1]["alternative_confidence"] == 0.0625
    assert dumps(Annotation([0], [1], ["N"]), "json").endswith('{"start": 0.0, "end": 1.0, "label": "N"}\n ]\n}\n')


@pytest.mark.parametrize("count", [0, 3])
def test_json_round_trip(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.json"
    one = song() if count else Annotation([], [], [], duration=0.0)
    write(one, path, "json")
    again = read_json(path)
    assert again.labels == one.labels
    assert again.alternatives == one.alternatives
    np.testing.assert_allclose(again.intervals, one.intervals, atol=5e-7)
    if count:
        np.testing.assert_allclose(again.confidence, one.confidence, atol=1e-6)
        np.testing.assert_allclose(again.alternative_confidence, one.alternative_confidence, atol=1e-6)
    assert dumps(again, "json") == path.read_text("utf-8")


def test_bare_json_round_trip_is_exact(tmp_path: Path) -> None:
    one = Annotation([0, 1], [1, 2.5], ["C:maj", "N"], meta={"a": [1, "b"]})
    write(one, tmp_path / "a.json", "json")
    assert read_json(tmp_path / "a.json") == one


def test_jams_is_valid(tmp_path: Path) -> None:
    jams = pytest.importorskip("jams")
    path = tmp_path / "a.jams"
    write(song(), path, "jams")
    document = jams.load(str(path), validate=True, strict=True)
    assert document.validate(strict=True)
    assert document.file_metadata.duration == 2.75
    assert document.file_metadata.title == "Bär"
    main, runner_up = document.annotations
    assert main.validate(strict=True)
    assert runner_up.validate(strict=True)
    assert [(o.time, o.duration, o.value, o.confidence) for o in main.data] == [
        (0.0, 0.5, "N", None),
        (0.5, 0.833333, "C:maj", 0.875),
        (1.333333, 1.416667, "A#:hdim7", 0.333333),
    ]
    assert [o.value for o in runner_up.data] == ["X", "A:min", "X"]
    assert dict(runner_up.sandbox) == {"role": "alternative", "of": 0}


def test_jams_takes_harte_only() -> None:
    lead = Annotation([0, 1], [1, 2], ["C7sus4", "F/3"])
    values = [o["value"] for o in json.loads(dumps(lead, "jams"))["annotations"][0]["data"]]
    assert values == ["C:sus4(b7)", "F/3"]
    with pytest.raises(LabelError, match="'H:min' cannot be read"):
        dumps(Annotation([0], [1], ["H:min"]), "jams")


@pytest.mark.parametrize("name", FORMATS)
def test_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"song{FORMATS[name]}"
    path.write_text("old")
    write(song(), path, name)
    assert path.read_text("utf-8") == dumps(song(), name)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if name in ("lab", "audacity"):
        assert list(read_lab(path, strict=True)) == [
            (0, 0.5, "N"),
            (0.5, 1.333333, "C:maj"),
            (1.333333, 2.75, "A#:hdim7"),
        ]
        intervals, labels = mir_eval.io.load_labeled_intervals(str(path))
        assert labels == song().labels
        mir_eval.chord.evaluate(intervals, labels, intervals, labels)


@pytest.mark.parametrize("name", FORMATS)
def test_empty_recording(name: str) -> None:
    text = dumps(Annotation([], [], [], duration=0.0), name)
    assert text == "" if name in ("lab", "audacity") else text


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("segments", "duration", "words"),
    [
        ([(0.5, 2, "C")], 2, "a gap from 0.000000 to 0.500000 s"),
        ([(0, 1, "C"), (1.5, 2, "D")], 2, "a gap from 1.000000 to 1.500000 s"),
        ([(0, 1, "C")], 2, "a gap from 1.000000 to 2.000000 s"),
        ([], 2, "a gap from 0.000000 to 2.000000 s"),
        ([(0, 1.5, "C"), (1, 2, "D")], 2, "an overlap from 1.000000 to 1.500000 s"),
        ([(0, 3, "C")], 2, "ends at 3.000000 s, after the recording's 2.000000 s"),
    ],
)
def test_no_holes_are_written(
    tmp_path: Path, name: str, segments: list[tuple[float, float, str]], duration: float, words: str
) -> None:
    one = Annotation([s[0] for s in segments], [s[1] for s in segments], [s[2] for s in segments], duration=duration)
    path = tmp_path / "x"
    with pytest.raises(LabelError, match=words):
        write(one, path, name)
    assert not path.exists()
    dumps(one.fill_gaps(), name)


@pytest.mark.parametrize("label", ["", " C", "C\tD", "C\nD", "C\x00"])
def test_labels_that_would_break_a_file(label: str) -> None:
    with pytest.raises(LabelError, match=r"written|stand in a file"):
        dumps(Annotation([0], [1], [label]))


def test_usage() -> None:
    with pytest.raises(UsageError, match="no annotation format 'ogg'; choose one of lab, json"):
        dumps(song(), "ogg")
    with pytest.raises(UsageError, match="'midi' is not text; write it to a file"):
        dumps(song(), "midi")
    with pytest.raises(UsageError, match="lab has 'chordmini' and 'btc'"):
        dumps(song(), "csv", compat="chordmini")
    with pytest.raises(UsageError, match="merge them when decoding"):
        dumps(song(), min_duration=0.5)
    with pytest.raises(UsageError, match="meta of the annotation"):
        dumps(Annotation([0], [1], ["N"], meta={"x": float("nan")}), "json")
    with pytest.raises(UsageError, match="meta of the annotation"):
        dumps(Annotation([0], [1], ["N"], meta={"x": object()}), "jams")


def runs(classes: list[int], period: float) -> Annotation:
    indices = np.array(classes, dtype=np.int64)
    first = np.flatnonzero(np.diff(indices, prepend=-1))
    last = np.append(first[1:], len(indices))[: len(first)]
    return Annotation(first * period, last * period, [class_label(indices[i]) for i in first])


def test_chordmini_lab() -> None:
    cases = json.loads((GOLDEN / "lab_writer.json").read_text())
    assert len(cases) == 12
    for case in cases:
        one = runs(case["pred"], case["frame_duration"])
        text = dumps(one, compat="chordmini", min_duration=case["min_segment_duration"])
        assert text.splitlines() == case["lines"]


def test_btc_lab() -> None:
    for lines in json.loads((GOLDEN / "btc_script_lab_output.json").read_text()).values():
        rows = [line.split() for line in lines]
        period = 10 / 108  # BTC's script counts frames of this length
        starts, ends = (np.round(np.array([float(r[i]) for r in rows]) / period) * period for i in (0, 1))
        one = Annotation(starts, ends, [r[2] if ":" in r[2] or r[2] in "NX" else r[2] + ":maj" for r in rows])
        assert dumps(one, compat="btc").splitlines() == lines


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a chordfast annotation"),
        (b'{"format": "chordfast-annotation", "version": 2}', "is of version 2"),
        (b'{"format": "chordfast-annotation", "version": 1}', "is a damaged"),
        (
            b'{"format": "chordfast-annotation", "version": 1, "duration": 1, "meta": {}, '
            b'"segments": [{"start": 2, "end": 1, "label": "N"}]}',
            "is a damaged chordfast annotation .*end after",
        ),
        (
            b'{"format": "chordfast-annotation", "version": 1, "duration": 1, "meta": {}, '
            b'"segments": [{"start": 0, "end": 1, "label": 5}]}',
            "label must be text",
        ),
    ],
)
def test_damaged_json(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=words) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_missing_json(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be read: No such file"):
        read_json(tmp_path / "none.json")


@settings(deadline=None, max_examples=150)
@given(st.lists(st.floats(1e-9, 100), max_size=12), st.integers(0, 169))
def test_any_written_lab_is_gap_free(lengths: list[float], first: int) -> None:
    bounds = np.concatenate([[0.0], np.cumsum(lengths)])
    labels = [class_label((first + 7 * i) % 170) for i in range(len(lengths))]
    rows = [line.split("\t") for line in dumps(Annotation(bounds[:-1], bounds[1:], labels)).splitlines()]
    assert [r[0] for r in rows[1:]] == [r[1] for r in rows[:-1]]
    assert all(float(r[1]) > float(r[0]) for r in rows)
    if rows:
        assert rows[0][0] == "0.000000"
        assert rows[-1][1] == f"{bounds[-1]:.6f}"
