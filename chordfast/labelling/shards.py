"""Shards of a run: which part of the recordings one process of many takes, by a hash of each one's path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True)
class Shard:
    """Part ``index`` (from 0) of ``count``; each recording belongs to exactly one part."""

    index: int
    count: int

    @classmethod
    def asked(cls, count: int | None, index: int | None) -> Shard | None:
        """The shard of ``--num-shards count --shard index``; None when neither was given, UsageError on nonsense."""
        if count is None and index is None:
            return None
        if count is None or index is None:
            given, other = ("--num-shards", "--shard") if index is None else ("--shard", "--num-shards")
            raise UsageError(f"{given} needs {other} too: shard I of N is --num-shards N --shard I, I from 0 to N - 1")
        if count < 1:
            raise UsageError(f"--num-shards must be at least 1, not {count}")
        if not 0 <= index < count:
            raise UsageError(
                f"--shard {index} is not one of {count}: shards are counted from 0 to {count - 1}; "
                f"number the tasks of an array likewise (--array=0-{count - 1})"
            )
        return cls(index, count)

    @property
    def name(self) -> str:
        """``3-of-8``"""
        return f"{self.index}-of-{self.count}"

    def holds(self, key: str) -> bool:
        return shard_of(key, self.count) == self.index


def shard_of(key: str, count: int) -> int:
    """The shard of a recording: the first 8 bytes of SHA-256 of its key (UTF-8), big-endian, modulo ``count``.

    The key is the POSIX path below the inputs' common folder, so the answer is the same on every machine.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % count


def array_list(indices: Iterable[int]) -> str:
    """Task numbers as array launchers take them: ``3,7-9``."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
