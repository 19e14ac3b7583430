"""Compiler launcher: runs nvcc and moves what ptxas says of each kernel from the terminal into a log file.

Called by CMake as ``python ptxas_log.py FOLDER [ccache] nvcc arguments...``; FOLDER/<source name>.log is written anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PTXAS = re.compile(r"^ptxas info|^\s+\d+ bytes stack frame")


def main(folder: str, *command: str) -> int:
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    info = [line for line in run.stderr.splitlines(keepends=True) if PTXAS.match(line)]
    sys.stderr.writelines(line for line in run.stderr.splitlines(keepends=True) if not PTXAS.match(line))
    sources = [word for word in command if word.endswith(".cu")]
    if run.returncode == 0 and "-c" in command and sources:
        log = Path(folder, Path(sources[-1]).stem + ".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        part = log.with_name(f"{log.name}.{os.getpid()}")
        part.write_text("".join(info))
        part.replace(log)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
