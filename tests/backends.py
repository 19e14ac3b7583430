"""One test body for several ways of running a kernel: ``cpu``, ``simt`` (the CUDA source on the host) and ``cuda``.

``@pytest.mark.parametrize("backend", backends.params())`` runs a test once for each; where the module ``_simt`` was not
built or no GPU is usable, the test is skipped with that reason. ``CHORDFAST_FAIL_WITHOUT_CUDA=1`` forbids the skipping.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest

NAMES = ("cpu", "simt", "cuda")
SCHEDULES = (("forward", 0), ("reverse", 0), ("shuffle", 1))


@cache
def why_no_simt() -> str:
    """Empty when ``chordfast._simt`` can be used."""
    try:
        from chordfast import _simt  # noqa: F401
    except ImportError as error:
        return f"chordfast._simt was not built (needs CUDA's headers): {error}"
    return ""


@cache
def why_no_cuda() -> str:
    """Empty when the kernels were built for CUDA and torch sees a GPU."""
    import torch

    from chordfast._native import native

    if not native().build_info()["with_cuda"]:
        return "chordfast._C was built without CUDA"
    return "" if torch.cuda.is_available() else "no usable GPU (torch.cuda.is_available() is false)"


def skipping_is_forbidden() -> bool:
    return os.environ.get("CHORDFAST_FAIL_WITHOUT_CUDA") == "1"


def needs_simt() -> pytest.MarkDecorator:
    """Mark for tests that use ``_simt`` directly."""
    return pytest.mark.skipif(bool(why_no_simt()) and not skipping_is_forbidden(), reason=why_no_simt() or "built")


def needs_cuda() -> list[pytest.MarkDecorator]:
    """Marks for tests of a GPU alone: ``pytestmark = needs_cuda()`` or inside ``pytest.param(..., marks=...)``."""
    skip = pytest.mark.skipif(bool(why_no_cuda()) and not skipping_is_forbidden(), reason=why_no_cuda() or "present")
    return [pytest.mark.cuda, skip]


def params(*names: str) -> list[Any]:
    """Backends (all by default) for ``parametrize``, each with its mark and its reason to be skipped."""
    marks: dict[str, Callable[[], Any]] = {"cpu": lambda: (), "simt": needs_simt, "cuda": needs_cuda}
    return [pytest.param(name, marks=marks[name]()) for name in names or NAMES]


def device(backend: str) -> str:
    """Where the test's tensors live: the host for cpu and simt."""
    return "cuda" if backend == "cuda" else "cpu"


def module(backend: str) -> ModuleType:
    """The native module that a launcher in ``chordfast/ops`` is given."""
    if backend == "simt":
        from chordfast import _simt

        return _simt
    from chordfast._native import native

    return native()


@contextmanager
def schedule(order: str, seed: int = 0) -> Iterator[None]:
    """Blocks and threads of ``_simt`` run in this order inside the ``with``."""
    simt = module("simt")
    before = simt.schedule()
    simt.set_schedule(order, seed)
    try:
        yield
    finally:
        simt.set_schedule(*before)


def bits(value: Any) -> list[bytes]:
    """The bytes of an array, a tensor, or nested tuples and lists of them (None counts as nothing)."""
    if value is None:
        return [b""]
    if isinstance(value, tuple | list):
        return [piece for item in value for piece in bits(item)]
    if hasattr(value, "detach"):
        import torch

        value = value.detach().cpu().reshape(-1).view(torch.uint8).numpy() if value.numel() else np.empty(0, np.uint8)
    return [np.ascontiguousarray(value).tobytes()]


def same_under_all_schedules(run: Callable[[], Any], schedules: Iterable[tuple[str, int]] = SCHEDULES) -> Any:
    """Result of ``run()``, which must have the same bits whatever the order of threads and blocks.

    A difference means a missing barrier, an atomic whose order matters, or memory that nobody wrote.
    """
    first: Any = None
    first_bits: list[bytes] | None = None
    for order, seed in schedules:
        with schedule(order, seed):
            result = run()
        found = bits(result)
        if first_bits is None:
            first, first_bits = result, found
        assert found == first_bits, f"the result depends on the order of threads: it differs under {order}:{seed}"
    return first
