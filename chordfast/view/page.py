"""From templates and data to one HTML file that loads nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import ChordfastError
from ..files import atomic_write

_PLACE = re.compile(r"\{\{(\w+)\}\}")


@cache
def asset(name: str) -> str:
    """Text of a file in ``chordfast/view/assets``."""
    return (resources.files(__package__) / "assets" / name).read_text("utf-8")


def build(
    template: str, title: str, data: Any, scripts: tuple[str, ...], styles: tuple[str, ...], **blocks: str
) -> str:
    """The page: ``template`` with the escaped title, styles, scripts, data and ``blocks`` (HTML) in their places.

    The Content-Security-Policy allows the page's own style and script (by their SHA-256), pictures that are in the
    page, and audio that is in the page or beside it; nothing else is loaded or sent.
    """
    script, style = ("\n".join(map(asset, names)) for names in (scripts, styles))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "media-src 'self' file: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    values = {
        "title": html.escape(title),
        "policy": html.escape(policy),
        "script": script,
        "style": style,
        "data": data_block(data),
        **blocks,
    }
    return _PLACE.sub(lambda place: values[place[1]], asset(template))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def data_block(data: Any) -> str:
    """JSON that can stand inside a script element whatever texts it holds; NaN must have become None before."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def shown_name(path: str | os.PathLike[str]) -> str:
    """A file's name for people: bytes that are no text become question marks."""
    return printable(Path(path).name or os.fspath(path))


def printable(text: str) -> str:
    """Text without lone surrogates, which stand for bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def relative_url(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """The URL of ``path`` as seen from a page in ``folder``."""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    url = quote(os.fsencode(relative.replace(os.sep, "/")))
    return url if url.startswith((".", "/")) else f"./{url}"  # a colon in the first part is no scheme


def number(value: float | None, digits: int = 3) -> float | None:
    """``value`` rounded; None when it is not a finite number."""
    return round(float(value), digits) if value is not None and math.isfinite(value) else None


def save(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page whole or not at all; ChordfastError when that fails."""
    try:
        atomic_write(path, page)
    except OSError as error:
        folder = Path(path).parent
        reason = "the folder does not exist; create it" if not folder.exists() else f"{error.strerror}"
        raise ChordfastError(f"cannot write {os.fspath(path)}: {reason}") from error
