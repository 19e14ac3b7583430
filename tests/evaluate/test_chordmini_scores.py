"""The variant of the ChordMini code: every stored number, exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluate_songs import segments

from chordfast.evaluate import ChordMiniCorpus
from chordfast.evaluate.chordmini import (
    MEASURES,
    QUALITY_GROUPS,
    estimate_frames,
    frame_count,
    reference_frames,
    score_frames,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/evaluate_metrics.json").read_text())
PAIRS, CORPUS = GOLDEN["pairs"], GOLDEN["corpus"]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_songs(pair: dict) -> None:
    reference = segments(pair["ref"])
    assert frame_count(reference.duration) == pair["n_frames"]
    frames = estimate_frames(segments(pair["est"]), pair["n_frames"])
    np.testing.assert_array_equal(frames, pair["est_frame_idx"])
    classes = reference_frames(reference, pair["n_frames"])
    found = dict(zip(MEASURES, score_frames(classes, frames).tolist(), strict=True))
    assert found == pytest.approx({**pair["cm_frame_scores"], **pair["cm_segmentation"]}, abs=1e-12)
    assert (classes == frames).mean() == pytest.approx(pair["frame_accuracy"])


def test_corpus() -> None:
    corpus = ChordMiniCorpus()
    for pair in PAIRS:
        corpus.add(segments(pair["ref"]), segments(pair["est"]))
    assert corpus.average() == pytest.approx(CORPUS["average_scores"], abs=1e-12)
    stats, wcsr, acqa = corpus.quality()
    assert stats == {k: (v["total"], v["correct"]) for k, v in CORPUS["quality"]["quality_stats"].items()}
    assert (wcsr, acqa) == pytest.approx((CORPUS["quality"]["wcsr"], CORPUS["quality"]["acqa"]), abs=1e-12)
    assert corpus.frames() == pytest.approx(CORPUS["frame_metrics"], abs=1e-12)
    content = corpus.as_dict()
    accuracies = {name: row["accuracy"] for name, row in content["quality"]["groups"].items()}  # type: ignore[index]
    assert accuracies == pytest.approx(CORPUS["mapped_quality_accuracy"])
    assert set(accuracies) == set(QUALITY_GROUPS)


def test_estimates_on_the_frame_grid_are_read_frame_by_frame() -> None:
    period = 2048 / 22050
    classes = [1, 0, 0, 15, 15, 15, 29]
    text = [(f"{i * period:.6f}", f"{(i + 1) * period:.6f}") for i in range(7)]
    names = {1: "C", 0: "C:min", 15: "C#", 29: "D"}
    estimate = segments([(float(a), float(b), names[c]) for (a, b), c in zip(text, classes, strict=True)])
    assert estimate_frames(estimate, 7).tolist() == classes


def test_x_and_what_has_no_class_become_n() -> None:
    corpus = ChordMiniCorpus()
    reference = segments([(0, 1, "X"), (1, 2, "C:aug7"), (2, 3, "C:5")])
    corpus.add(reference, segments([(0, 1, "N"), (1, 2, "N"), (2, 3, "C:maj")]))
    assert corpus.average()["tetrads"] == 1.0
    both = ChordMiniCorpus()
    both.add_frames(np.array([168, 1]), np.array([169, 1]))
    assert both.frames()["accuracy"] == 1.0
