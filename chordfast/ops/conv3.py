"""Convolution over time, three frames wide, for inference on the CPU: half the multiplications, bias and ReLU included.

``chordfast::_conv3`` is the raw operator (csrc/conv3); ``conv3`` checks, and takes torch's convolution where the kernel
does not serve.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._native import native
from ..errors import UsageError
from ._library import define

FEW = 256  # frames a thread should have at least


def conv3(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False, direct: bool = False) -> Tensor:
    """y[b, t] = bias + Σ_i weight[:, :, i] x[b, t + i − 1], i = 0 … 2, with zeros outside [0, T); ReLU on request.

    Args:
        x: [B, T, C] floating point, any strides.
        weight: [O, C, 3] of x's dtype, as ``torch.nn.Conv1d`` keeps it.
        bias: [O], or None.
        relu: negative results become 0.
        direct: torch's convolution always, which rounds as the definition does.

    Returns [B, T, O]. float32 on the CPU with C and O multiples of 16, where no gradient is asked for and autocast is
    off, runs Winograd's F(4, 3) (Lavin and Gray, CVPR 2016): six products for four frames instead of twelve, exact but
    for rounding, of some 7e-7 of the standard deviation of y instead of 2e-7. Its bits depend on nothing but the
    window and the SIMD level; an infinity or NaN in a frame reaches the results of up to five frames on both sides.
    Everything else runs torch's convolution.

    Raises UsageError for shapes, types or devices that do not fit; one sentence.
    """
    _check(x, weight, bias)
    needs_gradient = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    if (
        not (needs_gradient or direct)
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.shape[2] % 16 == 0
        and weight.shape[0] % 16 == 0
        and not torch.is_autocast_enabled("cpu")
    ):
        return _conv3(x, weight, bias, relu)
    y = _torch(x, weight, bias)
    return F.relu(y) if relu else y


def _torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if x.device.type != "cpu":
        return F.conv1d(x.transpose(1, 2), weight, bias, padding=1).transpose(1, 2)
    # As a picture of one line, which torch computes with the channels last: nothing is transposed in memory.
    line = x[:, None].permute(0, 3, 1, 2)
    return F.conv2d(line, weight[:, :, None], bias, padding=(0, 1)).permute(0, 2, 3, 1)[:, 0]


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    for name, t in (("x", x), ("weight", weight), ("bias", weight if bias is None else bias)):
        if not isinstance(t, Tensor):
            raise UsageError(f"conv3: {name} is {type(t).__name__}; give a torch tensor")
    shapes = f"x {list(x.shape)}, weight {list(weight.shape)}"
    if x.ndim != 3 or weight.ndim != 3 or weight.shape[2] != 3 or weight.shape[1] != x.shape[2]:
        raise UsageError(f"conv3: {shapes}; give x [B, T, C] and weight [O, C, 3]")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise UsageError(f"conv3: bias {list(bias.shape)} for weight {list(weight.shape)}; give one number an output")
    tensors = [x, weight] if bias is None else [x, weight, bias]
    if not x.is_floating_point() or len({(t.dtype, t.device) for t in tensors}) > 1:
        kinds = ", ".join(f"{t.dtype} on {t.device}" for t in tensors)
        if not torch.is_autocast_enabled(x.device.type) or len({t.device for t in tensors}) > 1:
            raise UsageError(f"conv3: x, weight and bias are {kinds}; give one floating-point type on one device")


def _cpu(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    x, weight, bias = x.contiguous(), weight.contiguous(), None if bias is None else bias.contiguous()
    out = _fake(x, weight, bias, relu)
    if out.numel():
        windows, frames, inputs = x.shape
        threads = max(1, min(torch.get_num_threads(), windows * frames // FEW))
        places = (x.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr(), out.data_ptr())
        native().conv3_cpu(places, (windows, frames, inputs, weight.shape[0]), relu, threads)
    return out


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1], weight.shape[0]))


_conv3 = define("_conv3", "(Tensor x, Tensor weight, Tensor? bias, bool relu) -> Tensor", cpu=_cpu, fake=_fake)
