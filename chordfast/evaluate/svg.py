"""Small pictures as inline SVG; all texts are escaped, all colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

COLOURS = 6
"""Series colours c0 … c5 the style sheet defines; later series start again."""


class Picture:
    """An SVG drawing of given size in pixels; y grows downwards."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self._parts: list[str] = []

    def rect(
        self, x: float, y: float, w: float, h: float, kind: str, tip: str = "", shade: float | None = None
    ) -> None:
        """A rectangle of CSS class ``kind``; ``tip`` shows under the mouse, ``shade`` in [0, 1] is its opacity."""
        opacity = "" if shade is None else f' fill-opacity="{shade:.3f}"'
        inner = f"<title>{escape(tip)}</title>" if tip else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{max(h, 0):.1f}" '
            f'class="{kind}"{opacity}>{inner}</rect>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line."""
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through points."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline points="{text}" class="{kind}"/>')

    def dot(self, x: float, y: float, radius: float, kind: str, tip: str = "") -> None:
        """A filled circle."""
        inner = f"<title>{escape(tip)}</title>" if tip else ""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{kind}">{inner}</circle>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "", turn: float = 0) -> None:
        """Text whose baseline passes (x, y); anchor start, middle or end; ``turn`` degrees clockwise."""
        turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{turned}>{escape(text)}</text>'
        )

    def __str__(self) -> str:
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" height="{self.height:g}" '
            f'role="img" aria-label="{escape(self.title, quote=True)}" xmlns="http://www.w3.org/2000/svg">'
            + "".join(self._parts)
            + "</svg>"
        )
