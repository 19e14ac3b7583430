"""Scores of a whole corpus, one song after the other; what is kept of a song is one row of numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..annotations import Annotation
from .calibration import Calibration
from .chordmini import ChordMiniCorpus
from .comparison import COMPARISONS, MEASURES
from .encoding import LabelTable
from .quality import QualityCounts
from .song import score_song
from .statistics import bootstrap, mean

Float = npt.NDArray[np.float64]


@dataclass
class Corpus:
    """Streaming counters of one estimate against a corpus of references.

    name: of the estimate. songs: names in the order added. ``chordmini`` counts that code's variant too, or is None.
    """

    name: str
    chordmini: ChordMiniCorpus | None = None
    songs: list[str] = field(default_factory=list)
    quality: QualityCounts = field(default_factory=QualityCounts)
    calibration: Calibration = field(default_factory=Calibration)
    _seconds: list[float] = field(default_factory=list)
    _scores: list[Float] = field(default_factory=list)
    _right: Float = field(default_factory=lambda: np.zeros(len(COMPARISONS)))
    _counted: Float = field(default_factory=lambda: np.zeros(len(COMPARISONS)))
    _table: LabelTable = field(default_factory=LabelTable)

    def add(self, name: str, reference: Annotation, estimate: Annotation) -> dict[str, float]:
        """Count one song; both annotations as ``prepare`` gives them. Returns its scores."""
        song = score_song(reference, estimate, self._table)
        self.songs.append(name)
        self._seconds.append(song.seconds)
        self._scores.append(song.scores)
        self._right += song.right
        self._counted += song.counted
        self.quality.add(song)
        self.calibration.add(song, estimate.confidence)
        if self.chordmini is not None:
            self.chordmini.add(reference, estimate)
        return song.as_dict()

    @property
    def seconds(self) -> Float:
        """Length of every song's reference, float64 [songs]."""
        return np.array(self._seconds)

    @property
    def scores(self) -> Float:
        """float64 [songs, 15], columns in the order of ``MEASURES``."""
        return np.array(self._scores).reshape(-1, len(MEASURES))

    def means(self) -> dict[str, float]:
        """Measure → mean over songs weighted by their length: the corpus value of the field."""
        return dict(zip(MEASURES, mean(self.scores, self.seconds).tolist(), strict=True))

    def pooled(self) -> dict[str, float]:
        """Comparison → seconds right of all seconds that count, whatever the song; NaN where none counts."""
        nothing = np.full(len(COMPARISONS), np.nan)
        values = np.divide(self._right, self._counted, out=nothing, where=self._counted > 0)
        return dict(zip(COMPARISONS, values.tolist(), strict=True))

    def folders(self) -> dict[str, tuple[int, float, dict[str, float]]]:
        """First folder of the songs' names → songs, seconds and means there; empty where all lie in one."""
        tops = np.array([name.split("/")[0] if "/" in name else "" for name in self.songs])
        found = {}
        for top in np.unique(tops).tolist():
            at = np.flatnonzero(tops == top)
            values = mean(self.scores[at], self.seconds[at]).tolist()
            found[top] = (len(at), float(self.seconds[at].sum()), dict(zip(MEASURES, values, strict=True)))
        return found if len(found) > 1 else {}

    def intervals(self, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Measure → bootstrap interval of its corpus value."""
        low, high = bootstrap(self.scores, self.seconds, seed)
        return dict(zip(MEASURES, zip(low.tolist(), high.tolist(), strict=True), strict=True))
