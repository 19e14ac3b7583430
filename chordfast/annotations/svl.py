"""Region layers of Sonic Visualiser (``.svl``), written and read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from ..errors import LabelError
from ..vocabulary import PITCH_CLASSES, parse
from .annotation import Annotation

SAMPLE_RATE = 44100  # of the frames times are counted in; half a frame is 11 microseconds


def svl(annotation: Annotation) -> str:
    """The annotation as a layer of regions; a region's value, its height in the pane, is the root, 0–11 (N: -1)."""
    bounds = np.round(np.append(annotation.starts, annotation.duration) * SAMPLE_RATE).astype(np.int64)
    points = "".join(
        f'      <point frame="{start}" value="{_root(label)}" duration="{end - start}" label={quoteattr(label)} />\n'
        for start, end, label in zip(bounds[:-1].tolist(), bounds[1:].tolist(), annotation.labels, strict=True)
    )
    title = annotation.meta.get("title", "")
    name = quoteattr(title if isinstance(title, str) and title and title.isprintable() else "Chords")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE sonic-visualiser>\n<sv>\n  <data>\n'
        f'    <model id="1" name={name} sampleRate="{SAMPLE_RATE}" start="0" end="{bounds[-1]}" type="sparse" '
        f'dimensions="3" resolution="1" notifyOnAdd="true" dataset="0" subtype="region" minimum="-1" '
        f'maximum="{len(PITCH_CLASSES) - 1}" units="" />\n'
        f'    <dataset id="0" dimensions="3">\n{points}    </dataset>\n  </data>\n  <display>\n'
        f'    <layer id="2" type="regions" name={name} model="1" verticalScale="1" plotStyle="1" '
        'colourName="Blue" colour="#1f77b4" darkBackground="false" />\n  </display>\n</sv>\n'
    )


def _root(label: str) -> int:
    try:
        return parse(label).root
    except LabelError:
        return -1


def read_svl(path: str | os.PathLike[str]) -> Annotation:
    """The regions of the first region layer in a ``.svl`` file, in its order.

    Raises LabelError when the file cannot be read, is not XML, declares entities, or has no region layer.
    """
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LabelError(f"{name} cannot be read: {error.strerror or error}; check the path.") from error
    if re.search(rb"<!\s*ENTITY", data):
        raise LabelError(f"{name} declares XML entities, which no layer needs; export the layer again.")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        raise LabelError(f"{name} is not XML ({error}); export the layer again.") from None
    model = next((m for m in root.iter("model") if m.get("subtype") == "region"), None)
    sets = {s.get("id"): s for s in root.iter("dataset")}
    if model is None or model.get("dataset") not in sets:
        raise LabelError(f"{name} has no region layer; export the chords as regions with a duration and a label.")
    points = sets[model.get("dataset")].findall("point")
    try:
        rate = float(model.attrib["sampleRate"])
        starts = np.array([int(p.attrib["frame"]) for p in points], dtype=np.int64)
        ends = starts + np.array([int(p.attrib["duration"]) for p in points], dtype=np.int64)
        end = max(int(model.get("end", "0")), int(ends.max(initial=0)))
        if not rate > 0:
            raise ValueError("sampleRate")
    except (KeyError, ValueError) as error:
        raise LabelError(f"{name} has a region without valid times ({error}); export the layer again.") from None
    return Annotation(starts / rate, ends / rate, [p.get("label", "") for p in points], duration=end / rate)
