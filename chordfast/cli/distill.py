"""``chordfast distill``: from a folder of recordings to an evaluated student, in one command."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("music", metavar="MUSIC", type=click.Path(path_type=Path))
@click.option(
    "--labels", required=True, metavar="DIR", type=click.Path(path_type=Path),
    help="True labels of some of the recordings: a/song.lab for a/song.mp3.",
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Folder of everything made."
)
@click.option("--teacher", default="crema", show_default=True, metavar="NAME", help="Who labels the recordings.")
@click.option("--student", type=click.Choice(["btc", "2e1d"]), default="btc", show_default=True, help="Who learns.")
@click.option(
    "--split", metavar="FILE", type=click.Path(path_type=Path),
    help='JSON {"train": [songs], "val": [...], "test": [...]} of the labelled songs (default: 70, 10 and 20 %).',
)  # fmt: skip
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="Change a setting of both stages (loop.epochs=5), or of one (stage2.loss.alpha=0.5); repeatable.",
)  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="Of the training: cpu, cuda or cuda:N.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes of the labelling.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def distill(
    ctx: click.Context, *, music: Path, labels: Path, output: Path, teacher: str, student: str, split: Path | None,
    settings: tuple[str, ...], device: str, jobs: int | None, offline: bool, quiet: bool,
) -> None:  # fmt: skip
    """Teach a student from the recordings in MUSIC, of which some have true labels.

    The teacher labels all of MUSIC; stage 1 learns from those labels, stage 2 from the true labels of 70 % of the
    labelled songs while it listens to the teacher, and 20 % of them, heard by neither, give the scores. The same
    command again goes on where it stopped. DIR holds the store, both stages, labels, and report/report.html.
    """
    from chordfast.cli.distilling import Plan, read_settings, tell
    from chordfast.cli.distilling import distill as run
    from chordfast.cli.evaluate import _show

    plan = Plan(
        music, labels, output, teacher, student, read_settings(settings), split, jobs, device, offline,
        (lambda _: None) if quiet else tell, "none" if quiet else "auto",
    )  # fmt: skip
    from chordfast.labelling import LabellingInterrupted

    try:
        result = run(plan)
    except LabellingInterrupted as stop:
        click.echo("chordfast: stopped; run the same command again to continue where it stopped", err=True)
        ctx.exit(128 + stop.signum)
    _show(result.as_dict())
    click.echo(f"student   {output / 'stage2' / 'best.safetensors'}")
    click.echo(f"report    {output / 'report' / 'report.html'}")
