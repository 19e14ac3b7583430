"""Splits of the experiment in docs/results.md: stage1.json, stage2.json, half.json.

    python benchmarks/experiment_splits.py DATA [--real real] [-o DATA/splits]

DATA holds audio/labelled/SET/song.flac with song.lab beside it, audio/unlabelled/SET/song.flac, and recordings in
REAL. A twelfth of
the songs of each labelled set (four at least) validates stage 2; a third of those and 15 of REAL validate
stage 1. Whatever validates one stage trains neither. half.json has every other training song of stage 2.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

SUFFIXES = (".flac", ".wav", ".ogg", ".oga", ".opus", ".mp3")


def songs(data: Path, folder: str) -> list[str]:
    found = (path for path in (data / folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(str(path.relative_to(data)) for path in found)


def splits(data: Path, real_folder: str = "real", seed: int = 7) -> dict[str, dict[str, list[str]]]:
    """{name: {"train": [...], "val": [...]}} of the three files."""
    draw = random.Random(seed)
    sets: dict[str, list[str]] = {}
    for song in songs(data, "audio/labelled"):
        sets.setdefault(song.split("/")[2], []).append(song)
    train: list[str] = []
    val: list[str] = []
    for name in sorted(sets):
        draw.shuffle(sets[name])
        count = max(4, len(sets[name]) // 12)
        val += sets[name][:count]
        train += sets[name][count:]
    real = songs(data, real_folder)
    draw.shuffle(real)
    parts = {
        "stage1": (real[15:] + songs(data, "audio/unlabelled") + train, real[:15] + val[::3]),
        "stage2": (train, val),
        "half": (sorted(train)[::2], val),
    }
    return {name: {"train": sorted(a), "val": sorted(b)} for name, (a, b) in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--real", default="real", help="folder of unlabelled recordings in DATA")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    out = arguments.output or arguments.data / "splits"
    out.mkdir(parents=True, exist_ok=True)
    for name, parts in splits(arguments.data, arguments.real).items():
        (out / f"{name}.json").write_text(json.dumps(parts, indent=1) + "\n")
        print(f"{name}: {len(parts['train'])} train, {len(parts['val'])} validate")


if __name__ == "__main__":
    main()
