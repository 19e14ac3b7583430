"""The evaluation as one self-contained HTML page: no scripts, nothing loaded, every text escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from .comparison import INVERSIONS, MEASURES, SCORES, SEGMENTATION
from .pictures import bars, confusion, reliability, songs
from .quality import GROUPS
from .svg import COLOURS
from .tables import folder_rows, span

WORST = 20
RANKED_BY = "majmin"
_SHOWN = ("root", "majmin", "sevenths", "tetrads", "mirex", "seg")
_ISSUES = 200

_STYLE = """
:root { color-scheme: light dark; --fg: #1d2430; --bg: #fff; --faint: #68707d; --grid: #d9dde3; --cell: #f1f3f6;
  --c0: #2f6db3; --c1: #d9822b; --c2: #4b9a5b; --c3: #b0476b; --c4: #7a64b8; --c5: #5b7480;
  --right: #2e8b57; --wrong: #c0504d; }
@media (prefers-color-scheme: dark) { :root { --fg: #e3e6ea; --bg: #16191e; --faint: #98a1ad;
  --grid: #363c45; --cell: #22272e; --c0: #6ba4e4; --c1: #eda35a; --c2: #74bf84; --c3: #dc7d9c; --c4: #a794de;
  --c5: #93abb6; --right: #4fb37c; --wrong: #d9776f; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--fg); background: var(--bg); margin: 2rem auto;
  padding: 0 1.2rem; max-width: 72rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; } h3 { font-size: .95rem; }
p, li { max-width: 60rem; } .faint, .note { color: var(--faint); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .18rem .7rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
td.low { color: var(--wrong); } .warn li { font-size: .88rem; overflow-wrap: anywhere; }
svg { font: 12px system-ui, sans-serif; max-width: none; } svg text { fill: var(--fg); }
svg .small { font-size: 11px; } svg .faint { font-size: 10px; fill: var(--faint); }
svg .inverse { font-size: 11px; fill: var(--bg); }
svg .grid { stroke: var(--grid); } svg .mark { stroke: var(--fg); stroke-width: 1.3; } svg .cell { fill: var(--cell); }
svg .ideal { stroke: var(--faint); stroke-dasharray: 4 4; } svg .curve { fill: none; stroke-width: 2; }
svg .right { fill: var(--right); } svg .wrong { fill: var(--wrong); } svg .see { fill-opacity: .75; }
""" + "".join(f"svg .c{k} {{ fill: var(--c{k}); }} svg .s{k} {{ stroke: var(--c{k}); }}\n" for k in range(COLOURS))


def page(report: Mapping[str, Any], song_page: Callable[[str], str | None] = lambda song: None) -> str:
    """HTML of ``Evaluation.as_dict()``; ``song_page`` gives the relative address of a song's own page, or None."""
    estimates = report["estimates"]
    title = "Evaluation: " + ", ".join(e["name"] for e in estimates)
    parts = [
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>",
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p class='faint'>{report['songs']} songs, {report['seconds'] / 3600:.2f} hours of reference in "
        f"{escape(report['reference'])} &middot; chordfast {escape(report['chordfast'])}</p>",
        *(f"<p class='note'>{escape(note)}</p>" for note in report["notes"]),
        _scores(report),
        _folders(estimates),
        _quality(estimates),
        _calibration(estimates),
        _songs(estimates, song_page),
        *_chordmini(estimates),
        _issues(report["issues"]),
        "</body></html>\n",
    ]
    return "".join(parts)


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML already."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _scores(report: Mapping[str, Any]) -> str:
    estimates = report["estimates"]
    names = [e["name"] for e in estimates]

    def picture(title: str, measures: Sequence[str]) -> str:
        values = [[e["corpus"][m]["mean"] for m in measures] for e in estimates]
        spans = [
            [None if (c := e["corpus"][m])["low"] is None else (c["low"], c["high"]) for m in measures]
            for e in estimates
        ]
        legend = [n if len(n) < 40 else n[:39] + "…" for n in names]
        return f"<div class='scroll'>{bars(title, measures, values, spans, legend=legend)}</div>"

    level = f"{100 * report['bootstrap']['level']:.0f} %"
    head = ["measure", *(f"{n} [{level}]" for n in names)]
    for comparison in report["comparisons"]:
        head += [f"{comparison['b']} − {comparison['a']} [{level}]", "p"]

    def row(measure: str) -> list[str]:
        cells = [measure]
        for e in estimates:
            c = e["corpus"][measure]
            cells.append(f"<b>{_percent(c['mean'])}</b><span class='faint'>{span(c, '.1f')}</span>")
        for comparison in report["comparisons"]:
            d = comparison["measures"][measure]
            cells.append(f"<b>{100 * d['difference']:+.1f}</b><span class='faint'>{span(d, '+.1f')}</span>")
            cells.append(f"{d['p']:.4f}")
        return cells

    tested = "; p: permutation test that flips the sign of songs' differences" if report["comparisons"] else ""
    return (
        "<h2>Scores</h2>"
        + picture("Scores", SCORES)
        + picture("With inversions, and segmentation", (*INVERSIONS, *SEGMENTATION))
        + _table(head, map(row, MEASURES))
        + "<p class='faint'>mir_eval's measures on the original labels, in percent, songs weighted by length; "
        f"intervals: {report['bootstrap']['resamples']} bootstrap resamples of songs, "
        f"seed {report['bootstrap']['seed']}{tested}.</p>"
    )


def _folders(estimates: Sequence[Mapping[str, Any]]) -> str:
    out = []
    for e in estimates:
        head, rows = folder_rows(e)
        which = f"<h3>{escape(e['name'])}</h3>" if len(estimates) > 1 else ""
        out += [which + _table(head, (map(escape, row) for row in rows))] if rows else []
    return "<h2>Folders</h2>" + "".join(out) if out else ""


def _quality(estimates: Sequence[Mapping[str, Any]]) -> str:
    present = estimates[0]["quality"]["groups"]
    order = sorted((g for g in GROUPS if g in present), key=lambda g: -present[g]["seconds"])
    total = sum(group["seconds"] for group in present.values()) or 1.0
    shares = [f"{100 * present[g]['seconds'] / total:.1f} %" for g in order]
    out = ["<h2>Qualities</h2>"]
    for name, key, acqa in (
        ("Quality and root right", "accuracy_with_root", "acqa_with_root"),
        ("Quality right, whatever the root", "accuracy", "acqa"),
    ):
        values = [[e["quality"]["groups"][g][key] for g in order] for e in estimates]
        means = ", ".join(f"{escape(e['name'])} {_percent(e['quality'][acqa])} %" for e in estimates)
        drawn = bars(name, order, values, notes=shares, legend=[e["name"] for e in estimates])
        out.append(f"<h3>{name}; mean over qualities (ACQA): {means}</h3><div class='scroll'>{drawn}</div>")
    out.append("<h3>Confusion: rows are the reference, in percent of the row</h3>")
    for e in estimates:
        caption = f"<p>{escape(e['name'])}</p>" if len(estimates) > 1 else ""
        out.append(f"{caption}<div class='scroll'>{confusion(e)}</div>")
    return "".join(out)


def _calibration(estimates: Sequence[Mapping[str, Any]]) -> str:
    if all(e["calibration"] is None for e in estimates):
        return ""
    return f"<h2>Calibration of the confidence</h2><div class='scroll'>{reliability(estimates)}</div>"


def _songs(estimates: Sequence[Mapping[str, Any]], song_page: Callable[[str], str | None]) -> str:
    def named(song: str) -> str:
        address = song_page(song)
        # "./" keeps a name with a colon from being read as a scheme.
        return (
            escape(song) if address is None else f"<a href='./{escape(quote(address), quote=True)}'>{escape(song)}</a>"
        )

    out = [f"<h2>Songs</h2><h3>{RANKED_BY}</h3><div class='scroll'>{songs(estimates, RANKED_BY)}</div>"]
    for e in estimates:
        worst = sorted(e["per_song"], key=lambda row: row[RANKED_BY])[:WORST]
        rows = (
            [named(row["song"]), f"{row['seconds'] / 60:.1f}", *(_percent(row[m]) for m in _SHOWN)] for row in worst
        )
        which = f" of {escape(e['name'])}" if len(estimates) > 1 else ""
        out.append(f"<h3>Worst songs{which}</h3>" + _table(["song", "minutes", *_SHOWN], rows))
    return "".join(out)


def _chordmini(estimates: Sequence[Mapping[str, Any]]) -> list[str]:
    counted = [e for e in estimates if e["chordmini"] is not None]
    if not counted:
        return []
    names = list(counted[0]["chordmini"]["average"])
    rows = [[m, *(_percent(e["chordmini"]["average"][m]) for e in counted)] for m in names]
    rows.append(["ACQA", *(_percent(e["chordmini"]["quality"]["acqa"]) for e in counted)])
    rows.append(["frame accuracy", *(_percent(e["chordmini"]["frames"]["accuracy"]) for e in counted)])
    return [
        "<h2>As ChordMini's evaluation counts</h2>",
        "<p class='faint'>References reduced to 170 labels, X scored as N, one label a frame, qualities without root; "
        "comparable with that paper's tables, not with the scores above.</p>",
        _table(["measure", *(e["name"] for e in counted)], rows),
    ]


def _issues(issues: Sequence[Mapping[str, str]]) -> str:
    if not issues:
        return "<h2>Input</h2><p>Nothing was wrong with the files.</p>"
    rows = "".join(
        f"<li>{escape(i['path'])}{', ' if i['place'] else ''}{escape(i['place'])}: {escape(i['text'])}</li>"
        for i in issues[:_ISSUES]
    )
    more = f"<p>{len(issues) - _ISSUES} more are in report.json.</p>" if len(issues) > _ISSUES else ""
    return f"<h2>Input: {len(issues)} warnings</h2><ul class='warn'>{rows}</ul>{more}"
