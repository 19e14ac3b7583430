"""``chordfast evaluate``: scores of label files, or of a model, against references."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chordfast.errors import UsageError

if TYPE_CHECKING:
    from chordfast.evaluate import Evaluation, Issue

SHOWN_WARNINGS = 20


@click.command()
@click.option("-r", "--reference", required=True, metavar="REF", help="A label file, or a folder of them.")
@click.option("-e", "--estimate", "estimates", multiple=True, metavar="EST", help="Likewise; repeatable, side by side.")
@click.option("--model", metavar="NAME", help="Score a model instead: a name (crema) or a checkpoint file.")
@click.option("--audio", metavar="DIR", help="Recordings for --model, named like the references.")
@click.option("--labels", metavar="DIR", help="Keep the model's labels here, and use those that are there already.")
@click.option(
    "--split", metavar="FILE", help='JSON {"train": [names], "val": [...], "test": [...]}; score one part only.'
)
@click.option("--part", metavar="NAME", help="Part of the split (default: test, else val).")
@click.option(
    "--all-songs", is_flag=True, help="Score a checkpoint without --split, on songs it may have been trained on."
)
@click.option("--compat", type=click.Choice(["chordmini"]), help="Also count as that code's evaluation does.")
@click.option("--strict", is_flag=True, help="Whatever is doubtful about a file is an error.")
@click.option("-o", "--output", metavar="DIR", help="Write report.json and report.html here.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of intervals and tests.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes for --model.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings and no progress.")
def evaluate(
    *, reference: str, estimates: tuple[str, ...], model: str | None, audio: str | None, labels: str | None,
    split: str | None, part: str | None, all_songs: bool, compat: str | None, strict: bool, output: str | None,
    as_json: bool, seed: int, jobs: int | None, offline: bool, quiet: bool,
) -> None:  # fmt: skip
    """Score chord labels against references by mir_eval's measures.

    Folders are searched to any depth; files with the same path below their folder belong together.

    Exit code: 0 scored (warnings included), 1 nothing could be scored or --strict found something, 2 usage.
    """
    from chordfast.evaluate import evaluate as score
    from chordfast.evaluate import read_split, write_report

    if bool(estimates) == bool(model):
        raise UsageError("give either --estimate or --model, with --audio, to score")
    if part and not split:
        raise UsageError("--part needs --split")
    chosen, name = read_split(split, part) if split else (None, "")
    notes = [f"Only the part {name!r} of {split}: {len(chosen or ())} songs."] if split else []
    printer = Printer(quiet)
    with ExitStack() as stack:
        names = None
        if model:
            notes += _check_unseen(model, split, all_songs)
            folder = labels or stack.enter_context(tempfile.TemporaryDirectory(prefix="chordfast-"))
            _label(model, audio, reference, chosen, folder, jobs=jobs, offline=offline, progress=not quiet)
            estimates, names = (folder,), [Path(model).stem]
        for note in notes:
            printer.say(f"note: {note}")
        result = score(
            reference, estimates, names=names, part=chosen, compat=compat, strict=strict, seed=seed, warn=printer.warn
        )
    result.notes += notes
    report = result.as_dict()
    printer.finish(result, output)
    if output:
        write_report(report, output)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, allow_nan=False))
    else:
        _show(report)
        if output:
            click.echo(f"written   {Path(output) / 'report.html'}, {Path(output) / 'report.json'}")


def _check_unseen(model: str, split: str | None, all_songs: bool) -> list[str]:
    """Scores on training songs say nothing: refuse a checkpoint without a split, warn for a named model."""
    if split:
        return []
    if Path(model).suffix and not all_songs:
        raise UsageError(
            f"{model} may have been trained on these songs; name the split it was trained with "
            "(--split FILE --part test), or --all-songs if none of them was in its training set"
        )
    return [f"{model} may have been trained on some of these songs; no split file was given to leave them out."]


def _label(
    model: str, audio: str | None, reference: str, chosen: set[str] | None, folder: str, **settings: Any
) -> None:
    from chordfast import label_folder
    from chordfast.audio import find_audio
    from chordfast.evaluate.matching import REFERENCE_SUFFIXES, find

    if not audio:
        raise UsageError("--model needs --audio, the folder of recordings")
    if not Path(reference).is_dir() or not Path(audio).is_dir():
        raise UsageError("--model needs folders for --audio and --reference")
    wanted = set(find(Path(reference), REFERENCE_SUFFIXES))
    if chosen is not None:
        wanted &= chosen
    recordings = [p for p in find_audio(audio) if p.relative_to(audio).with_suffix("").as_posix() in wanted]
    if not recordings:
        raise UsageError(f"no recording in {audio} has the name of a reference in {reference}")
    label_folder(recordings, folder, model=model, formats="json", root=audio, **settings)


class Printer:
    """Warnings on stderr, the first of them in full."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.count = quiet, 0

    def say(self, text: str) -> None:
        if not self.quiet:
            click.echo(text.encode("utf-8", "backslashreplace").decode(), err=True)

    def warn(self, issue: Issue) -> None:
        self.count += 1
        if self.count <= SHOWN_WARNINGS:
            self.say(f"warning: {issue}")

    def finish(self, result: Evaluation, output: str | None) -> None:
        if self.count > SHOWN_WARNINGS:
            where = f"they are in {Path(output) / 'report.json'}" if output else "-o DIR writes them all into a report"
            self.say(f"warning: {self.count - SHOWN_WARNINGS} more; {where}")


def _show(report: dict[str, Any]) -> None:
    from chordfast.evaluate.tables import folder_rows, plain_table, quality_rows, score_rows

    click.echo(f"{report['songs']} songs, {report['seconds'] / 3600:.2f} hours; percent, songs weighted by length\n")
    for head, rows in (score_rows(report), *map(folder_rows, report["estimates"]), quality_rows(report)):
        if not rows:
            continue
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text

            table = Table(box=None, header_style="bold")
            for i, name in enumerate(head):
                table.add_column(Text(name), justify="left" if i == 0 else "right")
            for row in rows:
                table.add_row(*map(Text, row))
            Console().print(table)
        else:
            click.echo(plain_table(head, rows), nl=False)
        click.echo()
    for estimate in report["estimates"]:
        if calibration := estimate["calibration"]:
            click.echo(
                f"calibration of {estimate['name']}: ECE {calibration['ece']:.3f}, mean confidence "
                f"{calibration['mean_confidence']:.3f}, right {calibration['accuracy']:.3f}"
            )
