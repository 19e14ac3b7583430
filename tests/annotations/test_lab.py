"""Reading .lab files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from chordfast.annotations import read_lab
from chordfast.errors import LabelError

GOLDEN = Path(__file__).parents[1] / "golden/vocabulary"


def test_golden_files() -> None:
    clip = read_lab(GOLDEN / "clip.lab", strict=True)
    assert len(clip) == 13
    assert list(clip)[8] == (16.715465, 17.8161, "Ab:sus4")
    assert clip.duration == 25.370023
    assert len(clip.gaps()) == len(clip.overlaps()) == 0
    assert len(read_lab(GOLDEN / "gappy.lab").gaps()) == 3


def test_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "odd.lab"
    path.write_bytes(
        b"\xef\xbb\xbf# start end label\r\n\r\n0 1.5 C:maj\r\n  1.5\t2.\tno chord \r\n\t\n2.0\t 3e0\tD:min  extra\r"
        b".3e1   4 E:7 and more fields\n4\t5 Bb:maj\n5 6 C\xe2\x99\xafm7"
    )
    assert list(read_lab(path)) == [
        (0, 1.5, "C:maj"),
        (1.5, 2, "no chord"),
        (2, 3, "D:min  extra"),
        (3, 4, "E:7"),
        (4, 5, "Bb:maj"),
        (5, 6, "C♯m7"),
    ]


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.lab"
    path.write_bytes(b"")
    assert len(read_lab(path)) == 0
    assert read_lab(path).duration == 0


BAD = {
    b"1 2": "'1 2' has fewer than three fields",
    b"1\t2\t": "has fewer than three fields",
    b"C:maj": "'C:maj' has fewer than three fields",
    b"one 2 C:maj": "the start 'one' in 'one 2 C:maj' is not a finite number",
    b"1 nan C:maj": "the end 'nan' .* not a finite number",
    b"inf inf C:maj": "the start 'inf' .* not a finite number",
    b"1 1e999 C:maj": "the end '1e999' .* not a finite number",
    b"1_0 20 C:maj": "the start '1_0' .* not a finite number",
    b"1,5 2,5 C:maj": "the start '1,5' .* not a finite number",
    b"0x1 2 C:maj": "the start '0x1'",
    b"-1 2 C:maj": "the start '-1' .* is negative",
    b"2 1 C:maj": "the segment '2 1 C:maj' ends before it starts",
    b"1 2 C\x00maj": "control characters",
    b"1 2 C:maj\xff": r"bytes that are not UTF-8 in b'1 2 C:maj\\xff'",
    b"\xff\xfe1\x00": "bytes that are not UTF-8",
}


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("line", "words"), BAD.items())
def test_names_file_line_and_content(tmp_path: Path, line: bytes, words: str, ending: bytes) -> None:
    path = tmp_path / "bad.lab"
    path.write_bytes(ending.join([b"\xef\xbb\xbf0 1 N", b"# comment", line, b"9 10 C:maj"]))
    with pytest.raises(LabelError, match=words) as caught:
        read_lab(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert "\n" not in str(caught.value)


STRICT = {
    "0.5 2 C:maj": "starts at 0.5 s, before an earlier one ends at 1.0 s; remove the overlap",
    "1 1 C:maj": "has no length",
    "1 2 Cmaj7": "'Cmaj7' is outside the Harte grammar",
    "1 2 H:min": "'H:min' is outside the Harte grammar",
}


@pytest.mark.parametrize(("line", "words"), STRICT.items())
def test_strict(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "odd.lab"
    path.write_text(f"0 1 N\n{line}\n")
    assert len(read_lab(path)) == 2
    with pytest.raises(LabelError, match=words) as caught:
        read_lab(path, strict=True)
    assert str(caught.value).startswith(f"{path}, line 2: ")


def test_long_lines_are_cut_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "long.lab"
    path.write_text("0 one " + "x" * 100_000)
    with pytest.raises(LabelError) as caught:
        read_lab(path)
    assert len(str(caught.value)) < len(str(path)) + 200


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"none\.lab cannot be read: No such file"):
        read_lab(tmp_path / "none.lab")
    with pytest.raises(LabelError, match="cannot be read: Is a directory"):
        read_lab(tmp_path)
