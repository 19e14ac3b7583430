"""Files: writes that are whole or absent, hashes, and the cache folder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import socket
import tempfile
import time
from pathlib import Path

_TEMPORARY = re.compile(r"\.chordfast-(?:([0-9a-f]{8})-(\d+)-)?\w+\.tmp")
_STALE = 86400.0  # seconds after which a temporary file of another machine is nobody's


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a part.

    A sibling temporary file is written, flushed to disk and renamed over ``path``; it is removed
    when anything fails. Text is encoded as UTF-8. Raises OSError as the file system does.
    """
    target = Path(path)
    payload = data.encode("utf-8") if isinstance(data, str) else data
    # A short name: prefixing the target's own would overrun NAME_MAX on very long names.
    prefix = f".chordfast-{_machine()}-{os.getpid()}-"
    handle, temporary = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(payload)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def sweep_temporaries(folder: str | os.PathLike[str]) -> int:
    """Delete what ``atomic_write`` left in a folder when its process was killed, and count it.

    Taken are temporary files of processes of this machine that no longer run, and any others after a day.
    """
    swept = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if (found := _TEMPORARY.fullmatch(entry.name)) and _abandoned(entry, found[1], found[2]):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
                    swept += 1
    return swept


def _abandoned(entry: os.DirEntry[str], machine: str | None, process: str | None) -> bool:
    if process is not None and machine == _machine():
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return False
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE
    except OSError:
        return False


@functools.cache
def _machine() -> str:
    """Eight digits that name where process numbers mean something: host, boot, and Linux's process namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def cache_dir() -> Path:
    """``$CHORDFAST_CACHE``, else ``$XDG_CACHE_HOME/chordfast``, else ``~/.cache/chordfast`` (not created)."""
    if own := os.environ.get("CHORDFAST_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chordfast"
