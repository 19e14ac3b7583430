"""The page of one song."""

from __future__ import annotations

import base64
import html
import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..annotations import Annotation
from ..errors import AudioError, UsageError
from ..features import extract_song
from ..ops.feature_plan import BTC
from ..vocabulary import QUALITIES
from ..vocabulary.harte import GRAMMAR, SHORTHANDS
from .page import build, printable, relative_url, save, shown_name
from .picture import picture
from .sources import columns, comparable, read_labels

EMBED_LIMIT = 256 << 20
"""Bytes of audio that a page may hold; browsers fail on much larger files."""
SCRIPTS = ("chords.js", "theme.js", "song_model.js", "song_audio.js", "song_draw.js", "song_edit.js", "song_main.js")


def song_page(
    audio: str | os.PathLike[str] | None,
    labels: Sequence[str | os.PathLike[str]] = (),
    *,
    folder: str | os.PathLike[str] = ".",
    embed: bool = False,
    transpose: int = 0,
    title: str | None = None,
) -> str:
    """HTML of a page that shows, plays and corrects one song.

    audio: the recording, or None for labels alone. labels: .lab, .json or .jams files, one strip each; the first is
    the one to correct. folder: where the page will lie, for the relative path to the audio; ``embed`` puts the file
    itself into the page instead. transpose: semitones by which labels are moved up.

    Raises AudioError, LabelError (file and line), UsageError when neither audio nor labels are given, when there is
    no audio to embed, or when it is larger than ``EMBED_LIMIT``.
    """
    if audio is None and not labels:
        raise UsageError("there is nothing to show; name a recording, label files, or both")
    if embed and audio is None:
        raise UsageError("there is no recording to embed; name one, or leave out --embed")
    sources = [read_labels(path, transpose) for path in labels]
    picture_data, length, note = None, 0.0, ""
    if audio is not None:
        song = extract_song(audio)
        picture_data, length, note = picture(song.features, BTC), song.duration, song.note
        if song.outcome in ("silent", "truncated"):
            note = f"{song.outcome}: {note}"
    title = printable(title) if title is not None else shown_name(audio if audio is not None else labels[0])
    data = {
        "title": title,
        "stem": Path(shown_name(audio if audio is not None else labels[0])).stem,
        "note": note,
        "transpose": transpose,
        "picture": picture_data,
        "audio": None if audio is None else "" if embed else relative_url(audio, folder),
        "type": "" if audio is None else mimetypes.guess_type(os.fspath(audio))[0] or "",
        **label_data(sources, _names(labels), length),
    }
    embedded = _embedded(audio) if embed and audio is not None else ""
    return build("song.html", title, data, SCRIPTS, ("common.css", "song.css"), audio=html.escape(embedded))


def write_song_page(
    audio: str | os.PathLike[str] | None,
    labels: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    embed: bool = False,
    transpose: int = 0,
    title: str | None = None,
) -> None:
    """Write `song_page` to ``out``; ChordfastError when it cannot be written."""
    folder = Path(out).parent
    save(song_page(audio, labels, folder=folder, embed=embed, transpose=transpose, title=title), out)


def label_data(sources: Sequence[Annotation], names: Sequence[str], length: float) -> dict[str, Any]:
    """What the page knows of labels: a strip a source, the segments to correct, and how labels are read.

    length: seconds of the recording, 0 when there is none; the page is as long as the longest of all.
    """
    duration = max([length, *(source.duration for source in sources)])
    strips = [{"name": name, **columns(source, duration)} for name, source in zip(names, sources, strict=True)]
    length = length or duration
    first = sources[0].fill_gaps(length) if sources else Annotation([0.0], [length], ["N"])  # type: ignore[arg-type]
    return {
        "duration": duration,
        "length": length,
        "strips": strips,
        "edit": columns(first, length),
        "classes": comparable([label for strip in strips for label in strip["labels"]]),
        "qualities": QUALITIES,
        "shorthands": list(SHORTHANDS),
        "grammar": GRAMMAR.replace("?P<", "?<"),
    }


def _names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """File names; where two are the same, the nearest folders in which they lie apart."""
    names = [shown_name(path) for path in paths]
    for name in {name for name in names if names.count(name) > 1}:
        same = [i for i, other in enumerate(names) if other == name]
        levels = zip(*(reversed(Path(paths[i]).resolve().parent.parts) for i in same), strict=False)
        apart = next((folders for folders in levels if len(set(folders)) == len(folders)), None)
        for k, i in enumerate(same):
            names[i] = printable(f"{apart[k]}/") if apart else f"{name} {k + 1}"
    return names


def _embedded(audio: str | os.PathLike[str]) -> str:
    try:
        size = os.path.getsize(audio)
        if size > EMBED_LIMIT:
            raise UsageError(
                f"{os.fspath(audio)} has {size >> 20} MB, too much for one page (at most {EMBED_LIMIT >> 20} MB); "
                "leave out --embed"
            )
        return base64.b64encode(Path(audio).read_bytes()).decode("ascii")
    except OSError as error:
        raise AudioError(f"{os.fspath(audio)} cannot be opened: {(error.strerror or str(error)).lower()}") from error
