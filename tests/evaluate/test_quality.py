"""Qualities with and without root, confusion, recall of classes, calibration, pooled and weighted means."""

from __future__ import annotations

import numpy as np
import pytest
from evaluate_songs import segments

from chordfast.annotations import Annotation
from chordfast.evaluate import Corpus
from chordfast.evaluate.calibration import Calibration
from chordfast.evaluate.encoding import GROUPS
from chordfast.vocabulary import chord_class


def corpus() -> Corpus:
    counted = Corpus("a")
    reference = segments([(0, 4, "C:maj"), (4, 6, "A:min7"), (6, 7, "N"), (7, 8, "X"), (8, 10, "G:5")])
    estimate = segments([(0, 1, "C:maj"), (1, 4, "G:maj"), (4, 6, "A:min"), (6, 8, "N"), (8, 10, "G:maj")])
    counted.add("one", reference, estimate)
    counted.add("two", segments([(0, 10, "D:min7")]), segments([(0, 5, "D:min7"), (5, 10, "D:min")]))
    return counted


def test_groups() -> None:
    quality = corpus().quality
    groups = quality.as_dict()["groups"]
    assert groups["maj"] == {"seconds": 4.0, "accuracy": 1.0, "accuracy_with_root": 0.25}  # type: ignore[index]
    assert groups["min7"] == pytest.approx(  # type: ignore[index]
        {"seconds": 12.0, "accuracy": 5 / 12, "accuracy_with_root": 5 / 12}
    )
    assert groups["N"]["accuracy"] == 1.0 and groups["other"]["accuracy"] == 0.0  # type: ignore[index]
    assert list(groups) == ["maj", "min7", "N", "other"] or set(groups) == {"maj", "min7", "N", "other"}
    assert quality.acqa(root=False) == pytest.approx((1 + 5 / 12 + 1) / 3)
    assert quality.acqa(root=True) == pytest.approx((0.25 + 5 / 12 + 1) / 3)


def test_confusion_and_recall() -> None:
    quality = corpus().quality
    at = GROUPS.index
    assert quality.confusion[at("min7"), at("min")] == pytest.approx(7.0)
    assert quality.confusion[at("other"), at("maj")] == pytest.approx(2.0)
    assert quality.confusion.sum() == pytest.approx(19.0)  # the reference X is left out
    recall = quality.as_dict()["recall_of_classes"]
    assert recall["C:maj"] == {"seconds": 4.0, "recall": 0.25}  # type: ignore[index]
    assert quality.class_seconds[chord_class("D:min7")] == 10.0


def test_weighted_and_pooled_means() -> None:
    counted = Corpus("a")
    counted.add("long", segments([(0, 30, "C:maj")]), segments([(0, 30, "C:maj")]))
    counted.add("unknown", segments([(0, 10, "X")]), segments([(0, 10, "C:maj")]))
    assert counted.means()["root"] == 0.75  # a song where nothing counts scores 0 in mir_eval
    assert counted.pooled()["root"] == 1.0
    assert counted.songs == ["long", "unknown"] and counted.seconds.tolist() == [30.0, 10.0]


def test_folders() -> None:
    counted = Corpus("a")
    for name, estimate in (("x/1", "C"), ("x/2", "D"), ("y/z/1", "C")):
        counted.add(name, segments([(0, 4, "C")]), segments([(0, 4, estimate)]))
    assert {k: (n, s, m["root"]) for k, (n, s, m) in counted.folders().items()} == {
        "x": (2, 8.0, 0.5),
        "y": (1, 4.0, 1.0),
    }
    assert corpus().folders() == {}


def sure(rows: list, confidence: list[float]) -> Annotation:
    given = segments(rows)
    given.confidence = np.array(confidence, dtype=np.float32)
    return given


def test_calibration() -> None:
    counted = Corpus("a")
    reference = segments([(0, 10, "C:maj"), (10, 12, "X"), (12, 14, "C:5")])
    estimate = sure(
        [(0, 3, "C"), (3, 4, "G"), (4, 8, "C:maj7"), (8, 9, "C"), (9, 14, "C")], [0.75, 0.75, 0.35, np.nan, 1]
    )
    counted.add("one", reference, estimate)
    content = counted.calibration.as_dict()
    assert content is not None
    bins = {row["from"]: row for row in content["bins"]}  # type: ignore[attr-defined, index]
    assert bins[0.7] == pytest.approx({"from": 0.7, "to": 0.8, "seconds": 4, "confidence": 0.75, "accuracy": 0.75})
    assert bins[0.3] == pytest.approx({"from": 0.3, "to": 0.4, "seconds": 4, "confidence": 0.35, "accuracy": 0.0})
    assert bins[0.9]["seconds"] == 1.0 and bins[0.9]["accuracy"] == 1.0  # X and C:5 have no class to be right about
    assert content["ece"] == pytest.approx(4 * 0.35 / 9)
    assert content["accuracy"] == pytest.approx(4 / 9)


def test_no_confidence_no_calibration() -> None:
    assert corpus().calibration.as_dict() is None
    assert np.isnan(Calibration().error())
