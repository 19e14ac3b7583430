"""``label_folder``: what is to be done and why, then the run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..decoding import DecodingOptions, options_hash
from ..errors import UsageError
from ..features import extract_song, features_hash
from ..features.extraction import check_quality
from ..files import sweep_temporaries
from . import manifest, on_device, recognise, record
from .finishing import Finisher, Identity
from .manifest import Manifest, Row
from .paths import base_folder, check_formats, collect, output_names
from .planning import Planner, spare_foreign_labels
from .progress import check_mode
from .record import RunRecord
from .runner import Runner
from .shards import Shard
from .shifting import Shifting
from .storing import Storing, plans_with
from .summary import OutputError, Summary

if TYPE_CHECKING:
    from ..teachers import Recogniser
    from .devices import Device

TIMEOUT = 600.0
MEMORY_LIMIT = 8 << 30
BATCH_FRAMES = 1 << 14


def label_folder(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    model: str | Recogniser = "btc",
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
    progress: bool | str = False,
    device: str | Sequence[Device] | None = None,
    gpus: int | None = None,
    precision: str = "fp32",
    store: str | os.PathLike[str] | None = None,
    store_posteriors: str = "topk",
    top: int = 8,
    pitch_shift: str | Iterable[int] | None = None,
    shift_only: Collection[str] | None = None,
    num_shards: int | None = None,
    shard: int | None = None,
    command: Sequence[str] = (),
    extract: Callable[..., Any] = extract_song,
    runner: Callable[..., Any] = Runner,
) -> Summary:
    """Label files and folders into ``out``, mirroring their tree, and keep the books there.

    The books are ``manifest.jsonl`` (a row per recording; one such file a shard where there are shards) and
    ``run.json`` (what was asked for, see `chordfast.labelling.status`).

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
        dry_run: only plan; progress: report on stderr, True or "rich", "json" (an object a line) or "plain".
        device: "cpu", "cuda" or "cuda:N"; gpus: that many GPUs from cuda:0 on, a process each, which compute features
            and model of whole batches; "cpu-process" is the same without a GPU. Devices of one's own may be given.
        precision: "fp32", or "bf16" for the matrix products of models that can; labels of the two are told apart.
        store: folder of a `chordfast.store` that gets BTC's features and the model's posteriors of every recording;
            store_posteriors: "topk" (the ``top`` likeliest classes of a frame), "full8", "full" or "none".
        pitch_shift: semitones ("-5..6", "-2,1,3", or numbers) by each of which recordings are shifted too; the versions
            go into the store as ``song.mp3#+3``, with the posteriors of what the model hears in them, and get no label
            files. shift_only: names of the songs to be shifted, with or without suffix; by default all.
        num_shards, shard: take only shard number ``shard`` (from 0) of ``num_shards``, by a hash of the path; other
            processes, also on other machines, may work on the other shards in the same ``out`` at the same time.
        command: the words of the command line, without --shard, for ``run.json``.
        extract: what workers call with (path, plan, quality), and semitones= for shifted versions; importable by name,
            for tests and own decoders.
        runner: who does it, with the arguments of `chordfast.labelling.runner.Runner`; another scheduler's, say.

    Returns:
        Summary: counts, failures, speed; ``.planned`` holds what was to do and why. Recordings whose row in the
        manifest has the same size, time, model, features and options, and whose label files exist, are not done again.

    Raises:
        UsageError: arguments or inputs that do not exist, or another run holds ``out``. OutputError: ``out`` cannot
        be written. StoreError: the store is of another identity, or cannot be written. ModelError: no weights.
        LabellingInterrupted: Ctrl-C or SIGTERM, after an orderly end.
    """
    formats = check_formats(formats)
    part = Shard.asked(num_shards, shard)
    check_quality(quality)
    progress = check_mode(progress)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs, threads = (processors if count is None else count for count in (jobs, threads))
    if jobs < 1 or threads < 1 or batch_frames < 1 or (timeout is not None and timeout <= 0):
        raise UsageError("jobs, threads, batch_frames and timeout must be positive")
    shifting = Shifting.asked(pitch_shift, shift_only, store)
    listed = list(listed)
    named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    sources, troubles = collect(named, listed, root)
    shifting.check(sources)
    out = Path(out)
    recogniser = recognise.find_recogniser(model, offline)
    devices = on_device.device_names(device, gpus) if device is None or isinstance(device, str) else list(device)
    recogniser = on_device.recogniser_on(recogniser, "cpu", precision)
    options = (options or DecodingOptions()).for_model(getattr(recogniser, "boundary", 0.0))
    asked = features_hash(recognise.plans_for(recogniser), quality)
    identity = Identity(recogniser.name, recogniser.hash, asked, options_hash(options))
    storing = Storing.asked(store, recogniser, quality, identity.options_hash, store_posteriors, top, part)
    plans, keep = plans_with(recogniser, storing)
    names = output_names([source.key for source in sources], formats, taken=(record.NAME,))
    sources = shifting.versions(sources)
    if part:  # a version goes with its recording: one machine reads the file
        sources = [source for source in sources if part.holds(source.recording)]
        names = {source.recording: names[source.recording] for source in sources}

    def plan(rows: dict[str, Row]) -> Summary:
        inside = (storing.identity.hash, storing.songs()) if storing else ("", None)
        summary = Planner(rows, identity, out, force, retry_failed, *inside).summary(sources, names)
        summary.troubles = troubles
        return summary

    if dry_run:
        return plan(manifest.read_all(out))
    spare_foreign_labels(out, names, force)
    with contextlib.ExitStack() as stack:
        book = stack.enter_context(Manifest(out, part.name if part else ""))
        began = RunRecord(
            inputs=[os.path.abspath(name) for name in named], listed=[os.path.abspath(name) for name in listed],
            root=base_folder(named, listed, root), formats=list(formats), identity=asdict(identity),
            num_shards=part.count if part else 0, semitones=list(shifting.semitones), shifted=list(shifting.songs),
            command=list(command),
            store=os.path.abspath(storing.path) if storing else "",
            store_hash=storing.identity.hash if storing else "",
        )  # fmt: skip
        writer = stack.enter_context(storing.open()) if storing else None
        _open_books(out, began, names)
        summary = plan(book.rows)
        for row in summary.refreshed:
            book.append(row)
        if summary.planned:
            runner(
                summary=summary, manifest=book, plans=plans,
                devices=on_device.make_devices(
                    devices, recogniser, precision, plans=plans, keep=keep, quality=quality, threads=threads,
                    batch_frames=batch_frames,
                ),
                finisher=Finisher(out, identity, options, recogniser.plan.frame_period, writer, began.store_hash),
                extract=extract, quality=quality, workers=min(jobs, len(summary.planned)), threads=threads,
                timeout=timeout, memory_limit=memory_limit, fail_fast=fail_fast,
                progress=progress,
            ).run()  # fmt: skip
        if writer and not summary.stopped_early:
            writer.seal()
    return summary


def _open_books(out: Path, began: RunRecord, names: dict[str, dict[str, str]]) -> None:
    """Write the run's record, and clear away what a killed run has left half-written."""
    try:
        began.write(out)
    except OSError as error:
        raise OutputError(
            f"cannot write {out / record.NAME}: {error.strerror}; choose another folder with -o"
        ) from error
    for folder in {out, *(out / os.path.dirname(name) for outputs in names.values() for name in outputs.values())}:
        sweep_temporaries(folder)
