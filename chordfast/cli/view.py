"""``chordfast view``: a page to look at, listen to and correct labels; an index page of a labelled folder."""

from __future__ import annotations

from pathlib import Path

import click

from chordfast.errors import UsageError


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="PAGE", type=click.Path(path_type=Path), help="HTML file.")
@click.option("--embed", is_flag=True, help="Put the audio into the page (default: a relative link).")
@click.option("--transpose", type=int, default=0, metavar="N", help="Move labels up by N semitones.")
@click.option("--title", help="Heading of the page (default: the file's name).")
@click.option("--gallery", is_flag=True, help="INPUT is a labelled folder; write its index page.")
@click.option("--compare", metavar="DIR", type=click.Path(path_type=Path), help="Gallery: other labels of these songs.")
@click.option("--pages", metavar="DIR", type=click.Path(path_type=Path), help="Gallery: write every song's page there.")
@click.option("--audio", metavar="DIR", type=click.Path(path_type=Path), help="Gallery: where the recordings lie.")
def view(
    inputs: tuple[Path, ...], output: Path, embed: bool, transpose: int, title: str | None, gallery: bool,
    compare: Path | None, pages: Path | None, audio: Path | None,
) -> None:  # fmt: skip
    """Show labels in a page that needs no server and no network.

    INPUT is a recording and any number of label files (.lab, .json, .jams), or label files alone. The page plays the
    song, shows where labels differ or are doubtful, and exports what is corrected in it.
    """
    if gallery:
        if len(inputs) != 1:
            raise UsageError("--gallery takes one folder; write a gallery for each")
        if embed or title is not None:
            raise UsageError("--embed and --title belong to the page of one song; leave them out with --gallery")
        if audio is not None and pages is None:
            raise UsageError("--audio is for the songs' pages; say with --pages where to write them")
        _gallery(inputs[0], output, compare, pages, audio, transpose)
        return
    if compare or pages or audio:
        raise UsageError("--compare, --pages and --audio belong to --gallery")
    from chordfast.view import write_song_page
    from chordfast.view.sources import is_label_file

    for path in inputs:
        if not path.exists():
            raise UsageError(f"no such file: {path}")
        if path.is_dir():
            raise UsageError(f"{path} is a folder; use --gallery for its index page")
    recordings = [path for path in inputs if not is_label_file(path)]
    if len(recordings) > 1:
        raise UsageError(f"one page shows one recording, not {recordings[0]} and {recordings[1]}; write two pages")
    labels = [path for path in inputs if is_label_file(path)]
    write_song_page(
        recordings[0] if recordings else None, labels, output, embed=embed, transpose=transpose, title=title
    )
    click.echo(f"{output}: {_size(output)}", err=True)


def _gallery(
    folder: Path, output: Path, compare: Path | None, pages: Path | None, audio: Path | None, transpose: int
) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from chordfast.view.gallery import Pages, write_gallery

    plan = Pages(pages, audio, transpose) if pages is not None else None
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading labels", total=None)
        write_gallery(
            folder, output, compare=compare, pages=plan,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if plan is not None:
        for trouble in plan.troubles:
            click.echo(f"warning: {trouble}", err=True)
        click.echo(f"{pages}: {plan.written} pages", err=True)
    click.echo(f"{output}: {_size(output)}", err=True)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
