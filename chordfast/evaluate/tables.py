"""The tables of a report as rows of text, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .comparison import MEASURES, SCORES

FOLDER_MEASURES = (*SCORES, "seg")
MOST_FOLDERS = 50  # in a table; a folder an album makes no set worth comparing


def span(value: Mapping[str, Any], form: str) -> str:
    """Its interval in percent, with a blank before it; "" for one song, which has none."""
    return "" if value["low"] is None else f" [{100 * value['low']:{form}}, {100 * value['high']:{form}}]"


def score_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of scores, in percent: estimates with intervals, differences with p, compat."""
    estimates, comparisons = report["estimates"], report["comparisons"]
    head = ["measure", *(e["name"] for e in estimates)]
    head += [text for c in comparisons for text in (f"{c['b']} − {c['a']}", "p")]
    compat = [e for e in estimates if e["chordmini"] is not None]
    head += ["chordmini" if len(estimates) == 1 else f"chordmini: {e['name']}" for e in compat]
    rows = []
    for m in MEASURES:
        cells = [m]
        for e in estimates:
            c = e["corpus"][m]
            cells.append(f"{100 * c['mean']:5.1f}{span(c, '.1f')}")
        for c in comparisons:
            d = c["measures"][m]
            cells += [f"{100 * d['difference']:+.1f}{span(d, '+.1f')}", f"{d['p']:.4f}"]
        for e in compat:
            value = e["chordmini"]["average"].get(m)
            cells.append("" if value is None else f"{100 * value:.1f}")
        rows.append(cells)
    return head, rows


def folder_rows(estimate: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of folders of one estimate; no rows where all songs lie in one."""
    rows = [
        [
            f["folder"] or ".",
            str(f["songs"]),
            f"{f['seconds'] / 3600:.2f}",
            *(f"{100 * f[m]:.1f}" for m in FOLDER_MEASURES),
        ]
        for f in estimate["folders"][:MOST_FOLDERS]
    ]
    return ["folder", "songs", "hours", *FOLDER_MEASURES], rows


def quality_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of qualities, the most frequent first, ACQA last."""
    estimates = report["estimates"]
    groups = estimates[0]["quality"]["groups"]
    total = sum(g["seconds"] for g in groups.values()) or 1.0
    head = ["quality", "share"]
    for e in estimates:
        name = f" {e['name']}" if len(estimates) > 1 else ""
        head += [f"with root{name}", f"quality only{name}"]
    rows = [
        [name, f"{100 * groups[name]['seconds'] / total:.1f}"]
        + [
            f"{100 * e['quality']['groups'][name][key]:.1f}"
            for e in estimates
            for key in ("accuracy_with_root", "accuracy")
        ]
        for name in sorted(groups, key=lambda name: -groups[name]["seconds"])
    ]
    means = [f"{100 * e['quality'][key]:.1f}" for e in estimates for key in ("acqa_with_root", "acqa")]
    return head, [*rows, ["ACQA", "", *means]]


def plain_table(head: list[str], rows: list[list[str]]) -> str:
    """Aligned columns, the first to the left, without colours."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in (head, *rows)
    ]
    return "".join(line.rstrip() + "\n" for line in lines)
