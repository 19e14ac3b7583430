"""The Annotation: checks, gaps, overlaps, mending."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.annotations import Annotation
from chordfast.errors import LabelError


def annotation(*segments: tuple[float, float, str], **options: object) -> Annotation:
    starts, ends, labels = zip(*segments, strict=True) if segments else ((), (), ())
    return Annotation(starts, ends, list(labels), **options)  # type: ignore[arg-type]


def test_types_and_defaults() -> None:
    one = annotation((0, 1, "C:maj"), (1, 2.5, "N"), confidence=[0.5, 1])
    assert (one.starts.dtype, one.ends.dtype, one.confidence.dtype) == (np.float64, np.float64, np.float32)
    assert one.duration == 2.5
    assert len(one) == 2
    assert list(one) == [(0.0, 1.0, "C:maj"), (1.0, 2.5, "N")]
    assert one.intervals.tolist() == [[0, 1], [1, 2.5]]
    assert annotation().duration == 0.0
    assert len(annotation().gaps()) == 0


def test_equality() -> None:
    nan = float("nan")
    make = lambda c: annotation((0, 1, "C:maj"), confidence=[c], meta={"a": 1})  # noqa: E731
    assert make(nan) == make(nan)
    assert make(0.5) != make(0.25)
    assert make(0.5) != annotation((0, 1, "C:maj"), meta={"a": 1})
    assert make(0.5) != "C:maj"


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        ((1, 0.5, "C"), "end after"),
        ((-1, 1, "C"), "negative"),
        ((0, float("inf"), "C"), "finite"),
        ((float("nan"), 1, "C"), "Segment 2"),
    ],
)
def test_impossible_times(segment: tuple[float, float, str], words: str) -> None:
    with pytest.raises(LabelError, match=words):
        annotation((0, 1, "N"), segment)


def test_shapes_must_fit() -> None:
    with pytest.raises(LabelError, match="needs confidence of shape"):
        annotation((0, 1, "C"), confidence=[0.1, 0.2])
    with pytest.raises(LabelError, match="needs ends of shape"):
        Annotation([0.0], [1.0, 2.0], ["C"])  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="needs alternatives"):
        annotation((0, 1, "C"), alternatives=[])
    with pytest.raises(LabelError, match="duration"):
        annotation((0, 1, "C"), duration=float("inf"))


def test_gaps_and_overlaps() -> None:
    one = annotation((1, 2, "C"), (2, 3, "D"), (2.5, 4, "E"), (5, 6, "F"), duration=8)
    assert one.gaps().tolist() == [[0, 1], [4, 5], [6, 8]]
    assert one.overlaps().tolist() == [[2.5, 3]]
    assert annotation(duration=3).gaps().tolist() == [[0, 3]]
    assert annotation((0, 9, "C"), (1, 2, "D")).overlaps().tolist() == [[1, 2]]
    assert annotation((0, 1, "C"), (4, 5, "D"), duration=3).gaps().tolist() == [[1, 3]]


def test_fill_gaps() -> None:
    one = annotation(
        (1, 2, "C"),
        (4, 6, "D"),
        confidence=[0.25, 0.75],
        alternatives=["A:min", "F"],
        alternative_confidence=[0.1, 0.2],
        duration=7,
        meta={"a": 1},
    )
    full = one.fill_gaps()
    assert list(full) == [(0, 1, "N"), (1, 2, "C"), (2, 4, "N"), (4, 6, "D"), (6, 7, "N")]
    np.testing.assert_array_equal(full.confidence, [np.nan, 0.25, np.nan, 0.75, np.nan])
    assert full.alternatives == ["", "A:min", "", "F", ""]
    np.testing.assert_array_equal(full.alternative_confidence, np.float32([np.nan, 0.1, np.nan, 0.2, np.nan]))
    assert (full.duration, full.meta) == (7, {"a": 1})
    assert full.fill_gaps() == full
    assert list(one.fill_gaps(5, label="X")) == [(0, 1, "X"), (1, 2, "C"), (2, 4, "X"), (4, 5, "D")]
    assert list(one.fill_gaps(0.5)) == [(0, 0.5, "N")]
    assert list(one.fill_gaps(0)) == []
    assert list(annotation(duration=2).fill_gaps()) == [(0, 2, "N")]


def test_fill_gaps_settles_overlaps_and_order() -> None:
    one = annotation((4, 5, "D"), (0, 10, "C"), (2, 2, "E"), (4.5, 6, "F"))
    assert list(one.fill_gaps()) == [(0, 4, "C"), (4, 4.5, "D"), (4.5, 6, "F"), (6, 10, "C")]


def test_fill_gaps_closes_rounding() -> None:
    one = annotation((4e-7, 1, "C"), (1.0000005, 2, "D"), (3, 4, "E"), duration=4.0000004)
    assert list(one.fill_gaps()) == [(0, 1.0000005, "C"), (1.0000005, 2, "D"), (2, 3, "N"), (3, 4.0000004, "E")]


times = st.integers(0, 40).map(lambda n: n / 4)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(times, times), max_size=8), times)
def test_fill_gaps_covers_everything_once(pairs: list[tuple[float, float]], duration: float) -> None:
    segments = [(min(p), max(p), f"label{i}") for i, p in enumerate(pairs)]
    full = annotation(*segments).fill_gaps(duration)
    assert len(full.gaps()) == len(full.overlaps()) == 0
    assert (full.ends > full.starts).all()
    assert full.ends.max(initial=0) == duration
    for start, end, label in full:  # the owner of every piece is the covering segment that starts last
        middle = (start + end) / 2
        cover = [s for s in segments if s[0] <= middle < s[1]]
        latest = max((s[0] for s in cover), default=None)
        assert label in ([s[2] for s in cover if s[0] == latest] or ["N"])
