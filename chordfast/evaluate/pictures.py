"""The report's pictures: measures with intervals, qualities, confusion, calibration, songs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .svg import COLOURS, Picture

Report = Mapping[str, Any]


def _axis(picture: Picture, left: float, top: float, width: float, height: float) -> None:
    """Horizontal grid lines at 0, 20, … 100 %."""
    for percent in range(0, 101, 20):
        y = top + height * (1 - percent / 100)
        picture.line(left, y, left + width, y, "grid")
        picture.text(left - 6, y + 4, str(percent), "end", "small")


def bars(
    title: str,
    names: Sequence[str],
    series: Sequence[Sequence[float | None]],
    intervals: Sequence[Sequence[tuple[float, float] | None]] | None = None,
    notes: Sequence[str] | None = None,
    legend: Sequence[str] = (),
) -> Picture:
    """Groups of bars in percent of [0, 1]; series[k][i] belongs to names[i], None leaves a bar out."""
    slot = max(46.0, 24.0 * len(series) + 14, 6.5 * max(map(len, names), default=0) + 8)
    left, top, height = 42.0, 26.0, 200.0
    picture = Picture(left + slot * len(names) + 8, top + height + 58, title)
    _axis(picture, left, top, slot * len(names), height)
    bar = min(26.0, (slot - 12) / max(1, len(series)))
    for i, name in enumerate(names):
        x0 = left + slot * i + (slot - bar * len(series)) / 2
        for k, values in enumerate(series):
            value = values[i]
            if value is None:
                continue
            x, h = x0 + bar * k, height * value
            tip = f"{name}, {legend[k]}: {100 * value:.1f} %" if legend else f"{name}: {100 * value:.1f} %"
            picture.rect(x, top + height - h, bar - 2, h, f"c{k % COLOURS}", tip)
            span = intervals[k][i] if intervals else None
            tallest = value
            if span is not None:
                low, high = (top + height * (1 - v) for v in span)
                middle = x + bar / 2 - 1
                picture.line(middle, low, middle, high, "mark")
                picture.line(middle - 3, low, middle + 3, low, "mark")
                picture.line(middle - 3, high, middle + 3, high, "mark")
                tallest = max(value, span[1])
            if len(series) == 1 or bar >= 20:
                picture.text(x + bar / 2 - 1, top + height * (1 - tallest) - 4, f"{100 * value:.0f}", "middle", "small")
        middle = left + slot * (i + 0.5)
        picture.text(middle, top + height + 16, name, "middle", "small")
        if notes:
            picture.text(middle, top + height + 31, notes[i], "middle", "faint")
    if len(legend) > 1:
        x = left
        for k, name in enumerate(legend):
            picture.rect(x, top + height + 42, 10, 10, f"c{k % COLOURS}")
            picture.text(x + 14, top + height + 51, name, kind="small")
            x += 34 + 7 * len(name)
        picture.width = max(picture.width, x)
    return picture


def confusion(estimate: Report) -> Picture:
    """Rows: quality of the reference; columns: of the estimate; shade and number: percent of the row."""
    labels = estimate["quality"]["confusion"]["labels"]
    seconds = np.array(estimate["quality"]["confusion"]["seconds"])
    by_time = np.argsort(-seconds.sum(axis=1), kind="stable").tolist()
    order = [g for g in by_time if seconds[g].sum() + seconds[:, g].sum() > 0]
    size, left, top = 34.0, 118.0, 74.0
    picture = Picture(
        left + size * len(order) + 8, top + size * len(order) + 8, f"Confusion of qualities, {estimate['name']}"
    )
    total = seconds.sum()
    for r, a in enumerate(order):
        row = seconds[a].sum()
        y = top + size * r
        picture.text(left - 46, y + size / 2 + 4, labels[a], "end", "small")
        picture.text(left - 6, y + size / 2 + 4, f"{100 * row / total:.1f} %", "end", "faint")
        picture.text(left + size * (r + 0.5) + 4, top - 8, labels[a], "start", "small", turn=-60)
        for c, b in enumerate(order):
            share = seconds[a, b] / row if row else 0.0
            x = left + size * c
            tip = f"{labels[a]} taken for {labels[b]}: {100 * share:.1f} % ({seconds[a, b]:.0f} s)"
            picture.rect(x, y, size - 1, size - 1, "cell")
            picture.rect(x, y, size - 1, size - 1, "right" if a == b else "wrong", tip, shade=float(share) ** 0.6)
            if share >= 0.005:
                kind = "inverse" if share > 0.5 else "small"
                picture.text(x + size / 2 - 0.5, y + size / 2 + 4, f"{100 * share:.0f}", "middle", kind)
    return picture


def reliability(estimates: Sequence[Report]) -> Picture:
    """Accuracy over confidence, a line an estimate; a dot's area is its share of time, the diagonal is perfect."""
    left, top, size = 48.0, 14.0, 260.0
    picture = Picture(left + size + 190, top + size + 46, "Calibration of the confidence")
    _axis(picture, left, top, size, size)
    for percent in range(0, 101, 20):
        picture.text(left + size * percent / 100, top + size + 16, str(percent), "middle", "small")
    picture.text(left + size / 2, top + size + 36, "confidence, %", "middle", "small")
    picture.text(14, top + size / 2, "right, % of time", "middle", "small", turn=-90)
    picture.line(left, top + size, left + size, top, "ideal")
    shown = 0
    for k, estimate in enumerate(estimates):
        calibration = estimate["calibration"]
        if calibration is None:
            continue
        bins, total = calibration["bins"], sum(b["seconds"] for b in calibration["bins"])
        points = [(left + size * b["confidence"], top + size * (1 - b["accuracy"])) for b in bins]
        picture.path(points, f"curve s{k % COLOURS}")
        for (x, y), b in zip(points, bins, strict=True):
            tip = f"confidence {b['confidence']:.2f}, right {100 * b['accuracy']:.1f} %, {b['seconds']:.0f} s"
            picture.dot(x, y, 2 + 14 * (b["seconds"] / total) ** 0.5, f"c{k % COLOURS} see", tip)
        y = top + 18 + 40 * shown
        picture.rect(left + size + 18, y - 9, 10, 10, f"c{k % COLOURS}")
        picture.text(left + size + 34, y, estimate["name"], kind="small")
        picture.text(left + size + 34, y + 15, f"ECE {calibration['ece']:.3f}", kind="faint")
        shown += 1
    return picture


def songs(estimates: Sequence[Report], measure: str) -> Picture:
    """Every song's score, each estimate's songs in ascending order."""
    left, top, width, height = 42.0, 14.0, 520.0, 180.0
    picture = Picture(left + width + 10, top + height + 30, f"{measure} of every song")
    _axis(picture, left, top, width, height)
    for k, estimate in enumerate(estimates):
        values = sorted(row[measure] for row in estimate["per_song"])
        step = width / max(1, len(values) - 1)
        points = [(left + step * i, top + height * (1 - v)) for i, v in enumerate(values)]
        if len(points) == 1:
            picture.dot(*points[0], 4, f"c{k % COLOURS}")
        picture.path(points, f"curve s{k % COLOURS}")
        if len(estimates) > 1:
            y = top + height - 10 - 16 * (len(estimates) - 1 - k)
            picture.rect(left + width - 190, y - 9, 10, 10, f"c{k % COLOURS}")
            picture.text(left + width - 174, y, estimate["name"], kind="small")
    picture.text(left + width / 2, top + height + 22, "songs in ascending order", "middle", "small")
    return picture
