"""``chordfast slurm label``: the job script that labels a folder as an array of shards."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from chordfast.errors import UsageError

from .label import command_words, printable
from .label import label as label_command

MAX_ARRAY = 1001  # SLURM's default MaxArraySize
# What an array task decides, what only looks, and what would make a resubmitted task start over.
_LEFT_OUT = frozenset({"shard", "ask_status", "as_json", "dry_run", "verbose", "force", "fail_fast"})
_OWN = [
    click.Option(
        ["-c", "--cpus"], type=click.IntRange(min=1), default=4, show_default=True, metavar="N", help="CPUs a task."
    ),
    click.Option(["--mem"], default="16G", show_default=True, metavar="SIZE", help="Memory a task."),
    click.Option(["--time"], default="4:00:00", show_default=True, metavar="T", help="Limit a task; it is resumable."),
    click.Option(["--partition"], metavar="NAME", help="SLURM partition."),
    click.Option(["--account"], metavar="NAME", help="SLURM account."),
    click.Option(["--at-once"], type=click.IntRange(min=1), metavar="K", help="Run at most K tasks at a time."),
    click.Option(["--job-name"], default="chordfast", show_default=True, metavar="NAME", help="In squeue."),
    click.Option(
        ["--sbatch"], multiple=True, metavar="OPTION", help='More for sbatch: "--constraint=a100"; repeatable.'
    ),
    click.Option(["--setup"], multiple=True, metavar="LINE", help="Shell line before (module load cuda); repeatable."),
    click.Option(["--program"], metavar="WORDS", help="How to start chordfast (default: this Python)."),
    click.Option(["--srun"], is_flag=True, help="Start it with srun, as a job step."),
    click.Option(["--script"], metavar="FILE", help="Where to write the script (default: OUT/label.sbatch)."),
    click.Option(["--force"], is_flag=True, help="Overwrite a script that exists."),
]


@click.group()
def slurm() -> None:
    """Write job scripts for SLURM."""


def _label(**given: Any) -> None:
    """Write an sbatch file that labels INPUT... as an array of --num-shards tasks.

    Takes the options of "chordfast label" and some for SLURM. The tasks need no coordination: each writes its own
    manifest into OUT, which must be on a file system that all nodes see. A task that runs out of time or is killed
    goes on where it stopped when it is submitted again.
    """
    from chordfast.audio.pitch_shift import parse_semitones
    from chordfast.files import atomic_write
    from chordfast.labelling.paths import check_formats, collect, read_list
    from chordfast.labelling.status import SCRIPT

    ctx = click.get_current_context()
    count = given["num_shards"]
    if count is None or count < 1:
        raise UsageError("say with --num-shards how many tasks the array shall have; a few per node are a good number")
    if not given["inputs"]:
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])
    check_formats(given["formats"] or ("lab",))
    if given["pitch_shift"]:
        parse_semitones(given["pitch_shift"])
    out = Path(os.path.abspath(given["output"]))
    listed = read_list(sys.stdin.buffer.read()) if "-" in given["inputs"] else []
    sources, _ = collect([name for name in given["inputs"] if name != "-"], listed, given["root"])
    if not sources:
        raise UsageError("there is no recording below the inputs; check their names")
    script = Path(os.path.abspath(given["script"])) if given["script"] else out / SCRIPT
    if script.exists() and not given["force"]:
        raise UsageError(f"{script} exists; --force overwrites it, --script FILE writes another")
    logs = out / "logs"
    words = command_words(ctx, _LEFT_OUT | {option.name for option in _OWN})
    paths = b"\0".join(os.path.abspath(os.fsencode(path)) for path in listed) if listed else b""
    text = _script(given, words, out, logs, script.with_suffix(".list") if listed else None)
    logs.mkdir(parents=True, exist_ok=True)
    script.parent.mkdir(parents=True, exist_ok=True)
    if listed:
        atomic_write(script.with_suffix(".list"), paths)
    atomic_write(script, os.fsencode(text))
    click.echo(printable(f"sbatch {shlex.quote(str(script))}"))
    look = f"chordfast label --status -o {shlex.quote(str(out))}"
    click.echo(
        printable(f"submits {count} tasks for {len(sources)} recordings; {look} says how far they are"), err=True
    )
    if count > MAX_ARRAY:
        click.echo(f"many clusters take {MAX_ARRAY} tasks at most; see MaxArraySize in scontrol show config", err=True)


def _script(given: dict[str, Any], words: list[str], out: Path, logs: Path, listed: Path | None) -> str:
    """The text of the job's script."""
    at_once = f"%{given['at_once']}" if given["at_once"] else ""
    directives = [
        ("job-name", _word("--job-name", given["job_name"])),
        ("array", f"0-{given['num_shards'] - 1}{at_once}"),
        ("nodes", "1"),
        ("ntasks", "1"),
        ("cpus-per-task", str(given["cpus"])),
        ("mem", _matching("--mem", given["mem"], r"\d+[KMGT]?", "16G")),
        ("time", _matching("--time", given["time"], r"(\d+-)?\d+(:\d+){0,2}", "4:00:00 or 1-12")),
        ("partition", _word("--partition", given["partition"])),
        ("account", _word("--account", given["account"])),
        ("gres", f"gpu:{given['gpus']}" if given.get("gpus") else ""),
        ("output", _quoted(f"{str(logs).replace('%', '%%')}/%A_%a.log")),
        ("open-mode", "append"),
        ("signal", "B:TERM@120"),
    ]
    lines = ["#!/bin/bash", *(f"#SBATCH --{name}={value}" for name, value in directives if value), "#SBATCH --requeue"]
    for option in given["sbatch"]:
        if not re.fullmatch(r"--[a-z][^\n\r]*", option):
            raise UsageError(f"--sbatch takes one long option of sbatch, as in --sbatch=--qos=long, not {option!r}")
        lines.append(f"#SBATCH {option}")
    program = given["program"] or shlex.join([sys.executable, "-m", "chordfast"])
    threads = [f"--{name}={given['cpus']}" for name in ("jobs", "threads") if given[name] is None]
    run = ["srun " if given["srun"] else "", program, " ", shlex.join(["label", *threads, *words])]
    shard = ' --shard "$SLURM_ARRAY_TASK_ID"'
    lines += [
        "# Every task labels one shard. SIGTERM two minutes before the end lets it finish what it has begun;",
        "# sent again (sbatch --array=... with the list from chordfast label --status) it goes on from there.",
        "set -euo pipefail",
        *given["setup"],
        f"exec {''.join(run)}{shard}{f' < {shlex.quote(str(listed))}' if listed else ''}",
    ]
    return "\n".join(lines) + "\n"


def _word(name: str, value: str | None) -> str:
    if value is None:
        return ""
    return _matching(name, value, r"[\w.,@+:-]+", "a name without blanks")


def _matching(name: str, value: str, pattern: str, example: str) -> str:
    if not re.fullmatch(pattern, value):
        raise UsageError(f"{name} {value!r} is not what sbatch understands; give {example}")
    return value


def _quoted(path: str) -> str:
    """A path in a line that sbatch itself reads, which knows double quotes only."""
    if re.search(r'["\\\n\r]', path):
        raise UsageError(f"sbatch cannot write logs below {path!r}; choose a folder without quotes or line breaks")
    return f'"{path}"'


label = click.Command(
    "label",
    callback=_label,
    params=[*(p for p in label_command.params if p.name not in _LEFT_OUT), *_OWN],
    help=_label.__doc__,
)
slurm.add_command(label)
