"""``label``: one recording, in this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..annotations import Annotation, dumps, encode
from ..decoding import DecodingOptions, options_hash
from ..errors import UsageError
from ..features import extract_samples, extract_song, features_hash
from ..files import atomic_write
from . import recognise
from .paths import check_exists
from .summary import OutputError

if TYPE_CHECKING:
    from ..teachers import Recogniser


def label(
    source: str | os.PathLike[str] | np.ndarray,
    sr: int | None = None,
    model: str | os.PathLike[str] | Recogniser = "btc",
    *,
    options: DecodingOptions | None = None,
    offline: bool = False,
    quality: str = "relaxed",
) -> Annotation:
    """Chords of a file or of samples, without gaps from 0 to the end.

    Samples: [N] or [N, C], int16 or floating point (full scale 1), with their rate ``sr`` in Hz. ``model``: a name or
    checkpoint for `chordfast.teachers.load`, or a recogniser. A silent or too short recording is "N" throughout;
    ``meta["outcome"]`` and ``meta["note"]`` say so. AudioError when the file cannot be read, ModelError without
    weights, UsageError when the arguments do not fit.
    """
    recogniser = recognise.find_recogniser(model, offline)
    options = (options or DecodingOptions()).for_model(getattr(recogniser, "boundary", 0.0))
    wanted = recognise.plans_for(recogniser)
    plans = wanted if len(wanted) > 1 else wanted[0]
    if isinstance(source, str | os.PathLike):
        if sr is not None:
            raise UsageError("sr is read from the file; give it with samples only")
        name = os.path.basename(os.fspath(source)).encode("utf-8", "replace").decode("utf-8")
        song = extract_song(source, plans, quality)
    else:
        name = ""
        song = extract_samples(source, sr, plans, quality)
    found = None
    if song.outcome in ("ok", "truncated"):
        found = recognise.posteriors(recogniser, [song.features])[0]
    meta = {
        "file": name,
        "outcome": song.outcome,
        "note": song.note,
        "model": recogniser.name,
        "model_hash": recogniser.hash,
        "features_hash": features_hash(plans, quality),
        "options_hash": options_hash(options),
        "chordfast": __version__,
    }
    return recognise.annotate(found, song.duration, options, recogniser.plan.frame_period, meta)


def label_to(source: str | os.PathLike[str], target: str, format: str = "lab", **settings: Any) -> Annotation:
    """`label` a file (with its ``settings``) and write it to ``target``, or to stdout where that is "-".

    UsageError when the recording does not exist, OutputError when the target cannot be written.
    """
    check_exists(source)
    annotation = label(source, **settings)
    if target == "-":
        sys.stdout.write(dumps(annotation, format))
        return annotation
    try:
        atomic_write(target, encode(annotation, format, Path(target).stem))
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}; choose another place with -o") from error
    return annotation
