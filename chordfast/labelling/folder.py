"""``label_folder``: what is to be done and why, then the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..decoding import DecodingOptions, options_hash
from ..errors import UsageError
from ..features import extract_song, features_hash
from ..features.extraction import check_quality
from . import manifest, recognise
from .manifest import Manifest, Row
from .paths import Source, check_formats, collect, output_names
from .runner import Identity, Runner
from .summary import Job, Summary

if TYPE_CHECKING:
    from ..teachers import Recogniser

TIMEOUT = 600.0
MEMORY_LIMIT = 8 << 30
BATCH_FRAMES = 1 << 14


def label_folder(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    model: str | Recogniser = "crema",
    formats: str | Iterable[str] = "lab",
    *,
    options: DecodingOptions | None = None,
    offline: bool = False,
    quality: str = "relaxed",
    listed: Iterable[Path] = (),
    root: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    timeout: float | None = TIMEOUT,
    memory_limit: int | None = MEMORY_LIMIT,
    batch_frames: int = BATCH_FRAMES,
    force: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    dry_run: bool = False,
    progress: bool = False,
    extract: Callable[..., Any] = extract_song,
) -> Summary:
    """Label files and folders into ``out``, mirroring their tree, and keep ``out/manifest.jsonl``.

    Args:
        inputs: files and folders; listed: files more, of which a missing one is a failed row, not an error.
        model: a name or checkpoint for `chordfast.teachers.load`, or a recogniser; offline: cache only.
        formats: one or more of `chordfast.annotations.FORMATS`.
        options: of the chord decoding; quality: of the resampling, "relaxed" or "exact".
        root: folder whose tree is mirrored; by default the deepest one that holds all inputs.
        jobs: worker processes, default one a processor; threads: batches that the model
            works on at a time in this process, each on one processor, default likewise.
        timeout: seconds a file may take in a worker; memory_limit: bytes of address space of a worker.
        batch_frames: frames the model sees at once (a longer song goes alone).
        force: redo everything; retry_failed: redo what failed before; fail_fast: stop at the first failure.
        dry_run: only plan; progress: report on stderr.
        extract: what workers call with (path, plan, quality); importable by name, for tests and own decoders.

    Returns:
        Summary: counts, failures, speed; ``.planned`` holds what was to do and why. Recordings whose row in the
        manifest has the same size, time, model, features and options, and whose label files exist, are not done again.

    Raises:
        UsageError: arguments or inputs that do not exist, or another run holds ``out``. OutputError: ``out`` cannot
        be written. ModelError: no weights. LabellingInterrupted: Ctrl-C or SIGTERM, after an orderly end.
    """
    formats = check_formats(formats)
    check_quality(quality)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs, threads = (processors if count is None else count for count in (jobs, threads))
    if jobs < 1 or threads < 1 or batch_frames < 1 or (timeout is not None and timeout <= 0):
        raise UsageError("jobs, threads, batch_frames and timeout must be positive")
    named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    sources, troubles = collect(named, listed, root)
    out = Path(out)
    recogniser = recognise.find_recogniser(model, offline)
    options = (options or DecodingOptions()).for_model(getattr(recogniser, "boundary", 0.0))
    identity = Identity(
        recogniser.name, recogniser.hash, features_hash(recogniser.plan, quality), options_hash(options)
    )
    names = output_names([source.key for source in sources], formats)
    if dry_run:
        rows = manifest.read(out / manifest.NAME)
        summary = Planner(rows, identity, out, force, retry_failed).summary(sources, names)
        summary.troubles = troubles
        return summary
    _spare_foreign_labels(out, names, force)
    with Manifest(out) as book:
        summary = Planner(book.rows, identity, out, force, retry_failed).summary(sources, names)
        summary.troubles = troubles
        if summary.planned:
            Runner(
                summary=summary, out=out, manifest=book, recogniser=recogniser, options=options, identity=identity,
                extract=extract, quality=quality, workers=min(jobs, len(summary.planned)), threads=threads,
                timeout=timeout, memory_limit=memory_limit, batch_frames=batch_frames, fail_fast=fail_fast,
                show_progress=progress,
            ).run()  # fmt: skip
    return summary


@dataclass(frozen=True)
class Planner:
    """Decides what must be labelled (again): what earlier runs left, and what this one asks for."""

    rows: dict[str, Row]
    identity: Identity
    out: Path
    force: bool = False
    retry_failed: bool = False

    def summary(self, sources: Sequence[Source], names: dict[str, dict[str, str]]) -> Summary:
        """Split the sources into what is to do, with the reason, and what earlier runs settled."""
        jobs, summary = [], Summary()
        for source in sources:
            row = self.rows.get(source.key)
            why = self.reason(source, names[source.key])
            if why or row is None:
                jobs.append(Job(source, names[source.key], why))
            else:
                summary.keep(row)
        summary.planned = jobs
        return summary

    def reason(self, source: Source, outputs: dict[str, str]) -> str:
        """Why a recording must be labelled (again), in words; "" when its row still holds."""
        row = self.rows.get(source.key)
        if row is None:
            return "new"
        reasons = [
            (self.force, "--force"),
            ((row.size, row.mtime_ns) != (source.size, source.mtime_ns), "the recording has changed"),
            (row.model != self.identity.model, f"model {self.identity.model} instead of {row.model}"),
            (row.model_hash != self.identity.model_hash, "the model's weights have changed"),
            (row.features_hash != self.identity.features_hash, "other features"),
            (row.options_hash != self.identity.options_hash, "other decoding options"),
            (row.failed and self.retry_failed, f"failed before: {row.outcome}"),
        ]
        if not row.failed and row.seconds > 0:  # otherwise there are no label files
            for name, relative in outputs.items():
                reasons.append((row.outputs.get(name) != relative, f"no {name} yet"))
                reasons.append((not (self.out / relative).is_file(), f"{relative} is missing"))
        return next((why for applies, why in reasons if applies), "")


def _spare_foreign_labels(out: Path, names: dict[str, dict[str, str]], force: bool) -> None:
    """Refuse to overwrite label files in a folder no run has written to: they may be somebody's annotations."""
    if force or (out / manifest.NAME).exists():
        return
    foreign = [name for outputs in names.values() for name in outputs.values() if (out / name).exists()]
    if foreign:
        raise UsageError(
            f"{out} already holds label files that no earlier run wrote ({foreign[0]}"
            + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else "")
            + "); choose another output folder, or --force to overwrite them"
        )
