"""Posteriors to annotations, and the options."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.annotations import dumps
from chordfast.decoding import FRAME_PERIOD, DecodingOptions, decode, frame_classes, options_hash
from chordfast.errors import UsageError

C, AM, N = 1, 14 * 9, 169
ARGMAX = DecodingOptions(method="argmax")


def peaked(ids: list[int], top: float = 0.9, classes: int = 170) -> np.ndarray:
    """Posteriors [T, classes] with ``top`` at the ids and the rest spread evenly."""
    p = np.full((len(ids), classes), (1 - top) / (classes - 1), np.float32)
    p[np.arange(len(ids)), ids] = top
    return p


def spans(annotation) -> list[tuple[float, float, str]]:
    return [(round(a / FRAME_PERIOD, 6), round(b / FRAME_PERIOD, 6), label) for a, b, label in annotation]


def test_segments_times_confidences_and_runners_up() -> None:
    p = peaked([C] * 4 + [AM] * 6, 0.8)
    p[:4, N] = 0.1
    p[4:, 168] = [0.15, 0.05, 0.1, 0.1, 0.1, 0.1]
    found = decode(p, 10 * FRAME_PERIOD)
    assert spans(found) == [(0, 4, "C:maj"), (4, 10, "A:min")]
    assert found.starts[0] == 0 and found.ends[-1] == found.duration == 10 * FRAME_PERIOD
    np.testing.assert_allclose(found.confidence, [0.8, 0.8], atol=1e-6)
    assert found.alternatives == ["N", "X"]
    np.testing.assert_allclose(found.alternative_confidence, [0.1, 0.1], atol=1e-6)
    assert found.confidence.dtype == found.alternative_confidence.dtype == np.float32
    assert found.meta == {"options_hash": DecodingOptions().hash}


def test_confidence_is_of_the_segment_class_not_of_the_best_class_of_each_frame() -> None:
    p = peaked([C] * 10, 0.6)
    p[5] = peaked([AM], 0.6)[0]
    found = decode(p, 10 * FRAME_PERIOD)
    assert found.labels == ["C:maj"]
    assert found.confidence[0] == pytest.approx((9 * 0.6 + 0.4 / 169) / 10, abs=1e-6)
    assert found.alternatives == ["A:min"]


def test_x_and_n_are_written_as_such_and_25_classes_work() -> None:
    assert decode(peaked([168] * 5 + [N] * 5), 1.0).labels == ["X", "N"]
    assert decode(peaked([0] * 5 + [1] * 5 + [24] * 5, classes=25), 2.0).labels == ["C:maj", "C:min", "N"]


def test_boundary_shifts_changes_but_not_the_ends() -> None:
    p = peaked([C] * 4 + [AM] * 6)
    for shift in (-0.5, 0.0, 0.5):
        found = decode(p, 10 * FRAME_PERIOD, DecodingOptions(boundary=shift))
        assert spans(found) == [(0, 4 + shift, "C:maj"), (4 + shift, 10, "A:min")]


def test_boundary_of_the_model_yields_to_a_chosen_one() -> None:
    p = peaked([C] * 4 + [AM] * 6)
    assert spans(decode(p, 10 * FRAME_PERIOD, DecodingOptions().for_model(0.5)))[1][0] == 4.5
    assert DecodingOptions(boundary=0.0).for_model(0.5).boundary == 0.0
    assert list(decode(p, 1.0)) == list(decode(p, 1.0, DecodingOptions().for_model(0.0)))


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.5])
def test_frame_at_the_very_end_of_the_recording_has_no_time(shift: float) -> None:
    # 22 050 Hz, hop 2048: a recording of exactly 10 hops has 11 frames.
    found = decode(peaked([C] * 10 + [AM]), 10 * 2048 / 22050, DecodingOptions(method="argmax", boundary=shift))
    assert found.labels == (["C:maj", "A:min"] if shift < 0 else ["C:maj"])
    assert (found.ends > found.starts).all() and found.ends[-1] == found.duration


def test_duration_beyond_and_before_the_frames() -> None:
    assert spans(decode(peaked([C, AM]), 5 * FRAME_PERIOD, ARGMAX)) == [(0, 1, "C:maj"), (1, 5, "A:min")]
    assert spans(decode(peaked([C, C, AM, AM]), 1.5 * FRAME_PERIOD, ARGMAX)) == [(0, 1.5, "C:maj")]
    assert decode(peaked([C, AM]), 1e-9, ARGMAX).labels == ["C:maj"]


def test_no_frames_and_no_duration() -> None:
    none = decode(np.zeros((0, 170)), 0.02)
    assert list(none) == [(0.0, 0.02, "N")] and none.confidence is None and none.alternatives is None
    assert len(decode(np.zeros((0, 170)), 0.0)) == len(decode(peaked([C]), 0.0)) == 0


def test_one_frame() -> None:
    assert list(decode(peaked([C]), 0.05)) == [(0.0, 0.05, "C:maj")]


def test_single_frame_flips() -> None:
    ids = [C] * 8 + [AM] + [C] * 8
    assert decode(peaked(ids, 0.5), 17 * FRAME_PERIOD).labels == ["C:maj"]  # Viterbi
    assert decode(peaked(ids), 17 * FRAME_PERIOD, ARGMAX).labels == ["C:maj", "A:min", "C:maj"]
    for options in (
        DecodingOptions(method="argmax", majority_kernel=3),
        DecodingOptions(method="argmax", smoothing_kernel=5, smoothing_kind="uniform"),
        DecodingOptions(method="argmax", min_duration=0.1),
    ):
        assert decode(peaked(ids), 17 * FRAME_PERIOD, options).labels == ["C:maj"]


def test_posteriors_of_zero_and_one_are_not_impossible() -> None:
    ids = [C] * 3 + [AM] * 3
    np.testing.assert_array_equal(frame_classes(peaked(ids, 1.0)), ids)
    np.testing.assert_array_equal(frame_classes(np.zeros((4, 25))), [0] * 4)


def test_min_duration_is_in_seconds_and_may_exceed_the_song() -> None:
    ids = [C] * 10 + [AM] * 5 + [N] * 10
    p = peaked(ids)
    p[10:15, N] = 0.05
    end = 25 * FRAME_PERIOD
    assert spans(decode(p, end, DecodingOptions(min_duration=5 * FRAME_PERIOD)))[1] == (10, 15, "A:min")
    assert spans(decode(p, end, DecodingOptions(min_duration=0.5))) == [(0, 10, "C:maj"), (10, 25, "N")]
    assert decode(p, end, DecodingOptions(min_duration=1e6)).labels == ["N"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 24), max_size=50),
    st.floats(0, 6),
    st.builds(
        DecodingOptions,
        method=st.sampled_from(["viterbi", "argmax"]),
        min_duration=st.sampled_from([0.0, 0.2, 0.5, 100.0]),
        boundary=st.floats(-0.99, 0.99),
        smoothing_kernel=st.sampled_from([1, 3, 9]),
        majority_kernel=st.sampled_from([1, 3, 9]),
    ),
)
def test_annotations_never_have_gaps(ids: list[int], duration: float, options: DecodingOptions) -> None:
    found = decode(peaked(ids, 0.6, 25), duration, options)
    if duration == 0:
        assert len(found) == 0
        return
    assert found.starts[0] == 0 and found.ends[-1] == found.duration == duration
    np.testing.assert_array_equal(found.starts[1:], found.ends[:-1])
    assert (found.ends > found.starts).all()
    assert all(a != b for a, b in zip(found.labels, found.labels[1:], strict=False))
    if len(found) > 1:
        assert (found.ends - found.starts).min() >= options.min_duration * (1 - 1e-6)
    if ids:
        assert all(0 <= c <= 1 for c in (*found.confidence, *found.alternative_confidence))
        assert all(a != b for a, b in zip(found.labels, found.alternatives, strict=True))
    json.loads(dumps(found, "json"))


def test_same_answer_from_float64_and_from_strided_input() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(170, 0.1), 300).astype(np.float32)
    expected = decode(p, 28.0)
    assert decode(p.astype(np.float64), 28.0) == expected
    assert decode(np.asfortranarray(p), 28.0) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
@pytest.mark.parametrize("options", [DecodingOptions(), ARGMAX])
def test_bad_posteriors_are_named(value: float, options: DecodingOptions) -> None:
    p = peaked([C] * 20)
    p[13, 42] = value
    with pytest.raises(UsageError, match=r"posterior of class 42 at frame 13 is (nan|inf|-0\.1)"):
        decode(p, 2.0, options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decode(np.ones(5), 1.0), r"shape \[5\]"),
        (lambda: decode(np.ones((5, 0)), 1.0), r"shape \[5, 0\]"),
        (lambda: decode(np.ones((5, 7)), 1.0), "vocabulary of 7"),
        (lambda: decode(peaked([C]), -1.0), "duration is -1.0"),
        (lambda: decode(peaked([C]), float("nan")), "duration is nan"),
        (lambda: decode(peaked([C]), 1.0, None, 0.0), "frame period is 0.0"),
        (lambda: DecodingOptions(method="beam"), "no decoding method 'beam'"),
        (lambda: DecodingOptions(self_transition=1.01), "self_transition is 1.01"),
        (lambda: DecodingOptions(smoothing_kind="box"), "no smoothing 'box'"),
        (lambda: DecodingOptions(smoothing_kernel=0), "smoothing kernel is 0"),
        (lambda: DecodingOptions(majority_kernel=-3), "majority kernel is -3"),
        (lambda: DecodingOptions(min_duration=-0.1), "min_duration is -0.1"),
        (lambda: DecodingOptions(min_duration=float("nan")), "min_duration is nan"),
        (lambda: DecodingOptions(boundary=1.0), "boundary is 1.0"),
        (lambda: DecodingOptions(compat="madmom"), "'madmom'"),
    ],
)
def test_wrong_arguments_are_one_sentence(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_hash_is_of_the_values() -> None:
    one = DecodingOptions()
    assert options_hash(one) == one.hash == DecodingOptions(min_duration=0).hash
    assert len(one.hash) == 64 and int(one.hash, 16) >= 0
    changed = {
        "method": "argmax",
        "self_transition": 0.9,
        "smoothing_kernel": 9,
        "smoothing_kind": "uniform",
        "majority_kernel": 3,
        "min_duration": 0.5,
        "boundary": -0.5,
        "compat": "chordmini",
    }
    assert set(changed) == {f.name for f in dataclasses.fields(DecodingOptions)}
    hashes = {dataclasses.replace(one, **{k: v}).hash for k, v in changed.items()} | {one.hash}
    assert len(hashes) == len(changed) + 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.method = "argmax"


def test_hash_does_not_change_between_versions() -> None:
    # A new default must change it, a refactoring must not: manifests of finished folders hold it.
    assert DecodingOptions().hash == "475e6068fa30a70ed2effa0e8f857684eb8bd6e09b035c896abab392fd60b80c"


def test_decoding_needs_no_torch() -> None:
    code = "import sys, chordfast.decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
