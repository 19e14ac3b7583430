"""How far a labelled folder is: done, failed, missing, shard by shard, and what to start again."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import manifest, record
from .finishing import Identity
from .manifest import OUTCOMES, Row
from .paths import collect, output_names
from .planning import Planner
from .record import RunRecord
from .shards import Shard, array_list, shard_of
from .shifting import Shifting
from .storing import stored_songs
from .summary import Job

SCRIPT = "label.sbatch"  # where `chordfast slurm label` puts the job's script


@dataclass
class Part:
    """One shard, or the whole folder: number of recordings, hours of audio of those with labels; shifted: how many of
    those that are done are pitch-shifted versions, which only the store has."""

    shard: int | None = None
    done: int = 0
    failed: int = 0
    missing: int = 0
    hours: float = 0.0
    shifted: int = 0
    running: bool | None = False  # None: the file system cannot tell

    def add(self, row: Row | None) -> None:
        """Count a recording by the row that settles it, None where there is none."""
        if row is None:
            self.missing += 1
        elif row.failed:
            self.failed += 1
        else:
            self.done += 1
            self.shifted += row.semitones != 0
            self.hours += row.seconds / 3600


@dataclass
class Status:
    """What `status` found: ``whole`` counts all recordings, ``parts`` those of each shard (none without shards).

    missing: recordings that no row settles, with the reason in words; outcomes: of the others; troubles: what could
    not be looked at.
    """

    out: Path
    record: RunRecord
    whole: Part
    parts: list[Part]
    outcomes: Counter[str] = field(default_factory=Counter)
    missing: list[Job] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every recording that could be found has been dealt with; some may have failed."""
        return not self.missing and not self.troubles

    @property
    def exit_code(self) -> int:
        """0: every recording has its labels; 1: not yet, or not all."""
        return 0 if self.complete and not self.whole.failed else 1

    @property
    def array(self) -> str:
        """Shards with missing recordings on which nobody works now, as an array list (``3,7-9``)."""
        return array_list(part.shard for part in self.parts if part.missing and not part.running)  # type: ignore[misc]

    @property
    def retry_array(self) -> str:
        """Shards with failed recordings, likewise; they need --retry-failed."""
        return array_list(part.shard for part in self.parts if part.failed and not part.running)  # type: ignore[misc]

    def command(self, *more: str) -> str:
        """The line for a shell that goes on with the work; "" where the run was not started from one."""
        if not self.record.command:
            return ""
        line = shlex.join(["chordfast", "label", *self.record.command, *more])
        return f'{line} --shard "$SLURM_ARRAY_TASK_ID"' if self.parts else line

    def lines(self, verbose: bool = False) -> list[str]:
        """The report, a sentence a line; ``verbose`` names every missing recording and every shard."""
        whole = self.whole
        words = ", ".join(f"{self.outcomes[name]} {name}" for name in OUTCOMES if self.outcomes[name])
        text = [f"warning   {trouble}" for trouble in self.troubles]
        versions = f"{whole.shifted} of them pitch-shifted, " if whole.shifted else ""
        text.append(f"done      {whole.done} files, {versions}{whole.hours:.2f} h of audio")
        text.append(f"failed    {whole.failed}" + (f" ({words})" if whole.failed else ""))
        text.append(f"missing   {whole.missing}")
        if verbose:
            text += [f"          {job.source.key}: {job.reason}" for job in self.missing]
        if self.parts:
            text += self._table(verbose)
        elif whole.running:
            text.append("running   now")
        return text + [f"{head:<10}{line}" for head, line in self._advice()]

    def _table(self, verbose: bool) -> list[str]:
        shown = [part for part in self.parts if verbose or part.missing or part.failed or part.running]
        finished = sum(not part.missing for part in self.parts)
        text = [f"shards    {finished} of {len(self.parts)} have nothing missing"]
        if shown:
            text.append("          shard      done    failed   missing     hours")
        for part in shown:
            row = f"{part.shard:>15}{part.done:>10}{part.failed:>10}{part.missing:>10}{part.hours:>10.2f}"
            text.append(row + ("  running" if part.running else ""))
        return text

    def _advice(self) -> list[tuple[str, str]]:
        text = []
        if self.missing and (self.array if self.parts else not self.whole.running):
            text.append(
                ("resubmit", f"--array={self.array}") if self.parts else ("continue", "start the command again")
            )
            text += [("", self.command()), ("", self._batch(self.array))]
        elif self.missing:
            text.append(("wait", "the missing files are being worked on"))
        if self.whole.failed and (self.retry_array if self.parts else not self.whole.running):
            text.append(("retry", f"what failed: --array={self.retry_array}" if self.parts else "what failed"))
            text.append(("", self.command("--retry-failed")))
        return [(head, line) for head, line in text if line]

    def _batch(self, array: str) -> str:
        script = self.out / SCRIPT
        return shlex.join(["sbatch", f"--array={array}", str(script)]) if self.parts and script.exists() else ""

    def to_json(self, verbose: bool = False) -> dict[str, Any]:
        """The same for programs; ``verbose`` adds ``missing_files`` with the reasons."""
        found: dict[str, Any] = {
            **{name: value for name, value in asdict(self.whole).items() if name != "shard"},
            "complete": self.complete,
            "outcomes": dict(self.outcomes),
            "num_shards": self.record.num_shards,
            "shards": [asdict(part) for part in self.parts],
            "array": self.array,
            "retry_array": self.retry_array,
            "command": self.command(),
            "troubles": self.troubles,
        }
        if verbose:
            found["missing_files"] = [{"path": job.source.key, "reason": job.reason} for job in self.missing]
        return found


def status(
    out: str | os.PathLike[str], inputs: Sequence[str | os.PathLike[str]] = (), listed: Iterable[Path] = ()
) -> Status:
    """Compare the recordings that the last run's inputs hold now with the rows in all manifests of ``out``.

    A recording is missing when the same command would label it (`Planner`): new, changed, labels gone. ``inputs`` and
    ``listed`` look at these only; they must lie below the run's root folder. Nothing is written, no model is loaded,
    and runs may go on meanwhile. UsageError when no run has begun in ``out``, or an input does not exist.
    """
    out = Path(out)
    known = record.read(out)
    gone = [name for name in known.inputs if not os.path.lexists(name)]
    troubles = [f"{name} is no longer there; the run began with it" for name in gone]
    named = [name for name in known.inputs if name not in gone]
    files = [Path(name) for name in known.listed]
    sources, more = collect(named, files, known.root) if named or files else ([], [])
    everything = {source.key: source for source in sources}
    listed = list(listed)
    if inputs or listed:
        sources, more = collect(inputs, listed, known.root)
        troubles = []
    everything.update((source.key, source) for source in sources)
    names = output_names(sorted(everything), known.formats, taken=(record.NAME,))
    sources = Shifting(tuple(known.semitones), tuple(known.shifted)).versions(sources)
    stored = stored_songs(known.store, known.store_hash) if known.store else None
    planner = Planner(manifest.read_all(out), Identity(**known.identity), out, store=known.store_hash, stored=stored)
    summary = planner.summary(sources, names)
    count = known.num_shards
    books = manifest.files(out)
    whole = Part(running=manifest.held(books[""]) if "" in books else False)
    parts = [Part(index) for index in range(count)]
    for part in parts:
        name = Shard(part.shard or 0, count).name
        part.running = manifest.held(books[name]) if name in books else False
    whole.running = whole.running or any(part.running for part in parts)
    recordings = {source.key: source.recording for source in sources}
    found: list[tuple[str, Row | None]] = [(row.path, row) for row in summary.kept]
    for key, row in [*found, *((job.source.key, None) for job in summary.planned)]:
        whole.add(row)
        if parts:
            parts[shard_of(recordings[key], count)].add(row)
    return Status(out, known, whole, parts, summary.outcomes, list(summary.planned), [*troubles, *more])
