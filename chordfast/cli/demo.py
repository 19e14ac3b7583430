"""``chordfast demo``: label the bundled recording and print what was found beside what was played."""

from __future__ import annotations

import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from chordfast.annotations import Annotation

MEASURES = ("root", "thirds", "majmin", "triads", "sevenths", "tetrads", "mirex", "seg")
MINOR_SHARE = 0.2  # of a chord's time, below which what was found there is not shown


class Row(NamedTuple):
    """One true chord: its time in seconds, labels, mean confidence of the main one in [0, 1], ok | ~ | x."""

    start: float
    end: float
    true: str
    found: str
    confidence: float
    mark: str


@click.command()
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), show_default=True
)
@click.option("--model", default="btc", show_default=True, help="A model's name or a checkpoint file.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
def demo(output: Path, model: str, offline: bool) -> None:
    """Label the bundled recording; print its chords beside the true ones.

    Writes demo.lab and demo.json into the output folder.
    """
    from chordfast import annotations, label, teachers

    data = resources.files("chordfast") / "data"
    with resources.as_file(data / "demo.ogg") as audio, resources.as_file(data / "demo.lab") as lab:
        truth = annotations.read_lab(lab)
        recogniser = teachers.load(model, offline=offline)
        seconds = []
        for _ in range(2):  # the first call also designs filters and starts thread pools
            began = time.perf_counter()
            found = label(audio, model=recogniser)
            seconds.append(time.perf_counter() - began)
    output.mkdir(parents=True, exist_ok=True)
    for form in ("lab", "json"):
        annotations.write(found, output / f"demo.{form}", format=form)
    rows = compare(truth, found)
    (print_table if sys.stdout.isatty() else print_plain)(rows)
    right = sum(row.mark == "ok" for row in rows)
    click.echo(f"\n{right} of {len(rows)} chords right; ok: same chord, ~: same root, x: another chord")
    click.echo("mir_eval  " + "  ".join(f"{name} {value:.3f}" for name, value in scores(truth, found).items()))
    first, second = seconds
    click.echo(
        f"speed     {found.duration:.1f} s of music in {second:.2f} s, {found.duration / second:.0f} x real time "
        f"with decoding ({first:.2f} s the first time); model {recogniser.name}"
    )
    click.echo(f"written   {output / 'demo.lab'}, {output / 'demo.json'}")


def compare(truth: Annotation, found: Annotation) -> list[Row]:
    """A row for every true chord, with the labels found during it in order of time, the main one decides the mark."""
    import numpy as np

    from chordfast.vocabulary import N_CLASS, X_CLASS, chord_class

    rows = []
    for start, end, true in zip(truth.starts, truth.ends, truth.labels, strict=True):
        overlap = np.clip(np.minimum(found.ends, end) - np.maximum(found.starts, start), 0, None)
        share: dict[str, float] = {}
        for i in np.flatnonzero(overlap):
            share[found.labels[i]] = share.get(found.labels[i], 0.0) + overlap[i] / (end - start)
        main = max(share, key=lambda name: share[name], default="N")
        shown = [name for name, part in share.items() if part >= MINOR_SHARE or name == main] or [main]
        of_main = overlap * np.array([name == main for name in found.labels])
        confidence = float("nan")
        if found.confidence is not None and of_main.any():
            confidence = float(np.average(found.confidence, weights=of_main))
        a, b = chord_class(true), chord_class(main)
        # 14 classes a root; the two classes without a root never share one.
        related = a // 14 == b // 14 and not {a, b} & {N_CLASS, X_CLASS}
        rows.append(Row(start, end, true, " ".join(shown), confidence, "ok" if a == b else "~" if related else "x"))
    return rows


def scores(truth: Annotation, found: Annotation) -> dict[str, float]:
    """mir_eval's scores of ``found`` against ``truth``, each in [0, 1]."""
    import mir_eval
    import numpy as np

    result = mir_eval.chord.evaluate(
        np.column_stack([truth.starts, truth.ends]),
        truth.labels,
        np.column_stack([found.starts, found.ends]),
        found.labels,
    )
    return {name: float(result[name]) for name in MEASURES}


def print_plain(rows: list[Row]) -> None:
    """Aligned columns of plain ASCII."""
    click.echo(f"{'time':>7s}  {'true':10s} {'found':24s} {'confidence':15s}")
    for row in rows:
        bar = "#" * round(10 * row.confidence) if row.confidence == row.confidence else ""
        click.echo(f"{row.start:7.2f}  {row.true:10s} {row.found:24s} {bar:10s} {row.confidence:4.2f}  {row.mark}")


def print_table(rows: list[Row]) -> None:
    """The same in colour, for a terminal."""
    from rich.console import Console
    from rich.table import Table

    colours = {"ok": "green", "~": "yellow", "x": "red"}
    table = Table("time", "true", "found", "confidence", "", box=None, header_style="bold")
    table.columns[0].justify = "right"
    for row in rows:
        colour = colours[row.mark]
        full = round(10 * row.confidence) if row.confidence == row.confidence else 0
        bar = f"[{colour}]{'█' * full}[/][dim]{'░' * (10 - full)}[/] {row.confidence:.2f}"
        mark = "≈" if row.mark == "~" else row.mark
        table.add_row(f"{row.start:.2f}", row.true, f"[{colour}]{row.found}[/]", bar, f"[{colour}]{mark}[/]")
    Console().print(table)
