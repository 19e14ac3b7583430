"""Registration of native calls as torch operators, so that ``torch.compile`` and ``opcheck`` know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("chordfast", "DEF")


def define(name: str, schema: str, *, cpu: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Define ``chordfast::name`` with an implementation for CPU tensors and one for shapes only; the raw operator."""
    _LIBRARY.define(f"{name}{schema}", tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, cpu, "CPU")
    torch.library.register_fake(f"chordfast::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.chordfast, name).default
