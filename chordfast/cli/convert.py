"""``chordfast convert``: label files from one format, or one chord dialect, into another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chordfast.errors import LabelError, UsageError

if TYPE_CHECKING:
    from chordfast.annotations import Annotation


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("-f", "--from", "from_format", metavar="NAME", help="Format of IN (default: by its suffix).")
@click.option(
    "-t", "--to", "to_format", metavar="NAME", help="Format of OUT (default: by its suffix; folders need it)."
)
@click.option("-d", "--dialect", metavar="NAME", help="Chord spelling: harte, lead-sheet, chordmini, majmin, ...")
@click.option("--strict", is_flag=True, help="Refuse files with gaps or overlaps instead of mending them.")
def convert(
    *, source: str, target: str, from_format: str | None, to_format: str | None, dialect: str | None, strict: bool
) -> None:
    """Convert label files between formats and chord dialects.

    IN and OUT are two files or two folders; a folder keeps its tree. A folder may also become one Parquet file with a
    column for the song, and such a file a folder.

    Formats: lab, json, jams, csv, audacity, svl, midi, parquet. Gaps are filled with N, an overlap goes to the later
    segment.

    Exit code: 0 all fine, 1 some file could not be converted, 2 usage.
    """
    from chordfast.annotations import BINARY_FORMATS, FORMATS, READABLE, SPELLINGS, format_of

    suffixes = FORMATS | BINARY_FORMATS
    for name in (from_format, to_format):
        if name is not None and name not in suffixes:
            raise UsageError(f"unknown format {name!r}; choose from {', '.join(suffixes)}")
    if dialect is not None and dialect not in SPELLINGS:
        raise UsageError(f"unknown chord dialect {dialect!r}; choose from {', '.join(SPELLINGS)}")
    origin, goal = Path(source), Path(target)
    if not origin.exists():
        raise UsageError(f"no such file or folder: {origin}")
    if origin.is_dir():
        suffix = suffixes[from_format] if from_format else None
        files = _files(origin, goal, (suffix,) if suffix else tuple(READABLE))
        if goal.suffix.lower() == ".parquet" and not goal.is_dir():
            _to_table(origin, goal, files, from_format, dialect, strict)
            return
        if to_format is None:
            raise UsageError(f"{origin} is a folder; name the format of its copies with --to")
        pairs = [(path, goal / path.relative_to(origin).with_suffix(suffixes[to_format])) for path in files]
        _convert_files(pairs, from_format, to_format, dialect, strict)
        return
    if (from_format or format_of(origin)) == "parquet" and (goal.is_dir() or not goal.suffix):
        _from_table(origin, goal, to_format or "lab", suffixes, dialect, strict)
        return
    if goal.is_dir():
        if to_format is None:
            raise UsageError(f"{goal} is a folder; name the format with --to, or a file")
        goal = goal / origin.with_suffix(suffixes[to_format]).name
    _write(_mended(origin, from_format, dialect, strict), goal, to_format or format_of(goal))


def _files(folder: Path, goal: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Label files below a folder, without hidden ones and without what lies in the output folder."""
    from chordfast.evaluate.matching import walk

    files = [path for path in walk(folder, suffixes) if goal == folder or goal not in path.parents]
    if not files:
        raise UsageError(f"there are no label files ({', '.join(suffixes)}) in {folder}")
    return files


def _mended(path: Path, form: str | None, dialect: str | None, strict: bool) -> Annotation:
    from chordfast.annotations import read

    return _prepared(read(path, form), str(path), dialect, strict)


def _prepared(annotation: Annotation, name: str, dialect: str | None, strict: bool) -> Annotation:
    """The annotation without gaps and overlaps, in the dialect; says what was mended."""
    from chordfast.annotations import respell

    found = [("overlap", annotation.overlaps(), "the later segment wins"), ("gap", annotation.gaps(), "filled with N")]
    for what, places, how in found:
        if len(places):
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            text = f"{name}: {what} from {places[0, 0]:g} to {places[0, 1]:g} s{more}"
            if strict:
                raise LabelError(text)
            click.echo(f"warning: {text}; {how}", err=True)
    annotation = annotation.fill_gaps()
    try:
        return annotation if dialect is None else respell(annotation, dialect)
    except LabelError as error:
        raise LabelError(f"{name}: {error}") from None


def _write(annotation: Annotation, path: Path, form: str) -> None:
    from chordfast.annotations import write

    path.parent.mkdir(parents=True, exist_ok=True)
    write(annotation, path, form)


def _convert_files(
    pairs: list[tuple[Path, Path]], form: str | None, to_format: str, dialect: str | None, strict: bool
) -> None:
    """Convert file after file; those that cannot be read are named, the others done, and the exit code is 1 then."""
    targets: dict[Path, Path] = {}
    for path, target in pairs:
        if target in targets:
            raise UsageError(f"{targets[target]} and {path} would both become {target}; name one format with --from")
        targets[target] = path
    failed = 0
    for path, target in pairs:
        try:
            _write(_mended(path, form, dialect, strict), target, to_format)
        except LabelError as error:
            failed += 1
            click.echo(f"Error: {error}", err=True)
    click.echo(f"{len(pairs) - failed} converted, {failed} failed", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _to_table(folder: Path, goal: Path, files: list[Path], form: str | None, dialect: str | None, strict: bool) -> None:
    from chordfast.annotations import parquet
    from chordfast.files import atomic_write

    songs = {}
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in songs:
            raise UsageError(f"{folder} holds {name} in several formats; name one with --from")
        songs[name] = _mended(path, form, dialect, strict)
    goal.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(goal, parquet(songs))
    click.echo(f"{len(songs)} songs in {goal}", err=True)


def _from_table(
    table: Path, goal: Path, to_format: str, suffixes: dict[str, str], dialect: str | None, strict: bool
) -> None:
    from chordfast.annotations import read_parquet

    songs = read_parquet(table)
    root = goal.resolve()
    for song, annotation in songs.items():
        path = goal / ((song or table.stem) + suffixes[to_format])
        if root not in path.resolve().parents:
            raise LabelError(f"{table}: the song name {song!r} leads out of {goal}; rename it.")
        _write(_prepared(annotation, f"{table}, song {song}", dialect, strict), path, to_format)
    click.echo(f"{len(songs)} songs in {goal}", err=True)
