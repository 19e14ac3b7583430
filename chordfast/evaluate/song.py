"""The scores of one song."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..annotations import Annotation
from ..errors import LabelError
from .comparison import COMPARISONS, MEASURES, compare
from .encoding import Codes, LabelTable
from .pieces import Float, Int, Pieces, Track, cut, fit, segmentation

N_ID = 0  # LabelTable gives it to N


class Scored(NamedTuple):
    """What scoring a song gives.

    seconds: length of the reference. scores: float64 [15], order of ``MEASURES``.
    right, counted: seconds that are right and that count, float64 [12], order of ``COMPARISONS``.
    pieces, reference, estimate: the cut song, and the codes of both sides of every piece.
    segment: index of the estimate's segment of every piece, int64 [P]; -1 where the estimate was filled with N.
    """

    seconds: float
    scores: Float
    right: Float
    counted: Float
    pieces: Pieces
    reference: Codes
    estimate: Codes
    segment: Int

    def as_dict(self) -> dict[str, float]:
        """Measure → score in [0, 1]."""
        return dict(zip(MEASURES, self.scores.tolist(), strict=True))


def score(reference: Annotation, estimate: Annotation) -> dict[str, float]:
    """The scores of ``mir_eval.chord.evaluate`` for one song: seven, five of them with the bass, three of segmentation.

    Both annotations in order of time, without overlaps or segments of no length, Harte labels; the reference not
    empty (``chordfast.evaluate.prepare`` mends what is not so). Within 1e-12 of mir_eval 0.8 wherever that answers.
    Raises LabelError for a label outside the grammar or an empty reference.
    """
    return score_song(reference, estimate, LabelTable()).as_dict()


def score_song(reference: Annotation, estimate: Annotation, table: LabelTable) -> Scored:
    """``score`` with all that a corpus needs; ``table`` is shared between songs."""
    if not len(reference):
        raise LabelError("The reference has no segments; nothing can be scored against it.")
    return score_tracks(_track(reference, table), _track(estimate, table), table)


def _track(annotation: Annotation, table: LabelTable) -> Track:
    track = Track(annotation.starts, annotation.ends, table.ids(annotation.labels))
    if (track.ends <= track.starts).any() or (track.starts[1:] < track.ends[:-1]).any():
        raise LabelError("Segments to score must be in order of time, of some length, and not overlap.")
    return track


def score_tracks(reference: Track, estimate: Track, table: LabelTable) -> Scored:
    """The same for tracks whose values are ids of ``table``."""
    start, end = float(reference.starts[0]), float(reference.ends[-1])
    given = fit(Track(estimate.starts, estimate.ends, np.arange(len(estimate.values))), start, end, -1)
    values = np.append(estimate.values, N_ID)[given.values]
    fitted = Track(given.starts, given.ends, values)
    pieces = cut(reference, fitted)
    codes = table.codes
    a, b = codes.take(reference.values[pieces.reference]), codes.take(values[pieces.estimate])
    right, counted, scores = weighted(a, b, pieces.seconds)
    under_over = segmentation(
        reference._replace(values=codes.merged[reference.values]), fitted._replace(values=codes.merged[values])
    )
    return Scored(
        end - start, np.append(scores, under_over), right, counted, pieces, a, b, given.values[pieces.estimate]
    )


def weighted(reference: Codes, estimate: Codes, seconds: npt.NDArray[np.float64]) -> tuple[Float, Float, Float]:
    """Seconds right, seconds counted, their quotient (0 where nothing counts, as in mir_eval), float64 [12] each."""
    right, counts = compare(reference, estimate)
    counted = counts @ seconds
    correct = (right & counts) @ seconds
    scores = np.divide(correct, counted, out=np.zeros(len(COMPARISONS)), where=counted > 0)
    return correct, counted, scores
