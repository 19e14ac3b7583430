"""Loads the native module once, and says what to do when it is not there."""

from __future__ import annotations

import os
from types import ModuleType

from .errors import ChordfastError

_module: ModuleType | None = None


def native() -> ModuleType:
    """The compiled module ``chordfast._C``; ChordfastError when it was never built."""
    global _module
    if _module is None:
        try:
            from . import _C
        except ImportError as error:
            raise ChordfastError(
                f"the native module chordfast._C cannot be loaded ({error}); build it with 'pip install -e .' "
                "in the source folder (a C++17 compiler is needed)"
            ) from error
        _module = _C
    return _module


def default_threads() -> int:
    """``$CHORDFAST_THREADS``, else the number of processors this process may run on."""
    if value := os.environ.get("CHORDFAST_THREADS"):
        if value.isdigit() and int(value) > 0:
            return int(value)
        raise ChordfastError(f"CHORDFAST_THREADS is {value!r}; set it to a positive whole number or unset it")
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
