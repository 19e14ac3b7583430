"""Frame labels: the two published rules, and the default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chordfast.annotations import FRAME_PERIOD, Annotation, frame_classes, read_lab
from chordfast.errors import LabelError, UsageError

GOLDEN = Path(__file__).parents[1] / "golden/vocabulary"
FRAMES = np.load(GOLDEN / "lab_frames.npz")


@pytest.mark.parametrize("key", FRAMES.files)
def test_published_rules(key: str) -> None:
    name, rule = key.split(".lab.")
    annotation = read_lab(GOLDEN / f"{name}.lab")
    if rule == "eval":
        got = annotation.frame_classes(274, rule="cm_eval")
    else:
        first, stop = map(int, rule.removeprefix("train_").split("_"))
        got = annotation.frame_classes(stop - first, rule="cm_train", first_frame=first)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, FRAMES[key])


@pytest.mark.parametrize("name", ["clip", "fast", "gappy"])
def test_centre_rule(name: str) -> None:
    annotation = read_lab(GOLDEN / f"{name}.lab")
    got = frame_classes(annotation, 280)
    for i in range(280):
        centre = (i + 0.5) * FRAME_PERIOD
        labels = [label for start, end, label in annotation if start <= centre < end] or ["N"]
        assert got[i] == frame_classes(([0], [9], labels[-1:]), 1)[0]
    np.testing.assert_array_equal(frame_classes(annotation, 100, first_frame=57), got[57:157])


def test_by_hand() -> None:
    segments = ([0.0, 1.0, 2.9], [1.0, 2.0, 4.0], ["C:maj", "X", "A:min7/b3"])
    assert frame_classes(segments, 6, 1.0).tolist() == [1, 168, 169, 132, 169, 169]
    assert frame_classes(segments, 6, 1.0, ignore_index=-100).tolist() == [1, -100, 169, 132, 169, 169]
    assert frame_classes(segments, 6, 1.0, classes=25).tolist() == [0, 25, 24, 19, 24, 24]
    assert frame_classes(segments, 6, 1.0, classes=25, ignore_index=-1).tolist() == [0, -1, 24, 19, 24, 24]
    assert frame_classes(segments, 6, 1.0, "cm_train").tolist() == [1, 168, 169, 132, 169, 169]
    assert frame_classes(segments, 6, 1.0, "cm_eval").tolist() == [1, 169, 132, 132, 132, 169]
    assert frame_classes(segments, 6, 1.0, "instant", ignore_index=-1).tolist() == [1, -1, 169, 132, 169, 169]
    assert frame_classes(([0.6], [1.6], ["C:maj"]), 3, 1.0, "instant").tolist() == [169, 1, 169]
    assert frame_classes(([0.6], [1.6], ["C:maj"]), 3, 1.0, "center").tolist() == [169, 1, 169]
    assert frame_classes(([0.4], [1.4], ["C:maj"]), 3, 1.0, "center").tolist() == [1, 169, 169]
    assert frame_classes(segments, 2, 1.0, dialect="cm_offline").tolist() == [1, 169]
    assert frame_classes(segments, 0).shape == (0,)
    assert frame_classes(([], [], []), 3).tolist() == [169] * 3


def test_overlaps() -> None:
    segments = Annotation([1, 0, 2], [3, 9, 5], ["C:maj", "D:maj", "E:maj"])  # type: ignore[arg-type]
    assert frame_classes(segments, 6, 1.0).tolist() == [29, 1, 57, 57, 57, 29]
    assert frame_classes(segments, 6, 1.0, "instant").tolist() == [29, 1, 57, 57, 57, 29]
    assert frame_classes(segments, 6, 1.0, "cm_train").tolist() == [29, 1, 1, 29, 29, 29]
    assert frame_classes(segments, 6, 1.0, "cm_eval").tolist() == [29, 29, 57, 57, 57, 57]


def test_errors() -> None:
    segments = ([0.0], [1.0], ["H:min"])
    with pytest.raises(LabelError, match="'H:min' cannot be read"):
        frame_classes(segments, 3)
    with pytest.raises(UsageError, match="no frame rule 'left'; choose one of center, instant, cm_train, cm_eval"):
        frame_classes(segments, 3, rule="left")
    with pytest.raises(UsageError, match="positive period"):
        frame_classes(segments, 3, 0.0)
    with pytest.raises(UsageError, match="positive period"):
        frame_classes(segments, -1)
