"""``run.json``: what the last start over an output folder was asked to do, so that --status needs only the folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import atomic_write

NAME = "run.json"


@dataclass(frozen=True)
class RunRecord:
    """One labelling command; all shards of a run write the same record."""

    inputs: list[str]  # absolute
    listed: list[str]  # absolute; files that came as a list
    root: str
    formats: list[str]
    identity: dict[str, str]  # model, model_hash, features_hash, options_hash
    num_shards: int = 0  # 0: not divided
    store: str = ""  # absolute folder
    store_hash: str = ""
    semitones: list[int] = field(default_factory=list)  # of the shifted versions
    shifted: list[str] = field(default_factory=list)  # songs that have them; none: all
    command: list[str] = field(default_factory=list)  # the words of the command line without --shard, where known

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Put the record into the output folder, unless it is there already; OSError as the file system does."""
        path = Path(folder) / NAME
        data = json.dumps(asdict(self), indent=1).encode("ascii") + b"\n"
        if not path.exists() or path.read_bytes() != data:
            atomic_write(path, data)


def read(folder: str | os.PathLike[str]) -> RunRecord:
    """The record of an output folder; UsageError when there is none, or a damaged one."""
    path = Path(folder) / NAME
    try:
        data: Any = json.loads(path.read_bytes())
        known = {f.name for f in fields(RunRecord)}
        record = RunRecord(**{name: value for name, value in data.items() if name in known})
        if any(type(getattr(record, f.name)).__name__ != str(f.type).partition("[")[0] for f in fields(RunRecord)):
            raise TypeError
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} holds no {NAME}: no labelling run has begun there; check -o") from None
    except (ValueError, TypeError, AttributeError):
        raise UsageError(f"{path} is damaged; start the labelling command again, it writes a new one") from None
    return record
