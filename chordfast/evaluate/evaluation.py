"""``evaluate``: files in, an ``Evaluation`` with everything a report needs out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import LabelError, UsageError
from .chordmini import ChordMiniCorpus
from .comparison import MEASURES
from .corpus import Corpus
from .inputs import Issue, compare_lengths, load
from .matching import Pair, match
from .statistics import LEVEL, RESAMPLES, paired

FORMAT, VERSION = "chordfast-evaluation", 1


@dataclass
class Evaluation:
    """One or several estimates scored on the same songs, and the issues met on the way."""

    reference: str
    corpora: list[Corpus]
    issues: list[Issue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seed: int = 0

    @property
    def songs(self) -> list[str]:
        """Names of the songs scored."""
        return self.corpora[0].songs

    def compared(self) -> list[dict[str, Any]]:
        """Every estimate against the first one: difference, interval and p by measure."""
        first, *others = self.corpora
        rows = []
        for other in others:
            result = paired(first.scores, other.scores, first.seconds, self.seed)
            columns = zip(*(column.tolist() for column in result), strict=True)
            names = ("difference", "low", "high", "p")
            values = {m: dict(zip(names, row, strict=True)) for m, row in zip(MEASURES, columns, strict=True)}
            rows.append({"a": first.name, "b": other.name, "measures": values})
        return rows

    def as_dict(self) -> dict[str, Any]:
        """The whole report as JSON-able values; numbers that do not exist are null."""
        seconds = float(self.corpora[0].seconds.sum())
        content = {
            "format": FORMAT,
            "version": VERSION,
            "chordfast": version("chordfast"),
            "reference": self.reference,
            "songs": len(self.songs),
            "seconds": seconds,
            "bootstrap": {"seed": self.seed, "resamples": RESAMPLES, "level": LEVEL},
            "estimates": [self._estimate(corpus) for corpus in self.corpora],
            "comparisons": self.compared(),
            "notes": self.notes,
            "issues": [{"kind": i.kind, "path": i.path, "place": i.place, "text": i.text} for i in self.issues],
        }
        return _plain(content)

    def _estimate(self, corpus: Corpus) -> dict[str, Any]:
        means, intervals, pooled = corpus.means(), corpus.intervals(self.seed), corpus.pooled()
        rows = zip(corpus.songs, corpus.seconds.tolist(), corpus.scores.tolist(), strict=True)
        return {
            "name": corpus.name,
            "corpus": {
                m: {"mean": means[m], "low": intervals[m][0], "high": intervals[m][1]}
                | ({"pooled": pooled[m]} if m in pooled else {})
                for m in MEASURES
            },
            "folders": [
                {"folder": name, "songs": count, "seconds": seconds} | scores
                for name, (count, seconds, scores) in corpus.folders().items()
            ],
            "quality": corpus.quality.as_dict(),
            "calibration": corpus.calibration.as_dict(),
            "chordmini": None if corpus.chordmini is None else corpus.chordmini.as_dict(),
            "per_song": [
                {"song": song, "seconds": seconds} | dict(zip(MEASURES, scores, strict=True))
                for song, seconds, scores in rows
            ],
        }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate(
    reference: str | os.PathLike[str],
    estimates: Sequence[str | os.PathLike[str]],
    *,
    names: Sequence[str] | None = None,
    part: set[str] | None = None,
    compat: str | None = None,
    strict: bool = False,
    seed: int = 0,
    warn: Callable[[Issue], None] | None = None,
) -> Evaluation:
    """Score estimates against references; files or folders, paired by their path without suffix.

    Only songs that have a readable reference and every estimate are scored, so that estimates stand side by side.

    Args:
        names: of the estimates, by default their paths.
        part: names of the songs to score, all if None.
        compat: "chordmini" counts that code's variant too.
        strict: raise LabelError at the first issue; otherwise issues are mended as ``prepare`` says and kept.
        seed: of the bootstrap and the permutation test.
        warn: called with every issue as it is met.

    Raises UsageError when paths do not exist or do not fit together, LabelError when no song could be scored.
    """
    if not estimates:
        raise UsageError("Nothing to score; name at least one estimate.")
    if compat not in (None, "chordmini"):
        raise UsageError(f"There is no variant {compat!r} of the evaluation; there is chordmini.")
    counters = [ChordMiniCorpus() if compat else None for _ in estimates]
    labels = list(names or unique_names([os.fspath(path) for path in estimates]))
    result = Evaluation(os.fspath(reference), [Corpus(n, c) for n, c in zip(labels, counters, strict=True)], seed=seed)

    def tell(issues: list[Issue]) -> None:
        if strict and issues:
            raise LabelError(str(issues[0]))
        for issue in issues:
            result.issues.append(issue)
            if warn is not None:
                warn(issue)

    pairs, issues = match(reference, estimates, part)
    tell(issues)
    for pair in pairs:
        _score_pair(pair, result.corpora, tell)
    if not result.songs:
        why = f"; {result.issues[0]}" if result.issues else f"; there are no references in {os.fspath(reference)}"
        raise LabelError(f"No song could be scored{why}.")
    return result


def _score_pair(pair: Pair, corpora: list[Corpus], tell: Callable[[list[Issue]], None]) -> None:
    reference, issues = load(pair.reference)
    tell(issues)
    estimates = []
    for path in pair.estimates:
        estimate, issues = load(path)
        if reference is not None and estimate is not None:
            issues += compare_lengths(reference, estimate, str(path))
        tell(issues)
        estimates.append(estimate)
    if reference is None or not len(reference):
        return
    ready = [estimate for estimate in estimates if estimate is not None]
    if len(ready) == len(corpora):
        for corpus, estimate in zip(corpora, ready, strict=True):
            corpus.add(pair.name, reference, estimate)


def unique_names(paths: Sequence[str]) -> list[str]:
    """Last parts of the paths, as many as it takes to tell them apart."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({i})" for i, path in enumerate(paths, start=1)]
