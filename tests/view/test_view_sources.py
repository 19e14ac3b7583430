"""What the pages know of label files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chordfast.annotations import Annotation, write
from chordfast.errors import LabelError, UsageError
from chordfast.view.sources import columns, comparable, disagreement, is_label_file, read_labels, thumbnail


def annotation(*segments: tuple[float, float, str], duration: float = math.nan, **more: object) -> Annotation:
    starts, ends, labels = zip(*segments, strict=True)
    return Annotation(np.array(starts), np.array(ends), list(labels), duration=duration, **more)  # type: ignore[arg-type]


def test_which_files_are_labels() -> None:
    assert [is_label_file(name) for name in ("a.lab", "a.JSON", "a.jams", "a.mp3", "a")] == [True, True, True, 0, 0]


def test_transposed_labels(tmp_path: Path) -> None:
    (tmp_path / "a.lab").write_text("0 1 Bb:min7/b3\n1 2 N\n2 3 what\n3 4 C\n")
    assert read_labels(tmp_path / "a.lab", 3).labels == ["C#:min7/b3", "N", "what", "D#"]
    assert read_labels(tmp_path / "a.lab", 12).labels == ["Bb:min7/b3", "N", "what", "C"]


def test_transposed_runner_up(tmp_path: Path) -> None:
    write(annotation((0, 1, "C:maj"), alternatives=["A:min"]), tmp_path / "a.json", "json")
    moved = read_labels(tmp_path / "a.json", -1)
    assert (moved.labels, moved.alternatives) == (["B"], ["G#:min"])


def test_unreadable_labels_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.lab").write_text("0 1 C\n1 x C\n")
    with pytest.raises(LabelError, match=r"a\.lab, line 2: the end 'x'"):
        read_labels(tmp_path / "a.lab")
    with pytest.raises(UsageError, match=r"a\.xyz is of no known format"):
        read_labels(tmp_path / "a.xyz")


def test_columns_are_in_order_without_overlap() -> None:
    given = annotation(
        (4, 6, "G"), (0, 3, "C"), (2, 4, "F"), (9, 12, "A"),
        confidence=np.array([0.5, np.nan, 0.25, 1.0]), alternatives=["", "A:min", "", ""],
    )  # fmt: skip
    shown = columns(given, 10.0)
    assert shown["starts"] == [0.0, 2.0, 4.0, 9.0]
    assert shown["ends"] == [2.0, 4.0, 6.0, 10.0]
    assert shown["labels"] == ["C", "F", "G", "A"]
    assert shown["confidence"] == [None, 0.25, 0.5, 1.0]
    assert shown["alternatives"] == ["A:min", "", "", ""]


def test_spellings_of_one_chord_are_comparable() -> None:
    found = comparable(["Db:min7", "C#:min7", "C", "N", "X", "C:5", "</script>"])
    assert found["Db:min7"] == found["C#:min7"] == 14 + 6
    assert (found["C"], found["N"], found["X"]) == (1, 169, 168)
    assert not {"C:5", "</script>"} & found.keys()  # by their text


def test_disagreement_is_a_share_of_common_time() -> None:
    one = annotation((0, 4, "C#"), (4, 8, "F"), (8, 20, "G"))
    assert disagreement(one, one) == 0.0
    other = annotation((0, 6, "Db:maj"), (7, 10, "F"))  # 6 to 7 unlabelled
    assert disagreement(one, other) == pytest.approx((2 + 2) / 9)
    assert math.isnan(disagreement(one, Annotation([], [], [])))  # type: ignore[arg-type]


def test_thumbnail() -> None:
    given = annotation((0, 2, "C"), (2, 3, "C:min"), (3, 4, "D:hdim7"), (4, 5, "N"), (5, 6, "??"), (7, 8, "B:sus4"))
    assert thumbnail(given, 8) == "001A-~ l"
    assert thumbnail(Annotation([], [], []), 3) == "   "  # type: ignore[arg-type]
