"""What a store holds, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ..vocabulary import class_labels
from .reader import Store
from .record import frame_bytes
from .versions import base_and_shift


def summary(store: Store) -> dict[str, Any]:
    """Plain values for people and JSON.

    identity; songs, how many of them are pitch-shifted, and by outcome; hours, frames and bytes (of arrays) of the
    newest rows; confidence: mean over frames; qualities: share of frames by the quality of the teacher's class ("maj",
    ..., "X", "N"; the class itself for vocabularies without qualities); shards, unsealed parts, songs superseded and
    their bytes.
    """
    identity, rows = store.identity, store.rows
    current = {(row.writer, row.id, row.generation) for row in rows}
    old = [row for row in store.all_rows if (row.writer, row.id, row.generation) not in current]
    frames = sum(row.frames for row in rows)
    weighed = [(row.confidence, row.frames) for row in rows if row.confidence is not None]
    return {
        "store": str(store.layout.root),
        "identity": {
            "plan_hash": identity.plan_hash,
            "features_hash": identity.features_hash,
            "teacher": identity.teacher,
            "teacher_hash": identity.teacher_hash,
            "classes": identity.classes,
            "options_hash": identity.options_hash,
            "posteriors": f"top {identity.top}" if identity.posteriors == "topk" else identity.posteriors,
            "kd_temperature": identity.kd_temperature,
        },
        "songs": len(rows),
        "shifted": sum(base_and_shift(row.id)[1] != 0 for row in rows),
        "outcomes": dict(sorted(Counter(row.outcome for row in rows).items())),
        "hours": frames * identity.plan.frame_period / 3600,
        "frames": frames,
        "bytes": sum(row.frames * frame_bytes(row, identity) for row in rows),
        "confidence": sum(c * n for c, n in weighed) / frames if weighed else None,
        "qualities": _qualities(store, frames),
        "shards": len({row.shard for row in store.all_rows if row.shard}),
        "unsealed": sum(not row.shard for row in rows),
        "superseded": {"songs": len(old), "bytes": sum(row.frames * frame_bytes(row, identity) for row in old)},
    }


def _qualities(store: Store, frames: int) -> dict[str, float]:
    if not store.identity.teacher or not frames:
        return {}
    classes = store.identity.classes
    counts = np.zeros(classes, np.int64)
    for position, row in enumerate(store.rows):
        if row.frames:
            inside = np.clip(store.target(position), 0, classes - 1)  # verify() is the one to complain
            counts += np.bincount(inside, minlength=classes)
    names = class_labels(classes) if classes in (25, 170) else tuple(str(i) for i in range(classes))
    shares: Counter[str] = Counter()
    for name, count in zip(names, counts, strict=True):
        shares[name.partition(":")[2] or name] += int(count)
    return {name: count / frames for name, count in shares.most_common() if count}
