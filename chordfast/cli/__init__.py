"""The command line: a click group that imports a command's module only when that command runs.

``chordfast --help`` therefore imports neither torch nor numpy. To add a command, write ``chordfast/cli/NAME.py``
with a click command called NAME (dashes become underscores) and add one line to ``COMMANDS``.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from chordfast import __version__
from chordfast.errors import ChordfastError, UsageError

# command -> (module that holds it, the line shown by --help)
COMMANDS = {
    "label": ("chordfast.cli.label", "Write the chords of recordings: files, folders, lists."),
    "train": ("chordfast.cli.train", "Train a student: stage 1, stage 2, from scratch."),
    "distill": ("chordfast.cli.distill", "From some labelled recordings to a student."),
    "evaluate": ("chordfast.cli.evaluate", "Score labels, or a model, against references."),
    "convert": ("chordfast.cli.convert", "Convert label files between formats and chord dialects."),
    "models": ("chordfast.cli.models", "List, fetch, convert and describe model weights."),
    "store": ("chordfast.cli.store", "Describe, check, export or seal a store."),
    "view": ("chordfast.cli.view", "Write a page to look at, listen to and correct labels."),
    "demo": ("chordfast.cli.demo", "Label the bundled recording and compare with the truth."),
    "slurm": ("chordfast.cli.slurm", "Write the job script of an array of shards."),
    "info": ("chordfast.cli.info", "Show versions, processor, CUDA, threads and the cache folder."),
}

INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


class LazyGroup(click.Group):
    """Group over ``COMMANDS`` that turns every expected failure into one line on stderr and an exit code.

    Exit codes: 2 for UsageError, 1 for any other ChordfastError or OSError, 130 after Ctrl-C, 141 when the
    reader of stdout went away. With ``CHORDFAST_DEBUG=1`` in the environment the exception is let through.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            _discard_stdout()
            code = BROKEN_PIPE
        except (ChordfastError, OSError) as error:
            if os.environ.get("CHORDFAST_DEBUG") == "1":
                raise
            click.echo(f"Error: {_one_line(error)}", err=True)
            code = 2 if isinstance(error, UsageError) else 1
        raise click.exceptions.Exit(code)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split())


def _discard_stdout() -> None:
    """Point stdout at the null device, so that the flush at exit does not fail a second time."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is closed, or is not a real file
        sys.stdout = None  # type: ignore[assignment]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chordfast")
def cli() -> None:
    """Chord labels for recordings, at the speed of the hardware."""


def main() -> None:
    """Entry point of the ``chordfast`` program; leaves with an exit code, never with a traceback of ours."""
    cli(prog_name="chordfast")
