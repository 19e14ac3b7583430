"""``--pitch-shift``: versions of recordings that go into the store for training, each a job with a row of its own."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ..audio.pitch_shift import check_semitones, parse_semitones, require_stretch
from ..errors import UsageError
from ..store import base_and_shift, shifted_id
from .paths import Source


@dataclass(frozen=True)
class Shifting:
    """By which semitones recordings are shifted, and which ones: keys, with or without suffix; none: all of them."""

    semitones: tuple[int, ...] = ()
    songs: tuple[str, ...] = ()

    @classmethod
    def asked(
        cls, semitones: str | Iterable[int] | None, songs: Collection[str] | None, store: object
    ) -> Shifting:  # fmt: skip
        """What --pitch-shift and --shift-only ask for; UsageError on nonsense, without a store or python-stretch."""
        if semitones is None:
            if songs is not None:
                raise UsageError("--shift-only names songs to shift; give --pitch-shift too, as in --pitch-shift -5..6")
            return cls()
        found = parse_semitones(semitones) if isinstance(semitones, str) else check_semitones(semitones)
        if store is None:
            raise UsageError("--pitch-shift makes songs to train on; name the --store that they go into")
        require_stretch()  # now, not in every worker
        if songs is not None and not songs:
            raise UsageError("no song is named that shall be shifted; leave out --shift-only to shift all of them")
        return cls(found, tuple(sorted(songs or ())))

    def versions(self, sources: Sequence[Source]) -> list[Source]:
        """The sources, each followed by its shifted versions: one file is read by several workers at about one time."""
        if not self.semitones:
            return list(sources)
        wanted = set(self.songs)
        found: list[Source] = []
        for source in sources:
            found.append(source)
            if not wanted or not wanted.isdisjoint((source.key, os.path.splitext(source.key)[0])):
                found += (replace(source, key=shifted_id(source.key, n), semitones=n) for n in self.semitones)
        return found

    def check(self, sources: Sequence[Source]) -> None:
        """UsageError when a recording has the name of a version, or none of the songs that were named is there."""
        if not self.semitones:
            return
        for source in sources:
            if base_and_shift(source.key)[1]:
                raise UsageError(f"{source.path} has the name of a shifted version; rename it, or leave it out")
        if sources and len(self.versions(sources)) == len(sources):
            raise UsageError(f"none of the {len(self.songs)} songs to be shifted (say, {self.songs[0]!r}) is there")
