"""What is to be labelled and why: the rows that earlier runs left against what this one asks for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UsageError
from ..files import sha256_file
from . import manifest
from .finishing import Identity
from .manifest import Row
from .paths import Source
from .summary import Job, Summary


@dataclass(frozen=True)
class Planner:
    """Decides what must be labelled (again).

    rows: what earlier runs left; identity: of the labels now asked for; out: where the label files lie. stored: the
    keys of the songs in the store that is asked for, whose identity hashes to ``store``; None without a store.
    """

    rows: dict[str, Row]
    identity: Identity
    out: Path
    force: bool = False
    retry_failed: bool = False
    store: str = ""
    stored: Collection[str] | None = None

    def summary(self, sources: Sequence[Source], names: dict[str, dict[str, str]]) -> Summary:
        """Split the sources into what is to do, with the reason, and what earlier runs settled.

        A recording that has its old size but another time is read: with the old content its row still holds, and
        ``refreshed`` has that row with the new time.
        """
        jobs, summary = [], Summary()
        same = self._same_content(sources)
        for source in sources:
            row = self.rows.get(source.key)
            outputs = {} if source.semitones else names[source.key]  # a shifted version has no label files
            why = self.reason(source, outputs, source.key in same)
            if why or row is None:
                jobs.append(Job(source, outputs, why))
            else:
                summary.keep(row)
                if row.mtime_ns != source.mtime_ns:
                    summary.refreshed.append(replace(row, mtime_ns=source.mtime_ns))
        summary.planned = jobs
        return summary

    def reason(self, source: Source, outputs: dict[str, str], same_content: bool = False) -> str:
        """Why a recording must be labelled (again), in words; "" when its row still holds.

        What follows a colon is of this recording alone. ``same_content``: another time of the file means nothing.
        """
        row = self.rows.get(source.key)
        if row is None:
            return "new"
        moved = row.mtime_ns != source.mtime_ns and not same_content
        reasons = [
            (self.force, "--force"),
            (row.size != source.size or moved, "the recording has changed"),
            (row.model != self.identity.model, f"model {self.identity.model} instead of {row.model}"),
            (row.model_hash != self.identity.model_hash, "the model's weights have changed"),
            (row.features_hash != self.identity.features_hash, "other features"),
            (row.options_hash != self.identity.options_hash, "other decoding options"),
            (row.failed and self.retry_failed, f"failed before: {row.outcome}"),
        ]
        if not row.failed and row.seconds > 0:  # otherwise there are no label files
            for name, relative in outputs.items():
                reasons.append((row.outputs.get(name) != relative, f"no {name} yet"))
                reasons.append((not (self.out / relative).is_file(), f"label file missing: {relative}"))
        if self.stored is not None and not row.failed:
            in_store = row.store == self.store and source.key in self.stored
            reasons.append((not in_store, "not in the store yet"))
        return next((why for applies, why in reasons if applies), "")

    def _same_content(self, sources: Sequence[Source]) -> frozenset[str]:
        """Keys of the recordings that only look changed: other time, same size and same content."""
        doubtful = []
        for source in sources:
            row = self.rows.get(source.key)
            if row and row.source_hash and row.size == source.size and row.mtime_ns != source.mtime_ns:
                doubtful.append(source)
        if not doubtful or self.force:
            return frozenset()
        paths = list({source.path: None for source in doubtful})  # shifted versions share a file
        with ThreadPoolExecutor(min(8, len(paths))) as readers:
            hashes = dict(zip(paths, readers.map(_hash, paths), strict=True))
        return frozenset(
            source.key for source in doubtful if hashes[source.path] == self.rows[source.key].source_hash
        )  # fmt: skip


def _hash(path: Path) -> str:
    with contextlib.suppress(OSError):
        return sha256_file(path)
    return ""  # it cannot be read now: the run will say why


def spare_foreign_labels(out: Path, names: dict[str, dict[str, str]], force: bool) -> None:
    """Refuse to overwrite label files in a folder no run has written to: they may be somebody's annotations."""
    if force or manifest.files(out):
        return
    foreign = [name for outputs in names.values() for name in outputs.values() if os.path.exists(out / name)]
    if foreign and not manifest.files(out):  # asked again: another shard may have begun meanwhile
        raise UsageError(
            f"{out} already holds label files that no earlier run wrote ({foreign[0]}"
            + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else "")
            + "); choose another output folder, or --force to overwrite them"
        )
