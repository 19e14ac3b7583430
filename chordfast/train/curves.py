"""Loss and accuracy over the epochs as one SVG picture, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP = 360, 220, 46, 26
_SERIES = (("train", "#2f6fb3"), ("val", "#d9822b"))
_STYLE = (
    "text{font:11px sans-serif;fill:#555}@media(prefers-color-scheme:dark){text{fill:#bbb}.f{stroke:#666}}"
    ".f{fill:none;stroke:#999}.l{fill:none;stroke-width:1.6}"
)


def curves(epochs: Sequence[dict[str, Any]]) -> str:
    """SVG of the epoch lines of a log: loss on the left, frame accuracy on the right, training and validation."""
    panels = [
        ("loss", [("loss", *_SERIES[0]), ("val_loss", *_SERIES[1])], None),
        ("frame accuracy", [("accuracy", *_SERIES[0]), ("val_accuracy", *_SERIES[1])], (0.0, 1.0)),
    ]
    parts = [f"<style>{_STYLE}</style>"]
    for i, (title, series, limits) in enumerate(panels):
        parts += _panel(title, series, limits, epochs, i * (_WIDTH + 20))
    width = 2 * _WIDTH + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}" '
        f'role="img" aria-label="Loss and accuracy over the epochs">{"".join(parts)}</svg>\n'
    )


def _panel(
    title: str,
    series: Sequence[tuple[str, str, str]],
    limits: tuple[float, float] | None,
    epochs: Sequence[dict[str, Any]],
    x0: float,
) -> list[str]:
    right, bottom = x0 + _WIDTH - 10, _HEIGHT - 28
    left = x0 + _LEFT
    points = {key: [(line["epoch"], line[key]) for line in epochs if line.get(key) is not None] for key, _, _ in series}
    values = [y for line in points.values() for _, y in line]
    low, high = limits or (min(values, default=0.0), max(values, default=1.0))
    high = high if high > low else low + 1.0
    last = max((x for line in points.values() for x, _ in line), default=1)
    span = max(1, last - 1)
    parts = [
        f'<rect class="f" x="{left}" y="{_TOP}" width="{right - left}" height="{bottom - _TOP}"/>',
        f'<text x="{left}" y="16">{escape(title)}</text>',
        f'<text x="{left - 5}" y="{_TOP + 9}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{left - 5}" y="{bottom}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{left}" y="{bottom + 16}">1</text>',
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">epoch {last}</text>',
    ]
    for i, (key, name, colour) in enumerate(series):
        placed = [
            f"{left + (x - 1) / span * (right - left):.1f},{bottom - (y - low) / (high - low) * (bottom - _TOP):.1f}"
            for x, y in points[key]
        ]
        if placed:
            parts.append(f'<polyline class="l" stroke="{colour}" points="{" ".join(placed)}"/>')
        parts.append(f'<text x="{right - 70 + 36 * i}" y="16" style="fill:{colour}">{escape(name)}</text>')
    return parts
