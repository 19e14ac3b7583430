"""Turns benchmarks/results/*/*.json into the tables of docs/performance.md, between its markers.

    python benchmarks/report.py [--results DIR] [--document FILE] [--check]

For each machine, op, case and mode the newest run counts. "chordfast is" divides the provider's time by chordfast's of
the same run; it is refused, and so said, where chordfast's own result was wrong, or the other side's. Where no result
came from a GPU, the document says so. --check: change nothing, exit code 1 if the document is not up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
KINDS = ("gpu", "cpu")
Run = dict[str, Any]
Row = dict[str, Any]


class ReportError(Exception):
    """Something about the files, in one sentence."""


def read_runs(folder: Path) -> list[Run]:
    """All runs, newest first."""
    runs = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            run = json.loads(path.read_text())
            assert run["version"] == 1 and run["machine"]["kind"] in KINDS and isinstance(run["rows"], list)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise ReportError(f"{path} is no benchmark result ({error!r}); delete it or measure again") from error
        runs.append(run)
    return sorted(runs, key=lambda run: run["machine"]["date"], reverse=True)


def newest(runs: list[Run], kind: str) -> dict[str, dict[tuple[str, str, str], tuple[Run, list[Row]]]]:
    """{machine: {(op, case, mode): (run, rows)}}, chordfast's row first."""
    found: dict[str, dict[tuple[str, str, str], tuple[Run, list[Row]]]] = {}
    for run in runs:
        if run["machine"]["kind"] != kind:
            continue
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in run["rows"]:
            groups.setdefault((row["op"], row["case"], row["mode"]), []).append(row)
        for key, rows in groups.items():
            rows.sort(key=lambda row: row["provider"] != "chordfast")
            found.setdefault(run["machine"]["name"], {}).setdefault(key, (run, rows))
    return found


def duration(seconds: float) -> str:
    if not seconds:
        return "–"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def ratio(own: Row, row: Row) -> str:
    if own is row:
        return "1" if own["ok"] else "refused: wrong result"
    if not own["ok"]:
        return "refused: chordfast's result is wrong"
    if not row["ok"]:
        return "refused: its result is wrong"
    return f"{row['seconds'] / own['seconds']:.2f}×"


def rate(row: Row, peaks: dict[str, float]) -> str:
    """Times real time, bandwidth or arithmetic, each beside the card's own peak."""
    if not row["seconds"]:
        return "–"
    parts = []
    if "audio_seconds" in row:
        parts.append(f"{row['audio_seconds'] / row['seconds']:,.0f} × real time".replace(",", " "))
    if "bytes" in row:
        speed = row["bytes"] / row["seconds"] / 1e9
        peak = f" ({100 * speed / peaks['copy_gb_s']:.0f} % of copy)" if peaks.get("copy_gb_s") else ""
        parts.append(f"{speed:,.0f} GB/s{peak}".replace(",", " "))
    if "flops" in row:
        parts.append(f"{row['flops'] / row['seconds'] / 1e12:.3g} TFLOP/s")
    return ", ".join(parts) or "–"


def tables(runs: list[Run], kind: str) -> str:
    lines: list[str] = []
    for machine, groups in sorted(newest(runs, kind).items()):
        for op in sorted({key[0] for key in groups}):
            lines += [f"### {op}, {machine}", ""]
            lines += [
                "| case | provider | time | chordfast is | rate | error | timed |",
                "|---|---|---|---|---|---|---|",
            ]
            sources = set()
            for (_, case, mode), (run, rows) in sorted((k, v) for k, v in groups.items() if k[0] == op):
                about, peaks = run["machine"], run.get("peaks", {})
                ceiling = ""
                if peaks:
                    ceiling = f", copy {peaks['copy_gb_s']:.0f} GB/s, bf16 product {peaks['bf16_tflop_s']:.0f} TFLOP/s"
                software = f"torch {about['torch']}" + (f", driver {about['driver']}" if "driver" in about else "")
                sources.add(f"{about['date'][:10]}, commit {about['commit']}, {software}{ceiling}")
                own = rows[0]
                if own["provider"] != "chordfast":
                    raise ReportError(f"{op}, {case}, {mode} on {machine} has no row of chordfast; run it again")
                for row in rows:
                    error = "NaN" if row["error"] is None else f"{row['error']:.1e}"
                    cells = (
                        f"{case}, {mode}" if row is own else "",
                        row["provider"],
                        duration(row["seconds"]),
                        ratio(own, row),
                        rate(row, peaks),
                        error,
                        row["how"],
                    )
                    lines.append("| " + " | ".join(cells) + " |")
            lines += ["", *(f"Measured {source}." for source in sorted(sources)), ""]
    if not lines:
        return "Not run on a GPU.\n" if kind == "gpu" else "Not measured.\n"
    return "\n".join(lines[:-1]) + "\n"


def fill(text: str, runs: list[Run]) -> str:
    """The document with its tables replaced."""
    for kind in KINDS:
        opening, closing = f"<!-- results:{kind} -->\n", f"<!-- /results:{kind} -->"
        if text.count(opening) != 1 or text.count(closing) != 1 or text.index(opening) > text.index(closing):
            raise ReportError(
                f"the document needs the markers {opening.strip()} and {closing}, once each, in that order"
            )
        before, rest = text.split(opening)
        text = before + opening + "\n" + tables(runs, kind) + "\n" + closing + rest.split(closing)[1]
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description="tables of docs/performance.md from benchmarks/results")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    try:
        before = options.document.read_text()
        after = fill(before, read_runs(options.results))
    except (OSError, ReportError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    if options.check:
        if before != after:
            print(f"report: {options.document} is not up to date; run benchmarks/report.py", file=sys.stderr)
        return int(before != after)
    if before != after:
        options.document.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
