"""Reading what is to be scored: every doubtful thing is named with file and line, and mended in one documented way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..annotations import Annotation, read_places
from ..annotations.annotation import TOLERANCE
from ..errors import LabelError
from ..vocabulary import normalise, parse

LENGTH_TOLERANCE = 2.0
"""Seconds by which reference and estimate may differ in length unremarked: recordings end in silence and echoes."""

_HOLE = "\0"  # stands in for gaps while overlaps are mended; no label can be so


@dataclass(frozen=True)
class Issue:
    """Something wrong with an input: its kind, the file, the place in it ("line 3" or ""), one sentence.

    Kinds: unreadable, empty, order, overlap, gap, zero-length, label, length, missing, extra.
    """

    kind: str
    path: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}{', ' if self.place else ''}{self.place}: {self.text}"


def load(path: str | os.PathLike[str]) -> tuple[Annotation | None, list[Issue]]:
    """The annotation of a file, ready to be scored, and what was wrong with it; None when it cannot be read."""
    name = os.fspath(path)
    try:
        annotation, places = read_places(path)
    except LabelError as error:
        text = str(error).removeprefix(name)
        place, colon, rest = text.removeprefix(", ").partition(": ")
        if text.startswith(", line ") and colon:
            return None, [Issue("unreadable", name, place, rest)]
        return None, [Issue("unreadable", name, "", text.lstrip(" :"))]
    return prepare(annotation, name, places)


def prepare(
    annotation: Annotation, path: str = "annotation", places: Iterable[str] = ()
) -> tuple[Annotation, list[Issue]]:
    """The annotation as ``score`` wants it, and the issues that stood in the way.

    Segments are put in order of time, those without length dropped; of two that overlap, the one that starts later
    wins. Gaps stay: by mir_eval's rules the chord before goes on through them. Lead-sheet labels become Harte, labels
    outside the grammar X, which counts for nothing in a reference and is wrong in an estimate.
    """
    where = list(places) or [f"segment {i + 1}" for i in range(len(annotation))]
    issues: list[Issue] = []

    def note(kind: str, index: int, text: str) -> None:
        issues.append(Issue(kind, path, where[index], text))

    annotation = _readable(annotation, note)
    if not len(annotation):
        issues.append(Issue("empty", path, "", "there are no segments in it"))
        return annotation, issues
    if (back := np.flatnonzero(np.diff(annotation.starts) < -TOLERANCE)).size:
        note("order", int(back[0]) + 1, f"it starts before the segment above it{_more(back.size)}; sorted by time")
    lengths = annotation.ends - annotation.starts
    for i in np.flatnonzero(lengths <= TOLERANCE).tolist():
        what = f"the segment {annotation.labels[i]!r} at {annotation.starts[i]:g} s"
        note("zero-length", i, f"{what} has no length; left out")
    source = np.argsort(annotation.starts, kind="stable")
    source = source[lengths[source] > TOLERANCE]
    annotation, where = annotation.take(source), [where[i] for i in source]
    _name_overlaps(annotation, note)
    before = annotation.ends[:-1]
    near = before - annotation.starts[1:] <= TOLERANCE
    before[near] = np.minimum(before, annotation.starts[1:])[near]  # times rounded by their writer
    mended = bool((annotation.starts[1:] < before).any())
    if mended:
        filled = annotation.fill_gaps(label=_HOLE)
        real = np.array([label != _HOLE for label in filled.labels])
        annotation = filled.take(np.flatnonzero(real & (filled.ends - filled.starts > TOLERANCE)))
    for i in np.flatnonzero(annotation.starts[1:] - annotation.ends[:-1] > TOLERANCE).tolist():
        a, b = annotation.ends[i], annotation.starts[i + 1]
        text = f"there is a gap from {a:g} to {b:g} s; {annotation.labels[i]} goes on through it"
        issues.append(Issue("gap", path, "" if mended else where[i + 1], text))
    if not len(annotation):
        issues.append(Issue("empty", path, "", "no segment in it has a length"))
    return annotation, issues


def _readable(annotation: Annotation, note) -> Annotation:  # type: ignore[no-untyped-def]
    """Every label in Harte syntax; one issue a distinct label that was not."""
    spelled: dict[str, str] = {}
    for label in dict.fromkeys(annotation.labels):
        try:
            parse(label)
        except LabelError:
            lines = [i for i, other in enumerate(annotation.labels) if other == label]
            try:
                spelled[label] = normalise(label)
                text = f"the label {label!r} is no Harte syntax; read as {spelled[label]}"
            except LabelError:
                spelled[label] = "X"
                text = f"the label {label[:60]!r} is outside the chord grammar; counted as X"
            note("label", lines[0], text + _more(len(lines)))
    if not spelled:
        return annotation
    return replace(annotation, labels=[spelled.get(label, label) for label in annotation.labels])


def _name_overlaps(annotation: Annotation, note) -> None:  # type: ignore[no-untyped-def]
    ends = np.maximum.accumulate(annotation.ends)
    for i in np.flatnonzero(annotation.starts[1:] < ends[:-1] - TOLERANCE).tolist():
        note(
            "overlap", i + 1,
            f"it starts at {annotation.starts[i + 1]:g} s, before an earlier segment ends at {ends[i]:g} s; "
            "the later one wins",
        )  # fmt: skip


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def compare_lengths(reference: Annotation, estimate: Annotation, path: str) -> list[Issue]:
    """An issue when an estimate's length differs from the reference's by more than ``LENGTH_TOLERANCE``."""
    a, b = float(reference.ends.max(initial=0)), float(estimate.ends.max(initial=0))
    if not len(reference) or not len(estimate) or abs(a - b) <= LENGTH_TOLERANCE:
        return []
    what = "filled with N" if b < a else "cut"
    return [Issue("length", path, "", f"it ends at {b:g} s and its reference at {a:g} s; {what}")]
