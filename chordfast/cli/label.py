"""``chordfast label``: chords of files, folders, or a list on stdin."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chordfast.errors import UsageError

if TYPE_CHECKING:
    from chordfast.decoding import DecodingOptions
    from chordfast.labelling import Summary


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="Folder; for one file also a label file, or - for stdout."
)
@click.option(
    "-f",
    "--format",
    "formats",
    multiple=True,
    metavar="NAME",
    help="lab (default), json, jams, csv, audacity or svl; repeatable.",
)
@click.option("--model", default="crema", show_default=True, help="A model's name or a checkpoint file.")
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
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be labelled, and why.")
@click.option("--force", is_flag=True, help="Label everything again; overwrite labels of others.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed before.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--profile", is_flag=True, help="Show the CPU seconds of every stage.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
@click.pass_context
def label(
    ctx: click.Context, *, inputs: tuple[str, ...], output: str, formats: tuple[str, ...], model: str, offline: bool,
    decoder: str | None, min_duration: float | None, quality: str, root: str | None, jobs: int | None,
    threads: int | None, timeout: float, memory_limit: float, dry_run: bool, force: bool, retry_failed: bool,
    fail_fast: bool, profile: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write the chords of recordings.

    INPUT is a file, a folder (searched to any depth), or - for a list of paths on stdin, one a line or separated by
    NUL bytes. OUT mirrors the inputs' tree and keeps manifest.jsonl: a second start does only what is new or changed.

    Exit code: 0 all fine, 1 some files failed, 2 usage, 130 or 143 interrupted.
    """
    from chordfast.labelling.paths import check_formats

    names = check_formats(formats or ("lab",))
    options = _options(decoder, min_duration)
    settings: dict[str, Any] = {"model": model, "options": options, "offline": offline, "quality": quality}
    if target := _single_target(inputs, output, names):
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
            retry_failed=retry_failed, fail_fast=fail_fast, progress=not quiet, **settings,
        )  # fmt: skip
    except LabellingInterrupted as stop:
        _report(stop.summary, profile)
        word = signal.Signals(stop.signum).name
        click.echo(f"chordfast: stopped by {word}; run the same command again to continue where it stopped", err=True)
        ctx.exit(128 + stop.signum)
    if dry_run:
        for job in summary.planned:
            click.echo(f"{printable(job.source.key)}: {job.reason}")
        click.echo(f"{len(summary.planned)} to label, {summary.skipped} done before", err=True)
        return
    if not quiet:
        _report(summary, profile)
    ctx.exit(summary.exit_code)


def _options(decoder: str | None, min_duration: float | None) -> DecodingOptions:
    from chordfast.decoding import DecodingOptions

    given = {"method": decoder, "min_duration": min_duration}
    return DecodingOptions(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


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
