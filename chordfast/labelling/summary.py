"""What a run did: counts, speed, where the time went, and the exit code that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ChordfastError
from .manifest import OUTCOMES, Row
from .paths import Source
from .use import Use

STAGES = ("hash", "decode", "ingest", "shift", "cqt", "ring", "model", "labels", "store", "books")
STAGE_WORDS = {
    "hash": "hash of the files",
    "decode": "audio decoding",
    "ingest": "mix-down and resampling",
    "shift": "pitch shifting",
    "cqt": "constant-Q transform",
    "ring": "handing over",
    "model": "model",
    "labels": "chord decoding and writing",
    "store": "store",
    "books": "scheduling and books",
    "rest": "rest",
}


STARVED = 0.1  # share of the time that devices may be idle without a word about it


@dataclass(frozen=True)
class Job:
    """A recording to label: where it lies, its label files by format, and why it is to be done (again)."""

    source: Source
    outputs: dict[str, str]
    reason: str


@dataclass
class Summary:
    """Counts over all inputs (``outcomes``, earlier runs included) and the measurements of this run.

    labelled, audio (s), wall (s), cpu (CPU seconds by stage) and cpu_total belong to this run; skipped is what earlier
    runs had done; planned is everything this run was to do, in order. shifted: how many are pitch-shifted versions.
    """

    planned: Sequence[Job] = ()
    skipped: int = 0
    kept: list[Row] = field(default_factory=list)
    refreshed: list[Row] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Row] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    labelled: int = 0
    shifted: int = 0
    bytes: int = 0
    audio: float = 0.0
    wall: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    cpu_total: float = 0.0
    stopped_early: bool = False
    devices: list[Use] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count a row of this run."""
        self._count(row)
        self.labelled += 1
        self.bytes += row.size
        self.audio += row.seconds
        for name, value in row.cpu.items():
            self.cpu[name] = self.cpu.get(name, 0.0) + value

    def keep(self, row: Row) -> None:
        """Count a row of an earlier run that stays as it is."""
        self._count(row)
        self.skipped += 1
        self.kept.append(row)

    def _count(self, row: Row) -> None:
        self.outcomes[row.outcome] += 1
        self.shifted += row.semitones != 0
        if row.failed:
            self.failures.append(row)

    @property
    def exit_code(self) -> int:
        """0: every input has its labels; 1: some failed, now or in an earlier run, or were not reached or found."""
        return 1 if self.failures or self.stopped_early or self.troubles else 0

    @property
    def speed(self) -> float:
        """Seconds of audio per second of wall clock."""
        return self.audio / self.wall if self.wall else 0.0

    @property
    def speed_per_core(self) -> float:
        """Seconds of audio per CPU second of all processes together."""
        return self.audio / self.cpu_total if self.cpu_total else 0.0

    def shares(self) -> dict[str, float]:
        """Part of the CPU seconds that each stage of this run took, "rest" included; sums to 1."""
        named = {name: self.cpu[name] for name in STAGES if self.cpu.get(name)}
        total = max(self.cpu_total, sum(named.values()))
        if not total:
            return {}
        return {**{name: value / total for name, value in named.items()}, "rest": 1 - sum(named.values()) / total}

    @property
    def starved(self) -> str:
        """A sentence where devices waited for decoding for more than a tenth of the time, else ""."""
        waiting = [use for use in self.devices if use.name != "cpu"]
        fed = 1 - sum(use.idle for use in waiting) / max(1, len(waiting))
        if not waiting or fed > 1 - STARVED:
            return ""
        return f"decoding feeds {fed:.0%} of what the devices could take; add cores or fewer --gpus"

    def lines(self, profile: bool = False) -> list[str]:
        """The closing report, one sentence a line; with ``profile`` the CPU seconds of every stage."""
        counts = ", ".join(f"{self.outcomes[name]} {name}" for name in OUTCOMES if self.outcomes[name]) or "no files"
        parts = [(self.shifted, "pitch-shifted"), (self.skipped, "from earlier runs")]
        words = ", ".join(f"{count} {what}" for count, what in parts if count)
        text = [f"warning   {trouble}" for trouble in self.troubles]
        text.append(f"outcomes  {counts}" + (f" ({words})" if words else ""))
        if self.labelled:
            text.append(
                f"speed     {self.audio / 3600:.2f} h of audio in {span(self.wall)}: {self.speed:.0f} x real time, "
                f"{self.speed_per_core:.0f} x per core"
            )
        for use in self.devices:
            if use.name != "cpu" and self.labelled:
                text.append(
                    f"device    {use.name}: {use.files} files, {use.audio / 3600:.2f} h, {use.speed:.0f} x real time, "
                    f"idle {use.idle:.0%}"
                )
        if self.labelled and self.starved:
            text.append(f"devices   {self.starved}")
        if shares := self.shares():
            if profile:
                for name, share in shares.items():
                    text.append(f"cpu       {share * self.cpu_total:9.2f} s  {share:6.1%}  {STAGE_WORDS[name]}")
            else:
                text.append("cpu       " + ", ".join(f"{STAGE_WORDS[n]} {share:.0%}" for n, share in shares.items()))
        return text


class LabellingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a run in order: what was finished is in the manifest, nothing is half-written."""

    def __init__(self, signum: int, summary: Summary) -> None:
        super().__init__(signum)
        self.signum = signum
        self.summary = summary


class OutputError(ChordfastError):
    """Labels or the manifest cannot be written; what was written before is whole and counts at the next start."""


def span(seconds: float) -> str:
    """A duration for people: "42 s", "3 min 05 s", "2 h 10 min"."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
