"""Files: writes that are whole or absent, hashes, and the cache folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a part.

    A sibling temporary file is written, flushed to disk and renamed over ``path``; it is removed
    when anything fails. Text is encoded as UTF-8. Raises OSError as the file system does.
    """
    target = Path(path)
    payload = data.encode("utf-8") if isinstance(data, str) else data
    # A fixed short name: prefixing the target's own would overrun NAME_MAX on very long names.
    handle, temporary = tempfile.mkstemp(prefix=".chordfast-", suffix=".tmp", dir=target.parent)
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
