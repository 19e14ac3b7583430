"""Which files belong together: by their path below the folder, without the suffix."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .inputs import Issue

# In folders; a .txt there is more often a note than a label track.
REFERENCE_SUFFIXES = (".lab", ".jams", ".json", ".csv", ".svl")
ESTIMATE_SUFFIXES = (".json", ".jams", ".lab", ".csv", ".svl")
"""Of several files with one name the first suffix wins: references as people wrote them, estimates with confidence."""


@dataclass(frozen=True)
class Pair:
    """A song: its name (POSIX path without suffix), its reference, and one file per estimate."""

    name: str
    reference: Path
    estimates: tuple[Path, ...]


def walk(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files below a folder with one of the suffixes, in order; hidden files and folders are skipped."""
    found = []
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(base) / file
            for file in sorted(files)
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in suffixes
        ]
    return found


def find(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Name → annotation file of every song below a folder, sorted by name."""
    found: dict[str, tuple[int, Path]] = {}
    for path in walk(folder, suffixes):
        name = path.relative_to(folder).with_suffix("").as_posix()
        rank = suffixes.index(path.suffix.lower())
        if name not in found or rank < found[name][0]:
            found[name] = (rank, path)
    return {name: found[name][1] for name in sorted(found)}


def match(
    reference: str | os.PathLike[str],
    estimates: Sequence[str | os.PathLike[str]],
    part: set[str] | None = None,
) -> tuple[list[Pair], list[Issue]]:
    """Songs that have a reference and every estimate, and an issue for every file without a counterpart.

    reference: a file or a folder; estimates: likewise, each a file exactly where the reference is one, or a folder
    that is searched for the reference's name. part: names to keep, others are left out silently.

    Raises UsageError when a path does not exist or a file meets a folder of references.
    """
    ref, ests = Path(reference), [Path(path) for path in estimates]
    for path in (ref, *ests):
        if not path.exists():
            raise UsageError(f"There is no file or folder {path}; check the path.")
    if not ref.is_dir():
        return _match_file(ref, ests)
    for path in ests:
        if not path.is_dir():
            raise UsageError(f"{ref} is a folder and {path} is a file; give two files or two folders.")
    references = find(ref, REFERENCE_SUFFIXES)
    trees = [find(path, ESTIMATE_SUFFIXES) for path in ests]
    pairs, issues = [], []
    for name, path in references.items():
        if part is not None and name not in part:
            continue
        missing = [est for est, tree in zip(ests, trees, strict=True) if name not in tree]
        issues += [
            Issue("missing", str(path), "", f"there is no estimate {name} in {est}; not scored") for est in missing
        ]
        if not missing:
            pairs.append(Pair(name, path, tuple(tree[name] for tree in trees)))
    for tree in trees:
        for name, path in tree.items():
            if name not in references and path != ref and (part is None or name in part):
                issues.append(Issue("extra", str(path), "", f"there is no reference {name} in {ref}; not scored"))
    if part is not None:
        issues += [
            Issue("missing", str(ref), "", f"there is no reference for {name} of the split; not scored")
            for name in sorted(part - references.keys())
        ]
    return pairs, issues


def _match_file(ref: Path, ests: Sequence[Path]) -> tuple[list[Pair], list[Issue]]:
    found, issues = [], []
    for path in ests:
        hits = (
            {p.name: f for p, f in ((Path(n), f) for n, f in find(path, ESTIMATE_SUFFIXES).items())}
            if path.is_dir()
            else {}
        )
        if path.is_dir() and ref.stem not in hits:
            issues.append(Issue("missing", str(ref), "", f"there is no estimate {ref.stem} in {path}; not scored"))
        found.append(hits.get(ref.stem, path))
    return ([] if issues else [Pair(ref.stem, ref, tuple(found))]), issues


def read_split(path: str | os.PathLike[str], part: str | None) -> tuple[set[str], str]:
    """Names of the songs of one part of a split file, and the part's name: "test" where there is one, else "val".

    The file is JSON: {"train": [names], "val": [...], "test": [...]}; a name is a path without suffix, below the
    folder of references. Raises UsageError when it is not so, or has no such part.
    """
    name = os.fspath(path)
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or error}; check the path.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON ({error}); write the split again.") from None
    parts = {k: v for k, v in content.items() if isinstance(v, list)} if isinstance(content, dict) else {}
    chosen = part or next((p for p in ("test", "val") if p in parts), None)
    if chosen is None or chosen not in parts:
        known = ", ".join(parts) or "none"
        raise UsageError(f"{name} has no part {chosen or 'test or val'!r}; its parts are: {known}.")
    if not all(isinstance(song, str) for song in parts[chosen]):
        raise UsageError(f"The part {chosen!r} of {name} must be a list of song names.")
    return {song.removesuffix(".lab") for song in parts[chosen]}, chosen
