"""Reports of an evaluation as files in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import atomic_write
from .page import page


def write_report(report: Mapping[str, Any], folder: str | os.PathLike[str]) -> None:
    """Write ``Evaluation.as_dict()`` as ``report.json`` and ``report.html`` into a folder, which is made.

    Songs are linked to ``<song>.html`` below the folder where that exists. Raises UsageError when the folder is a file.
    """
    base = Path(folder)
    if base.exists() and not base.is_dir():
        raise UsageError(f"{base} is a file; name a folder for the report.")
    base.mkdir(parents=True, exist_ok=True)

    def song_page(song: str) -> str | None:
        return f"{song}.html" if song != "report" and (base / f"{song}.html").is_file() else None

    atomic_write(base / "report.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    atomic_write(base / "report.html", page(report, song_page))
