"""Bad input: each kind is named with file and line, mended as documented, and fatal with strict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluate_songs import segments

from chordfast.errors import LabelError, UsageError
from chordfast.evaluate import Issue, evaluate, load, prepare, read_split, score
from chordfast.evaluate.matching import match

GOOD = "0\t4\tC:maj\n4\t8\tG:maj\n"

# kind, content of the reference, place, words, "start end label" after mending
BAD = [
    ("gap", "0 4 C:maj\n5 8 G:maj\n", "line 2", "a gap from 4 to 5 s; C:maj goes on", "0 4 C:maj,5 8 G:maj"),
    ("overlap", "0 5 C:maj\n4 8 G:maj\n", "line 2", "starts at 4 s, before an earlier", "0 4 C:maj,4 8 G:maj"),
    ("order", "# from here\n4 8 G:maj\n0 4 C:maj\n", "line 3", "starts before", "0 4 C:maj,4 8 G:maj"),
    ("zero-length", "0 4 C:maj\n4 4 D:maj\n4 8 G:maj\n", "line 2", "no length", "0 4 C:maj,4 8 G:maj"),
    ("label", "0 4 Cmaj7\n4 8 G:maj\n", "line 1", "'Cmaj7' is no Harte syntax; read as C:maj7", "0 4 C:maj7,4 8 G:maj"),
    ("label", "0 4 C:maj\n4 6 H\n6 8 H\n", "line 2", "outside the chord grammar; counted as X (and 1 more)",
     "0 4 C:maj,4 6 X,6 8 X"),
]  # fmt: skip
UNREADABLE = [
    (b"0 4 C:maj\n4 8 G\xe9\n", "line 2", "not UTF-8"),
    (b"0 4 C:maj\n4 8\n", "line 2", "fewer than three fields"),
    (b"0 4 C:maj\n8 4 G\n", "line 2", "ends before it starts"),
    (b"0 4 C:maj\n4 later G\n", "line 2", "not a finite number"),
]


def tree(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / f"{name}.lab"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("kind", "content", "place", "words", "mended"), BAD, ids=[b[0] + str(i) for i, b in enumerate(BAD)]
)
def test_named_and_mended(tmp_path: Path, kind: str, content: str, place: str, words: str, mended: str) -> None:
    ref, est = tree(tmp_path / "ref", a=content), tree(tmp_path / "est", a=GOOD)
    annotation, issues = load(ref / "a.lab")
    assert annotation is not None
    assert [(i.kind, i.path, i.place) for i in issues] == [(kind, str(ref / "a.lab"), place)]
    assert words in str(issues[0])
    assert ",".join(f"{a:g} {b:g} {c}" for a, b, c in annotation) == mended
    told: list[Issue] = []
    result = evaluate(ref, [est], warn=told.append)
    assert told == issues == result.issues
    assert result.as_dict()["issues"][0]["place"] == place
    with pytest.raises(LabelError, match=f"a.lab, {place}: "):
        evaluate(ref, [est], strict=True)


@pytest.mark.parametrize(("content", "place", "words"), UNREADABLE)
def test_files_that_cannot_be_read_are_left_out(tmp_path: Path, content: bytes, place: str, words: str) -> None:
    ref, est = tree(tmp_path / "ref", a=GOOD, b=GOOD), tree(tmp_path / "est", a=content, b=GOOD)
    result = evaluate(ref, [est])
    assert result.songs == ["b"]
    assert [(i.kind, i.place) for i in result.issues] == [("unreadable", place)]
    assert words in result.issues[0].text and "a.lab" in result.issues[0].path
    with pytest.raises(LabelError, match=place):
        evaluate(ref, [est], strict=True)


def test_empty_files(tmp_path: Path) -> None:
    ref, est = tree(tmp_path / "ref", a="", b=GOOD, c="1 1 C\n"), tree(tmp_path / "est", a=GOOD, b="\n", c=GOOD)
    result = evaluate(ref, [est])
    assert result.songs == ["b"]  # an empty reference is left out, an empty estimate is all N
    assert result.corpora[0].means()["root"] == 0.0
    assert [(i.kind, Path(i.path).name) for i in result.issues] == [
        ("empty", "a.lab"),
        ("empty", "b.lab"),
        ("zero-length", "c.lab"),
        ("empty", "c.lab"),
    ]
    with pytest.raises(LabelError, match="no segments"):
        evaluate(ref, [est], strict=True)


@pytest.mark.parametrize(("end", "words"), [(5, "ends at 5 s and its reference at 8 s; filled"), (11, "11 s .* cut")])
def test_different_lengths(tmp_path: Path, end: int, words: str) -> None:
    ref, est = tree(tmp_path / "ref", a=GOOD), tree(tmp_path / "est", a=f"0 4 C:maj\n4 {end} G:maj\n")
    result = evaluate(ref, [est])
    assert [i.kind for i in result.issues] == ["length"]
    assert result.corpora[0].means()["root"] == (5 / 8 if end == 5 else 1.0)
    with pytest.raises(LabelError, match=words):
        evaluate(ref, [est], strict=True)


def test_small_differences_of_length_pass(tmp_path: Path) -> None:
    ref, est = tree(tmp_path / "ref", a=GOOD), tree(tmp_path / "est", a="0 4 C:maj\n4 9.5 G:maj\n")
    assert not evaluate(ref, [est], strict=True).issues


def test_missing_counterparts(tmp_path: Path) -> None:
    ref = tree(tmp_path / "ref", **{"a": GOOD, "sub/b": GOOD})
    one, two = (
        tree(tmp_path / "one", **{"a": GOOD, "sub/b": GOOD, "c": GOOD}),
        tree(tmp_path / "two", **{"sub/b": GOOD}),
    )
    result = evaluate(ref, [one, two])
    assert result.songs == ["sub/b"]  # all estimates are scored on the same songs
    assert [(i.kind, Path(i.path).name) for i in result.issues] == [("missing", "a.lab"), ("extra", "c.lab")]
    with pytest.raises(LabelError, match=r"a\.lab: there is no estimate a in .*two"):
        evaluate(ref, [one, two], strict=True)
    with pytest.raises(LabelError, match=r"No song could be scored; .*a\.lab"):
        evaluate(ref, [tree(tmp_path / "none")])


def test_overlap_of_a_short_segment_inside_a_long_one() -> None:
    annotation, issues = prepare(segments([(0, 8, "C"), (2, 4, "G"), (9, 10, "N")]))
    assert list(annotation) == [(0, 2, "C"), (2, 4, "G"), (4, 8, "C"), (9, 10, "N")]
    assert [i.kind for i in issues] == ["overlap", "gap"]


def test_rounded_times_are_no_overlap() -> None:
    annotation, issues = prepare(segments([(0, 1.0000004, "C"), (1, 2, "G")]))
    assert not issues
    np.testing.assert_array_equal(annotation.ends, [1, 2])
    assert score(annotation, annotation)["seg"] == 1.0


def test_pairs_of_files_and_folders(tmp_path: Path) -> None:
    ref, est = tree(tmp_path / "ref", a=GOOD), tree(tmp_path / "est", **{"deep/a": GOOD, "z": GOOD})
    assert match(ref / "a.lab", [est / "z.lab"])[0][0].estimates == (est / "z.lab",)
    assert match(ref / "a.lab", [est])[0][0].estimates == (est / "deep/a.lab",)
    assert match(est / "z.lab", [ref])[1][0].kind == "missing"
    with pytest.raises(UsageError, match=r"is a folder and .* is a file"):
        match(ref, [est / "z.lab"])
    with pytest.raises(UsageError, match="no file or folder"):
        match(ref, [tmp_path / "nothing"])
    with pytest.raises(UsageError, match="no variant 'btc'"):
        evaluate(ref, [est], compat="btc")
    with pytest.raises(UsageError, match="at least one estimate"):
        evaluate(ref, [])


def test_estimates_with_confidence_are_preferred(tmp_path: Path) -> None:
    from chordfast.annotations import write

    ref, est = tree(tmp_path / "ref", a=GOOD), tree(tmp_path / "est", a=GOOD)
    given = segments([(0, 8, "C:maj")])
    given.confidence = np.array([0.5], dtype=np.float32)
    write(given, est / "a.json", "json")
    write(given, ref / "a.json", "json")
    result = evaluate(ref, [est])
    assert result.corpora[0].means()["root"] == 0.5
    assert result.corpora[0].calibration.known


def test_names_of_estimates(tmp_path: Path) -> None:
    ref = tree(tmp_path / "ref", a=GOOD)
    one, two = tree(tmp_path / "x/labels", a=GOOD), tree(tmp_path / "y/labels", a=GOOD)
    assert [c.name for c in evaluate(ref, [one, two]).corpora] == ["x/labels", "y/labels"]


def test_splits(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text('{"train": ["a"], "val": ["b", "sub/c.lab"], "seed": 42}')
    assert read_split(path, None) == ({"b", "sub/c"}, "val")
    assert read_split(path, "train") == ({"a"}, "train")
    ref = tree(tmp_path / "ref", a=GOOD, b=GOOD)
    result = evaluate(ref, [ref], part=read_split(path, None)[0])
    assert result.songs == ["b"]
    assert [i.text for i in result.issues] == ["there is no reference for sub/c of the split; not scored"]
    for text, part, words in (
        ("{", None, "is not JSON"),
        ("[]", None, "no part"),
        ('{"train": []}', None, "its parts are: train"),
        ('{"val": [1]}', None, "list of song names"),
        ('{"val": []}', "dev", "no part 'dev'"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=words):
            read_split(path, part)
    with pytest.raises(UsageError, match="cannot be read"):
        read_split(tmp_path / "none.json", None)


def test_whatever_is_read_can_be_scored() -> None:
    rng = np.random.default_rng(2)
    labels = ["C:maj", "Am7", "N", "X", "H", "F#:7(b9)/3", "C:aug7"]
    for _ in range(300):
        made = []
        for _ in range(2):
            starts = rng.integers(0, 12, size=rng.integers(1, 8)) + rng.choice([0.0, 4e-7], size=1)
            ends = starts + rng.integers(0, 5, size=len(starts)) + rng.choice([0.0, 4e-7], size=len(starts))
            rows = list(zip(starts.tolist(), ends.tolist(), rng.choice(labels, size=len(starts)).tolist(), strict=True))
            annotation, issues = prepare(segments(rows))
            assert prepare(annotation)[1] == [] or {i.kind for i in prepare(annotation)[1]} <= {"gap", "empty"}
            assert len(annotation) or "empty" in [i.kind for i in issues]
            made.append(annotation)
        if len(made[0]):
            values = np.array(list(score(*made).values()))
            assert ((values >= -1e-12) & (values <= 1 + 1e-12)).all()
            same = score(made[0], made[0])
            assert same["seg"] == 1.0 and same["tetrads_inv"] in (0.0, 1.0)
