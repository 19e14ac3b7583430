"""The scores equal mir_eval's: on random chords, random annotations, and stored results."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import mir_eval
import numpy as np
import pytest
from evaluate_songs import annotation, label, like, segments

from chordfast.annotations import Annotation
from chordfast.errors import LabelError
from chordfast.evaluate import COMPARISONS, MEASURES, score
from chordfast.evaluate.comparison import compare
from chordfast.evaluate.encoding import LabelTable

GOLDEN = Path(__file__).parents[1] / "golden"


def mir(reference: Annotation, estimate: Annotation) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mir_eval.chord.evaluate(
            reference.intervals, list(reference.labels), estimate.intervals, list(estimate.labels)
        )


def test_ten_thousand_label_pairs() -> None:
    rng = random.Random(5)
    references = [label(rng) for _ in range(10_000)]
    estimates = [like(rng, other) for other in references]
    table = LabelTable()
    a, b = table.ids(references), table.ids(estimates)
    right, counts = compare(table.codes.take(a), table.codes.take(b))
    for name, row in zip(COMPARISONS, np.where(counts, right.astype(float), -1.0), strict=True):
        expected = getattr(mir_eval.chord, name)(references, estimates)
        assert 0.05 < (expected == 1).mean() < 0.95, name
        np.testing.assert_array_equal(row, expected, err_msg=name)


def test_neighbours_join_as_in_mir_eval() -> None:
    rng = random.Random(6)
    labels = [label(rng) for _ in range(3000)]
    table = LabelTable()
    ids = table.ids(labels)
    codes = table.codes.take(ids)
    roots, bitmaps, basses = mir_eval.chord.encode_many(labels, True)
    keys = [(r, *b, s) for r, b, s in zip(roots.tolist(), bitmaps.tolist(), basses.tolist(), strict=True)]
    assert len(set(keys)) == len(set(codes.merged.tolist())) == len(set(zip(keys, codes.merged.tolist(), strict=True)))


def test_three_hundred_annotations() -> None:
    rng = random.Random(7)
    scored = 0
    for _ in range(330):
        pool = [label(rng) for _ in range(6)]
        reference, estimate = annotation(rng, pool), annotation(rng, pool)
        try:
            expected = mir(reference, estimate)
        except ValueError:
            continue  # an estimate that only touches the reference's span; mir_eval refuses those
        found = score(reference, estimate)
        assert list(found) == list(MEASURES) and found.keys() == expected.keys()
        assert found == pytest.approx(expected, abs=1e-12)
        scored += 1
    assert scored > 300


@pytest.mark.parametrize("k", range(10))
def test_stored_pairs_of_mir_eval(k: int) -> None:
    pair = json.loads((GOLDEN / "evaluate_fixtures.json").read_text())[k]
    found = score(segments(pair["ref"]), segments(pair["est"]))
    assert found == pytest.approx(pair["scores"], abs=1e-9)


@pytest.mark.parametrize("k", range(12))
def test_golden_pairs(k: int) -> None:
    pair = json.loads((GOLDEN / "evaluate_metrics.json").read_text())["pairs"][k]
    found = score(segments(pair["ref"]), segments(pair["est"]))
    assert found == pytest.approx(pair["mir_eval_evaluate"], abs=1e-12)
    assert {name: found[name] for name in pair["btc_segment_scores"]} == pytest.approx(pair["btc_segment_scores"])


def test_chords_mir_eval_cannot_encode_go_by_their_notes() -> None:
    with pytest.raises(mir_eval.chord.InvalidChordException):
        mir_eval.chord.encode("C:aug7")
    reference = segments([(0, 1, "C:aug7"), (1, 2, "C:maj11")])
    found = score(reference, segments([(0, 2, "C:aug")]))
    assert (found["root"], found["triads"], found["tetrads"]) == (1.0, 0.5, 0.0)
    assert score(reference, reference)["tetrads"] == 1.0
    assert score(reference, segments([(0, 2, "C:maj7")]))["tetrads"] == 0.5


def test_estimates_that_touch_or_miss_the_reference() -> None:
    reference = segments([(2, 4, "C"), (4, 6, "N")])
    around = score(reference, segments([(0, 2, "G"), (2, 4, "C"), (4, 6, "N"), (6, 9, "D")]))
    assert set(around.values()) == {1.0}
    for other in (segments([]), segments([(7, 8, "C")]), segments([(0, 2, "C")])):
        found = score(reference, other)
        assert (found["root"], found["overseg"], found["underseg"]) == (0.5, 1.0, 0.5)


def test_input_that_cannot_be_scored() -> None:
    good = segments([(0, 1, "C")])
    with pytest.raises(LabelError, match="reference has no segments"):
        score(segments([]), good)
    for rows in ([(0, 1, "C"), (0.5, 2, "D")], [(0, 0, "C")], [(1, 2, "C"), (0, 1, "D")]):
        with pytest.raises(LabelError, match="in order of time"):
            score(good, segments(rows))
    with pytest.raises(LabelError, match="outside the Harte grammar"):
        score(good, segments([(0, 1, "H")]))
