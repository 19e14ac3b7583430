"""The ChordMini decoder's rules against outputs of that code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chordfast.annotations import dumps
from chordfast.decoding import FRAME_PERIOD, DecodingOptions, chordmini_classes, decode, windows

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = np.load(FOLDER / "decoding.npz")
LAB = json.loads((FOLDER / "decoding_lab.json").read_text())
VOTES = ("hard", "logit", "prob")


@pytest.mark.parametrize("frames", [300, 55, 1])
def test_classes_of_every_option_set(frames: int) -> None:
    options, expected = GOLDEN[f"decode.T{frames}.options"], GOLDEN[f"decode.T{frames}.pred"]
    assert len(options) == len(expected) >= 48
    for (kind, stride, smoothed, gaussian, filtered, kernel), ids in zip(options.tolist(), expected, strict=True):
        logits = GOLDEN[f"decode.T{frames}.window_logits_stride{stride}"]
        starts = windows(frames, 108, {108: 0.0, 54: 0.5, 75: 0.3}[stride], cover_tail=False)
        assert len(starts) == len(logits)
        found = chordmini_classes(
            logits,
            starts,
            frames,
            VOTES[kind],
            smoothing_kernel=kernel if smoothed else 1,
            smoothing_kind="gaussian" if gaussian else "uniform",
            majority_kernel=kernel if filtered else 1,
        )
        np.testing.assert_array_equal(found, ids)


def test_uncovered_tail_is_class_0() -> None:
    logits = GOLDEN["decode.T300.window_logits_stride75"]
    found = chordmini_classes(logits, [0, 75, 150], 300)
    assert (found[258:] == 0).all() and (found[:258] != 0).any()


@pytest.mark.parametrize("case", range(len(LAB)))
def test_lab_text(case: int) -> None:
    ids, min_duration, text = LAB[case]["ids"], LAB[case]["min_duration"], LAB[case]["text"]
    posteriors = np.zeros((len(ids) + 1, 170), np.float32)  # one frame more than fits, as in any real recording
    posteriors[np.arange(len(ids)), ids] = 1
    options = DecodingOptions(method="argmax", min_duration=min_duration, compat="chordmini")
    found = decode(posteriors, (len(ids) + 0.5) * FRAME_PERIOD, options)
    assert dumps(found, "lab", compat="chordmini") == text


def test_published_settings() -> None:
    options = DecodingOptions.chordmini()
    assert (options.method, options.majority_kernel, options.min_duration) == ("argmax", 9, 0.5)
    posteriors = np.zeros((30, 170), np.float32)
    posteriors[:12, 1] = posteriors[12:15, 5] = posteriors[15:, 168] = 1
    found = decode(posteriors, 28.7 * FRAME_PERIOD, options)
    assert found.labels == ["C:maj", "X"]
    # Frame 13 sees three classes thrice each and keeps its own; that one-frame run is then left out.
    np.testing.assert_allclose(found.starts / FRAME_PERIOD, [0, 14], atol=1e-9)
    np.testing.assert_allclose(found.ends / FRAME_PERIOD, [13, 28], atol=1e-9)


def test_gaps_are_reported_not_hidden() -> None:
    posteriors = np.zeros((30, 170), np.float32)
    posteriors[:12, 1] = posteriors[12:15, 5] = posteriors[15:, 168] = 1
    found = decode(
        posteriors, 29 * FRAME_PERIOD + 1e-9, DecodingOptions(method="argmax", min_duration=0.5, compat="chordmini")
    )
    assert found.labels == ["C:maj", "X"]
    np.testing.assert_allclose(found.gaps() / FRAME_PERIOD, [[12, 15]], atol=1e-6)


def test_no_whole_frame() -> None:
    assert len(decode(np.ones((1, 25)), 0.5 * FRAME_PERIOD, DecodingOptions.chordmini())) == 0
