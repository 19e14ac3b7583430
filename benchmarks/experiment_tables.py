"""Writes the tables of docs/results.md from reports of ``chordfast evaluate``, between its markers.

    python benchmarks/experiment_tables.py KEY=REPORT.json [KEY=...] [--brief KEY] [--document FILE.md] [--check]

Each KEY names a block ``<!-- results:KEY -->`` ... ``<!-- /results:KEY -->`` of the document. A block gets the seven
scores of arXiv 2602.19778's table and ACQA in percent with their 95 % bootstrap intervals over all songs, the scores by
folder (a data set each; not for a KEY that --brief names), and the recall of each quality with the root right. --check:
change nothing, exit code 1 if the document is not up to date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from chordfast.evaluate.statistics import bootstrap, mean
from chordfast.vocabulary import QUALITIES

ROOT = Path(__file__).parent.parent
SCORES = ("root", "thirds", "triads", "sevenths", "tetrads", "majmin", "mirex")


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def together(report: dict[str, Any]) -> list[str]:
    """All songs: a row a system, each score above its interval's ends."""
    rows = []
    for system in report["estimates"]:
        cells = []
        for name in SCORES:
            found = system["corpus"][name]
            cells.append(f"{percent(found['mean'])} ({percent(found['low'])}–{percent(found['high'])})")
        average = float(np.mean([system["corpus"][name]["mean"] for name in SCORES]))
        quality = system["quality"]
        cells += [percent(average), percent(quality["acqa"]), percent(quality["acqa_with_root"])]
        rows.append([system["name"], *cells])
    return table(["", *SCORES, "mean", "ACQA", "with root"], rows)


def by_folder(report: dict[str, Any]) -> list[str]:
    """A table a data set: scores, and the interval of sevenths."""
    lines: list[str] = []
    for folder in report["estimates"][0]["folders"]:
        name = folder["folder"]
        lines += [f"**{name}**, {folder['songs']} songs, {folder['seconds'] / 3600:.2f} h", ""]
        rows = []
        for system in report["estimates"]:
            songs = [song for song in system["per_song"] if song["song"].split("/")[0] == name]
            seconds = np.array([song["seconds"] for song in songs])
            scores = np.array([[song[score] for score in SCORES] for song in songs])
            values, (low, high) = mean(scores, seconds), bootstrap(scores, seconds)
            cells = [f"{percent(v)} ({percent(a)}–{percent(b)})" for v, a, b in zip(values, low, high, strict=True)]
            rows.append([system["name"], *cells, percent(float(values.mean()))])
        lines += table(["", *SCORES, "mean"], rows)
    return lines


def by_quality(report: dict[str, Any]) -> list[str]:
    """Share of the time of each quality, and how much of it each system labels with that root and quality."""
    groups = [(system["name"], system["quality"]["groups"]) for system in report["estimates"]]
    total = sum(group["seconds"] for group in groups[0][1].values())
    there = [name for name in QUALITIES if name in groups[0][1]]
    rows = [["share of the time", *(f"{100 * groups[0][1][q]['seconds'] / total:.1f}" for q in there)]]
    rows += [[name, *(percent(found[q]["accuracy_with_root"]) for q in there)] for name, found in groups]
    return table(["recall, root right", *there], rows)


def block(report: dict[str, Any], brief: bool = False) -> str:
    hours = report["seconds"] / 3600
    lines = [f"{report['songs']} songs, {hours:.2f} h; percent, songs weighted by length, 95 % intervals.", ""]
    lines += together(report) + by_quality(report) + ([] if brief else by_folder(report))
    return "\n".join(lines)


def fill(document: str, key: str, text: str) -> str:
    """``document`` with the block of ``key`` replaced; SystemExit, one sentence, when it has none."""
    found = re.compile(f"(<!-- results:{re.escape(key)} -->\n).*?(<!-- /results:{re.escape(key)} -->)", re.S)
    if not found.search(document):
        raise SystemExit(f"the document has no block <!-- results:{key} -->; add it with its end, or take another key")
    return found.sub(lambda match: f"{match[1]}\n{text}\n{match[2]}", document)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="KEY=REPORT.json")
    parser.add_argument("--brief", action="append", default=[], metavar="KEY", help="no tables by folder; repeatable")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    old = new = arguments.document.read_text()
    for given in arguments.reports:
        key, equals, path = given.partition("=")
        if not equals:
            parser.error(f"{given!r} is not KEY=REPORT.json")
        try:
            report = json.loads(Path(path).read_text())
            text = block(report, key in arguments.brief)
        except (OSError, ValueError, KeyError, IndexError) as error:
            parser.error(f"{path} is no report of chordfast evaluate -o ({error!r})")
        new = fill(new, key, text)
    if arguments.check:
        return int(old != new)
    arguments.document.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
