"""``chordfast label``: chords of files, folders, or a list on stdin."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from chordfast.errors import UsageError

if TYPE_CHECKING:
    from chordfast.decoding import DecodingOptions
    from chordfast.labelling import Summary


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="Folder; for one file also a label file, or - for stdout."
)
@click.option(
    "-f",
    "--format",
    "formats",
    multiple=True,
    metavar="NAME",
    help="lab (default), json, jams, csv, audacity, svl, midi or parquet; repeatable.",
)
@click.option("--model", default="btc", show_default=True, help="A model's name or a checkpoint file.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
@click.option("--decoder", type=click.Choice(["viterbi", "argmax"]), help="How frames become chords.")
@click.option("--min-duration", type=click.FloatRange(min=0), metavar="S", help="Shortest chord in seconds.")
@click.option(
    "--quality",
    type=click.Choice(["relaxed", "exact"]),
    default="relaxed",
    show_default=True,
    help="Of the resampling.",
)
@click.option(
    "--root", metavar="DIR", help="Mirror the tree below DIR (default: the deepest folder holding all inputs)."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes (default: one a processor)."
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads of the model (default: one a processor).",
)
@click.option("--device", metavar="NAME", help="cpu (default), cuda, cuda:N, or cpu-process.")
@click.option("--gpus", type=click.IntRange(min=1), metavar="N", help="Use N GPUs, a process each.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Of the model."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Seconds a file may take.",
)
@click.option(
    "--memory-limit",
    type=click.FloatRange(min=0.25),
    default=8.0,
    show_default=True,
    metavar="GIB",
    help="Address space of a worker.",
)
@click.option("--store", metavar="DIR", help="Also keep features and posteriors there, to train on.")
@click.option(
    "--store-posteriors",
    type=click.Choice(["topk", "full8", "full", "none"]),
    default="topk",
    show_default=True,
    help="What of the posteriors.",
)
@click.option(
    "--top", type=click.IntRange(1, 169), default=8, show_default=True, metavar="K", help="With topk: classes a frame."
)
@click.option(
    "--pitch-shift", metavar="SEMITONES",
    help="With --store: each recording also shifted, to train on; a range (-5..6) or a list (-2,1,3).",
)  # fmt: skip
@click.option("--shift-only", metavar="FILE", help='Shift only the songs of part "train" of this split (JSON).')
@click.option("--num-shards", type=int, metavar="N", help="Divide the recordings among N processes or machines.")
@click.option("--shard", type=int, metavar="I", help="Which part to do, from 0 to N - 1.")
@click.option("--status", "ask_status", is_flag=True, help="Say how far OUT is, and what to start again.")
@click.option("--json", "as_json", is_flag=True, help="With --status: for programs.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be labelled, and why.")
@click.option("-v", "--verbose", is_flag=True, help="With --dry-run or --status: every file.")
@click.option("--force", is_flag=True, help="Label everything again; overwrite labels of others.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed before.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--profile", is_flag=True, help="Show the CPU seconds of every stage.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "rich", "json", "plain", "none"]),
    default="auto",
    show_default=True,
    help="On stderr; auto is rich on a terminal, json elsewhere.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
@click.pass_context
def label(
    ctx: click.Context, *, inputs: tuple[str, ...], output: str, formats: tuple[str, ...], model: str, offline: bool,
    decoder: str | None, min_duration: float | None, quality: str, root: str | None, jobs: int | None,
    threads: int | None, device: str | None, gpus: int | None, precision: str, timeout: float, memory_limit: float,
    store: str | None, store_posteriors: str, top: int, pitch_shift: str | None, shift_only: str | None,
    num_shards: int | None, shard: int | None, ask_status: bool, as_json: bool, dry_run: bool, verbose: bool,
    force: bool, retry_failed: bool, fail_fast: bool, profile: bool, progress: str, quiet: bool,
) -> None:  # fmt: skip
    """Write the chords of recordings.

    INPUT is a file, a folder (searched to any depth), or - for a list of paths on stdin, one a line or separated by
    NUL bytes. OUT mirrors the inputs' tree and keeps manifest.jsonl: a second start does only what is new or changed.

    Exit code: 0 all fine, 1 some files failed (or with --status: are missing), 2 usage, 130 or 143 interrupted.
    """
    if as_json and not ask_status:
        raise UsageError("--json goes with --status; for labels as JSON it is --format json")
    if verbose and not (ask_status or dry_run):
        raise UsageError("--verbose goes with --dry-run or --status")
    if ask_status:
        if num_shards is not None or shard is not None:
            raise UsageError("--status looks at all shards; leave out --num-shards and --shard")
        ctx.exit(_show_status(inputs, output, as_json, verbose))
    if not inputs:
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])
    from chordfast.labelling.paths import check_formats

    names = check_formats(formats or ("lab",))
    options = _options(decoder, min_duration)
    settings: dict[str, Any] = {"model": model, "options": options, "offline": offline, "quality": quality}
    if target := _single_target(inputs, output, names):
        for_folders = {
            "--store": store,
            "--pitch-shift": pitch_shift,
            "--shift-only": shift_only,
            "--num-shards": num_shards,
            "--shard": shard,
            "--device": device,
            "--gpus": gpus,
        }
        for_folders["--precision"] = precision if precision != "fp32" else None
        if given := [name for name, value in for_folders.items() if value is not None]:
            raise UsageError(f"{given[0]} goes with an output folder; {output} names one label file")
        from chordfast.labelling.single import label_to

        label_to(inputs[0], target, names[0], **settings)
        return

    from chordfast.labelling import LabellingInterrupted, label_folder
    from chordfast.labelling.paths import read_list

    listed = read_list(sys.stdin.buffer.read()) if "-" in inputs else []
    try:
        summary = label_folder(
            [name for name in inputs if name != "-"], output, formats=names, listed=listed, root=root, jobs=jobs,
            threads=threads, timeout=timeout, memory_limit=int(memory_limit * 2**30), dry_run=dry_run, force=force,
            retry_failed=retry_failed, fail_fast=fail_fast, progress="none" if quiet else progress,
            num_shards=num_shards, shard=shard, store=store, store_posteriors=store_posteriors, top=top,
            device=device, gpus=gpus, precision=precision, pitch_shift=pitch_shift, shift_only=_training(shift_only),
            command=command_words(ctx, leave_out=("shard", "dry_run", "verbose", "force")), **settings,
        )  # fmt: skip
    except LabellingInterrupted as stop:
        _report(stop.summary, profile)
        word = signal.Signals(stop.signum).name
        click.echo(f"chordfast: stopped by {word}; run the same command again to continue where it stopped", err=True)
        ctx.exit(128 + stop.signum)
    if dry_run:
        _show_plan(summary, verbose)
        return
    if not quiet:
        _report(summary, profile)
    ctx.exit(summary.exit_code)


_PATHS = frozenset({"output", "root", "store", "shift_only"})


def command_words(ctx: click.Context, leave_out: Collection[str] = ()) -> list[str]:
    """The arguments that were given, without the parameters in ``leave_out``; paths absolute, inputs last."""
    words: list[str] = []
    for option in ctx.command.params:
        given = ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or not given or option.name in leave_out:
            continue
        value, name = ctx.params[option.name], max(option.opts, key=len)
        if option.is_flag:
            words += [name] if value else []
            continue
        for item in value if option.multiple else [value]:
            is_path = option.name in _PATHS or (option.name == "model" and _is_checkpoint(item))
            words += [name, os.path.abspath(item) if is_path else str(item)]
    return words + [name if name == "-" else os.path.abspath(name) for name in ctx.params["inputs"]]


def _is_checkpoint(model: str) -> bool:
    """Whether a model's name is a file's, perhaps with an overlap behind it (net.safetensors@0.5)."""
    file, at, _ = model.rpartition("@")
    return Path(model).exists() or bool(at and file and Path(file).exists())


def _show_plan(summary: Summary, verbose: bool) -> None:
    lines = [(job.source.key, job.reason) for job in summary.planned]
    if verbose:
        moved = {row.path for row in summary.refreshed}
        same = "another time, same content"
        lines += [(row.path, f"kept, {same if row.path in moved else row.outcome}") for row in summary.kept]
    for key, words in sorted(lines):
        click.echo(f"{printable(key)}: {words}")
    counts = Counter(job.reason.partition(":")[0] for job in summary.planned)
    why = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    click.echo(f"{len(summary.planned)} to label{f' ({why})' if why else ''}, {summary.skipped} done before", err=True)


def _show_status(inputs: tuple[str, ...], output: str, as_json: bool, verbose: bool) -> int:
    from chordfast.labelling.paths import read_list
    from chordfast.labelling.status import status

    listed = read_list(sys.stdin.buffer.read()) if "-" in inputs else []
    found = status(output, [name for name in inputs if name != "-"], listed)
    if as_json:
        click.echo(json.dumps(found.to_json(verbose), indent=1))
    else:
        for line in found.lines(verbose):
            click.echo(printable(line))
    return found.exit_code


def _options(decoder: str | None, min_duration: float | None) -> DecodingOptions:
    from chordfast.decoding import DecodingOptions

    given = {"method": decoder, "min_duration": min_duration}
    return DecodingOptions(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def _training(split: str | None) -> list[str] | None:
    """The songs of a split file that train."""
    if split is None:
        return None
    from chordfast.train import read_split

    return read_split(split).train


def _single_target(inputs: tuple[str, ...], output: str, formats: tuple[str, ...]) -> str | None:
    """OUT when it is stdout or a label file of one recording, None when it is a folder."""
    from chordfast.labelling.paths import suffix

    alone = len(inputs) == 1 and inputs[0] != "-" and not Path(inputs[0]).is_dir() and len(formats) == 1
    if output == "-":
        if not alone:
            raise UsageError("-o - takes one recording and one format; name a folder for more")
        return output
    if alone and output.lower().endswith(suffix(formats[0])) and not Path(output).is_dir():
        return output
    return None


def _report(summary: Summary, profile: bool) -> None:
    for line in summary.lines(profile):
        click.echo(line, err=True)
    failures = summary.failures
    if failures:
        click.echo(
            "failed    " + "\n          ".join(f"{printable(f.path)}: {f.outcome}" for f in failures[:10]), err=True
        )
        more = f"{len(failures) - 10} more; " if len(failures) > 10 else ""
        click.echo(f"          {more}the reasons are in manifest.jsonl; --retry-failed tries again", err=True)


def printable(text: str) -> str:
    """A file name as text that can be printed: bytes that are not UTF-8 become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
