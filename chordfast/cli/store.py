"""``chordfast store``: describe, check, export and seal a store of features and posteriors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def store() -> None:
    """Look into a store of features and posteriors (made by label --store)."""


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(path: Path, as_json: bool) -> None:
    """Describe the store PATH: what it was made with, songs, hours, bytes, classes."""
    from chordfast.store import Store, summary

    found = summary(Store(path))
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2))
        return
    made = {name: value for name, value in found["identity"].items() if value != ""}
    click.echo(f"store        {found['store']}")
    for name, value in made.items():
        click.echo(f"  {name:16s} {value}")
    outcomes = ", ".join(f"{count} {name}" for name, count in found["outcomes"].items()) or "none"
    versions = f", {found['shifted']} of them pitch-shifted" if found["shifted"] else ""
    click.echo(f"songs        {found['songs']}{versions} ({outcomes})")
    click.echo(f"audio        {found['hours']:.2f} hours, {found['frames']} frames, {_bytes(found['bytes'])}")
    if found["confidence"] is not None:
        click.echo(f"confidence   {found['confidence']:.3f} (mean over frames)")
    for name, share in found["qualities"].items():
        click.echo(f"  {name:16s} {100 * share:6.2f} %")
    click.echo(f"files        {found['shards']} shards, {found['unsealed']} songs not sealed yet")
    old = found["superseded"]
    click.echo(f"superseded   {old['songs']} songs, {_bytes(old['bytes'])}")


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
def verify(path: Path) -> None:
    """Read every byte of the store PATH and compare it with its checksums; exit code 1 when something is damaged."""
    from chordfast.store import verify as verify_store

    songs = 0

    def count(done: int, total: int) -> None:
        nonlocal songs
        songs = done
        show(done, total)

    with _progress() as show:
        damage = verify_store(path, count)
    for item in damage:
        click.echo(item)
    if damage:
        click.echo(f"{len(damage)} damaged, of {songs} songs; copy these files back, or label them again", err=True)
        raise click.exceptions.Exit(1)
    click.echo(f"{songs} songs: all as they were written", err=True)


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    default="npz",
    show_default=True,
    help="npz: all arrays of a song; chordmini: _spec.npy, .lab and _logits.npy as ChordMini reads them.",
)
def export(path: Path, out: Path, format_: str) -> None:
    """Write every song of the store PATH as files below OUT."""
    from chordfast.store import Store

    count = Store(path).export(out, format_)
    click.echo(f"{count} songs written to {out}", err=True)


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--writer", metavar="NAME", help="Seal the songs of this writer (default: of all).")
def seal(path: Path, writer: str | None) -> None:
    """Move the songs of the store PATH that a run left unsealed into shards; for runs that will not go on."""
    from chordfast.store import StoreWriter, writers

    count = 0
    for name in [writer] if writer is not None else writers(path):
        with StoreWriter(path, None, name) as opened:
            count += len(opened.seal())
    click.echo(f"{count} shards written", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task: Any = bar.add_task("verify", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bytes(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
