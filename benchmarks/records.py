"""What a benchmark run leaves behind: one JSON file a run, which benchmarks/report.py turns into tables.

A row says: op, case (sizes and type), mode (forward, forward + backward), provider, seconds (median), error (largest,
against a reference in higher precision), error_limit, ok (error within the limit), how (what was timed), and where they
make sense bytes and flops (the least to be moved and computed) and audio_seconds (for a speed in times real time).
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from chordfast._native import native

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
Row = dict[str, Any]


def commit() -> str:
    """Short hash of the tree that was measured, with a plus sign if files differ from it; $CHORDFAST_COMMIT where there
    is no git."""
    try:
        text = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=9", "--exclude=*", "--dirty=+"]
        return subprocess.run(text, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("CHORDFAST_COMMIT", "unknown")


def processor() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def machine(device: str) -> dict[str, Any]:
    """The hardware and software that rows were measured on."""
    info = native().build_info()
    found: dict[str, Any] = {
        "kind": "gpu" if device == "cuda" else "cpu",
        "name": torch.cuda.get_device_name() if device == "cuda" else f"{processor()}, {info['simd']}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "compiler": info["compiler"],
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "threads": torch.get_num_threads(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": info["cuda_version"],
            "archs": info["cuda_archs"],
            "driver": driver(),
        }
    return found


def driver() -> str:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def row(op: str, case: str, mode: str, provider: str, seconds: float, error: float, limit: float, **more: Any) -> Row:
    """A measurement; an error that is NaN is beyond every limit."""
    return {
        "op": op,
        "case": case,
        "mode": mode,
        "provider": provider,
        "seconds": seconds,
        "error": None if math.isnan(error) else error,
        "error_limit": limit,
        "ok": bool(error <= limit),
        **more,
    }


def save(rows: list[Row], device: str, tag: str = "", folder: Path | None = None, **more: Any) -> Path:
    """Writes <folder>/<machine>/<date>-<commit>[-tag].json and says where."""
    about = machine(device)
    day, sha = about["date"][:10], about["commit"].replace("+", "-changed")
    name = "-".join(filter(None, (day, sha, tag))) + ".json"
    path = (folder or RESULTS) / slug(about["name"]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "machine": about, **more, "rows": rows}, indent=1) + "\n")
    return path


def save_if_asked(rows: list[Row], device: str, tag: str) -> None:
    """Keeps the rows of a bench_*.py run where $CHORDFAST_RESULTS names a folder."""
    if folder := os.environ.get("CHORDFAST_RESULTS"):
        print(f"written to {save(rows, device, tag, Path(folder))}")
