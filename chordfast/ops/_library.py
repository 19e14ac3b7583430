"""Registration of native calls as torch operators, so that ``torch.compile`` and ``opcheck`` know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("chordfast", "DEF")


def define(
    name: str,
    schema: str,
    *,
    cpu: Callable[..., Any],
    fake: Callable[..., Any],
    cuda: Callable[..., Any] | None = None,
) -> Any:
    """Define ``chordfast::name`` with implementations for CPU and CUDA tensors and one for shapes; the raw operator."""
    _LIBRARY.define(f"{name}{schema}", tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, cpu, "CPU")
    if cuda is not None:
        _LIBRARY.impl(name, cuda, "CUDA")
    torch.library.register_fake(f"chordfast::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.chordfast, name).default


def stream_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Device index of a CUDA tensor and the address of the stream now current there; asked for inside an operator's
    body, because torch.compile mistraces it as an argument."""
    index = tensor.get_device()
    raw = getattr(torch._C, "_cuda_getCurrentRawStream", None)  # absent from CPU builds
    return index, raw(index) if raw else torch.cuda.current_stream(index).cuda_stream
