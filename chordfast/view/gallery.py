"""The index page of a labelled folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..annotations import Annotation
from ..errors import ChordfastError, UsageError
from .page import build, number, printable, relative_url, save
from .song import write_song_page
from .sources import LABEL_SUFFIXES, THUMBNAIL_SIGNS, disagreement, is_label_file, read_labels, thumbnail

MANIFEST = "manifest.jsonl"
MANIFESTS = re.compile(r"manifest(\.\d+-of-\d+)?\.jsonl")  # of all recordings, or of a shard
SCRIPTS = ("chords.js", "theme.js", "gallery.js")


@dataclass
class Entry:
    """One song of a labelled folder: its row of the manifest, or a label file that stands for itself."""

    path: str  # of the recording, or of the label file where there is no manifest
    labels: str | None  # below the folder, POSIX
    outcome: str = ""
    note: str = ""
    seconds: float | None = None
    confidence: float | None = None
    when: int = 0  # ns since 1970 when the row was written

    @property
    def page(self) -> str:
        """Where its page lies below the folder of pages; named after the label file, which is unique."""
        return str(PurePosixPath(self.labels or self.path).with_suffix(".html"))


def read_folder(folder: str | os.PathLike[str]) -> list[Entry]:
    """The songs of a folder: the rows of its manifests (the newest of each path), else every label file.

    UsageError when there is no such folder or nothing in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"no such folder: {root}")
    manifests = sorted(path for path in root.iterdir() if MANIFESTS.fullmatch(path.name))
    if not manifests:
        found = sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in LABEL_SUFFIXES)
        songs = {path.with_suffix(""): path.as_posix() for path in sorted(found, key=_rank, reverse=True)}
        entries = [Entry(path=name, labels=name) for _, name in sorted(songs.items())]
    else:
        lines = (line for path in manifests for line in path.read_bytes().split(b"\n"))
        rows = [row for row in map(_row, lines) if row is not None]
        entries = list({row.path: row for row in sorted(rows, key=lambda row: row.when)}.values())
    if not entries:
        raise UsageError(f"{root} holds neither a {MANIFEST} with rows nor label files; name a labelled folder")
    return entries


def _row(line: bytes) -> Entry | None:
    """A line of a manifest; None for one that is torn or of another kind."""
    try:
        row = json.loads(line)
        if row.get("semitones"):  # a shifted version: nothing to look at
            return None
        outputs = row["outputs"]
        shown = sorted((name for name in outputs.values() if is_label_file(name)), key=lambda name: _rank(Path(name)))
        confidence = row["confidence"]
        return Entry(
            path=str(row["path"]),
            labels=next((name for name in shown if _inside(name)), None),
            outcome=str(row["outcome"]),
            note=str(row.get("note", "")),
            seconds=float(row["seconds"]),
            confidence=None if confidence is None else float(confidence),
            when=int(row.get("when", 0)),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _rank(path: Path) -> int:
    """Place among the formats of one song: JSON first, it knows confidences and alternatives."""
    suffix = path.suffix.lower()
    return LABEL_SUFFIXES.index(suffix) if suffix in LABEL_SUFFIXES else len(LABEL_SUFFIXES)


def _inside(name: str) -> bool:
    """Whether a manifest's path stays below its folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


@dataclass
class Pages:
    """Song pages to write: into which folder, with audio from where (None: labels alone)."""

    folder: Path
    audio: Path | None = None
    transpose: int = 0
    written: int = 0
    troubles: list[str] = field(default_factory=list)


def gallery_page(
    folder: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = "gallery.html",
    compare: str | os.PathLike[str] | None = None,
    pages: Pages | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """HTML of a page that lists the songs of a labelled folder.

    compare: a second folder of labels with the same names, for the share of time in which chords differ. out: where
    the page will lie. pages: write the songs' pages too; otherwise those that lie beside the labels are linked.
    progress is called with the number of songs done and of all. A label file that cannot be read becomes the note of
    its song.

    UsageError when a folder does not exist or has nothing to show.
    """
    entries = read_folder(folder)
    if compare is not None and not Path(compare).is_dir():
        raise UsageError(f"no such folder: {os.fspath(compare)}")
    rows = []
    for done, entry in enumerate(entries, start=1):
        rows.append(_show(entry, Path(folder), Path(out).parent, Path(compare) if compare is not None else None, pages))
        if progress is not None:
            progress(done, len(entries))
    title = printable(Path(folder).resolve().name)
    data = {
        "title": title,
        "compared": None if compare is None else printable(Path(compare).resolve().name),
        "columns": ["path", "url", "seconds", "confidence", "outcome", "note", "differ", "strip"],
        "signs": THUMBNAIL_SIGNS,
        "rows": rows,
    }
    return build("gallery.html", title, data, SCRIPTS, ("common.css", "gallery.css"))


def write_gallery(folder: str | os.PathLike[str], out: str | os.PathLike[str], **options: Any) -> None:
    """Write `gallery_page` to ``out``; ChordfastError when it cannot be written."""
    if not Path(out).parent.is_dir():  # before the work, not after it
        raise ChordfastError(f"cannot write {os.fspath(out)}: the folder does not exist; create it")
    save(gallery_page(folder, out=out, **options), out)


def _show(entry: Entry, folder: Path, home: Path, compare: Path | None, pages: Pages | None) -> list[Any]:
    """A row of the page, in the order of its columns."""
    note, strip, differ, annotation = entry.note, "", None, None
    other = _counterpart(entry, compare) if compare is not None else None
    if entry.labels is not None:
        try:
            annotation = read_labels(folder / entry.labels)
            strip = thumbnail(annotation)
            if other is not None:
                differ = disagreement(annotation, read_labels(other))
        except ChordfastError as error:
            note = "; ".join(filter(None, (note, str(error))))
    page = (pages.folder if pages else folder) / entry.page
    if pages is not None and annotation is not None:
        _write_page(entry, [folder / (entry.labels or ""), *([other] if other else [])], page, pages)
    return [
        printable(entry.path),
        relative_url(page, home) if page.is_file() else None,
        number(entry.seconds if entry.seconds is not None else _length(annotation), 1),
        number(entry.confidence if entry.confidence is not None else _confidence(annotation)),
        printable(entry.outcome),
        printable(note),
        number(differ),
        strip,
    ]


def _length(annotation: Annotation | None) -> float | None:
    return annotation.duration if annotation is not None else None


def _confidence(annotation: Annotation | None) -> float | None:
    """Mean over the time, nan where no segment knows it."""
    if annotation is None or annotation.confidence is None:
        return None
    known = annotation.confidence == annotation.confidence
    lengths = (annotation.ends - annotation.starts)[known]
    return float((annotation.confidence[known] * lengths).sum() / lengths.sum()) if lengths.sum() else None


def _counterpart(entry: Entry, compare: Path) -> Path | None:
    """The label file of the same name in the other folder, whatever its format."""
    base = compare / PurePosixPath(entry.labels or entry.path).with_suffix("")
    return next((path for suffix in LABEL_SUFFIXES if (path := Path(f"{base}{suffix}")).is_file()), None)


def _write_page(entry: Entry, labels: list[Path], page: Path, pages: Pages) -> None:
    audio = pages.audio / entry.path if pages.audio is not None and _inside(entry.path) else None
    if audio is not None and not audio.is_file():
        pages.troubles.append(f"{printable(entry.path)}: no {printable(str(audio))}; its page shows labels alone")
        audio = None
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_song_page(audio, labels, page, transpose=pages.transpose, title=entry.path)
        pages.written += 1
    except (ChordfastError, OSError) as error:
        pages.troubles.append(f"{printable(entry.path)}: {error}")
