"""PCM of any rate and 1 to 8 channels to mono float32 at the feature rate."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._native import native
from ..errors import UsageError

MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 1000, 768_000
Quality = Literal["exact", "relaxed"]
_Array = TypeVar("_Array")


class IngestStream:
    """Mono float32 at ``target`` Hz from blocks of interleaved PCM; memory does not grow with the recording.

    ``sr`` and ``target`` are whole Hz in 1 000 .. 768 000, ``channels`` 1 .. 8, ``quality`` as for :func:`ingest`.
    The samples given by all pushes and :meth:`finish` together have the same bits however the input was split.
    One stream serves one thread at a time. UsageError for arguments out of range.
    """

    def __init__(self, sr: int, channels: int, quality: Quality = "exact", target: int = 22050) -> None:
        self.sr, self.target = checked_rates(sr, target, quality)
        if not isinstance(channels, (int, np.integer)) or not 1 <= channels <= MAX_CHANNELS:
            raise UsageError(f"channels is {channels!r}; 1 to {MAX_CHANNELS} are supported")
        self.channels = int(channels)
        self.quality: Quality = quality
        self._finished = False
        self._stream = native().Ingest(self.sr, self.target, self.channels, quality == "exact")

    def push(self, pcm: NDArray[Any]) -> NDArray[np.float32]:
        """Feed [n, channels] (or [n] when mono) int16 or float32; returns the samples that became final, [m]."""
        self._open()
        return self._call("push", pcm)

    def finish(self) -> NDArray[np.float32]:
        """The last samples; in all there are ``ceil(N * target / sr)``. The stream cannot be used afterwards."""
        self._open()
        self._finished = True
        return self._stream.finish()

    @property
    def non_finite(self) -> int:
        """Input samples (of all channels) so far that were NaN or infinite; each was replaced by 0."""
        return int(self._stream.non_finite)

    def _open(self) -> None:
        if self._finished:
            raise UsageError("this IngestStream was finished; make a new one for the next recording")

    def _call(self, kind: str, pcm: NDArray[Any]) -> NDArray[np.float32]:
        block = _pcm(pcm)
        channels = block.shape[1] if block.ndim == 2 else 1
        if channels != self.channels:
            raise UsageError(f"a block of shape {block.shape} has {channels} channel(s), the stream {self.channels}")
        return getattr(self._stream, f"{kind}_{'i16' if block.dtype == np.int16 else 'f32'}")(block)


def ingest(pcm: _Array, sr: int, quality: Quality = "exact", target: int = 22050) -> _Array:
    """Mix down and resample a whole recording.

    Args:
        pcm: [N] or [N, C] with C <= 8, NumPy array or torch tensor; int16 (full scale 32768) or floating point
            (float32; float64 is rounded to it). N may be 0. NaN and infinite samples count as 0.
        sr: sample rate in whole Hz, 1 000 .. 768 000.
        quality: ``"exact"`` reproduces soxr's HQ recipe (what ``librosa.load`` does: pass band 0.913 of the lower
            Nyquist frequency, stop band beyond it below -120 dB) to about 1e-6 of the signal; ``"relaxed"``, four to
            eight times as fast, is right from 0 to 0.254 * target only, which is all the chord features look at.
        target: output rate in whole Hz.

    Returns:
        float32 [ceil(N * target / sr)], of the same kind and on the same device as ``pcm``; sample i is at time
        i / target. The channels are averaged first. ``sr == target`` passes the samples through.

    Raises UsageError for a type, shape, rate or quality it does not take.
    """
    if type(pcm).__module__.partition(".")[0] == "torch":
        import torch

        assert isinstance(pcm, torch.Tensor)
        if pcm.is_cuda:
            from ._torch_ingest import forward

            return forward(pcm, (0, len(pcm) if pcm.ndim else 0), sr, quality, target)[0]  # type: ignore[return-value]
        mono = ingest(pcm.detach().cpu().numpy(), sr, quality, target)
        return torch.from_numpy(mono).to(pcm.device)  # type: ignore[return-value]
    if not isinstance(pcm, np.ndarray):
        raise UsageError(f"pcm is a {type(pcm).__name__}; pass a NumPy array or a torch tensor")
    block = _pcm(pcm)
    stream = IngestStream(sr, block.shape[1] if block.ndim == 2 else 1, quality, target)
    return stream._call("whole", block)  # type: ignore[return-value]


def ingest_flat(
    pcm: Any, offsets: Any, sr: int, quality: Quality = "exact", target: int = 22050
) -> tuple[Any, Any, Any]:
    """``ingest`` of recordings of one rate that lie one after the other.

    Args:
        pcm: [N] or [N, C]; recording s is pcm[offsets[s] : offsets[s + 1]]. Type and values as for :func:`ingest`.
        offsets: S + 1 whole numbers rising from 0 to N, best a list or on the CPU: a tensor on a GPU is waited for.

    Returns (mono float32 [M], mono_offsets int64 [S + 1], non_finite int64 [S]), of the kind and on the device of
    ``pcm``, the offsets always on the CPU: mono[mono_offsets[s] : mono_offsets[s + 1]] is what ``ingest`` gives of
    recording s, and non_finite[s] says how many of its samples (of all channels) were NaN or infinite.
    On a GPU nothing is waited for; a call can be captured in a CUDA graph after one call with these rates outside it.
    Results there are within 1e-6 of the CPU's and deterministic. UsageError as for :func:`ingest`, and for bad offsets.
    """
    if type(pcm).__module__.partition(".")[0] == "torch":
        from ._torch_ingest import forward

        return forward(pcm, offsets, sr, quality, target)
    if not isinstance(pcm, np.ndarray):
        raise UsageError(f"pcm is a {type(pcm).__name__}; pass a NumPy array or a torch tensor")
    block = _pcm(pcm)
    bounds = flat_offsets(len(block), offsets)
    parts, bad = [], []
    for first, end in pairwise(bounds):
        stream = IngestStream(sr, block.shape[1] if block.ndim == 2 else 1, quality, target)
        parts.append(stream._call("whole", block[first:end]))
        bad.append(stream.non_finite)
    sizes = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return np.concatenate(parts or [np.empty(0, np.float32)]), sizes, np.array(bad, np.int64)


def flat_offsets(size: int, offsets: Any) -> tuple[int, ...]:
    """Offsets as a tuple, checked to rise from 0 to ``size``."""
    numbers = offsets.tolist() if hasattr(offsets, "tolist") else offsets
    if not isinstance(numbers, (list, tuple)) or not all(isinstance(n, (int, np.integer)) for n in numbers):
        raise UsageError("offsets must be a list or a one-dimensional array of whole numbers")
    bounds = tuple(int(n) for n in numbers)
    if not bounds or bounds[0] != 0 or bounds[-1] != size or any(b < a for a, b in pairwise(bounds)):
        raise UsageError(f"offsets must rise from 0 to {size}, the number of frames (one more than recordings)")
    return bounds


def checked_rates(sr: int, target: int, quality: str) -> tuple[int, int]:
    """Both rates as whole numbers."""
    if quality not in ("exact", "relaxed"):
        raise UsageError(f"quality is {quality!r}; use 'exact' or 'relaxed'")
    return _rate(sr, "sr"), _rate(target, "target")


def _rate(value: int, name: str) -> int:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    if not isinstance(value, (int, np.integer)) or not MIN_RATE <= value <= MAX_RATE:
        raise UsageError(f"{name} is {value!r}; give a sample rate in whole Hz from {MIN_RATE} to {MAX_RATE}")
    return int(value)


def _pcm(pcm: NDArray[Any]) -> NDArray[Any]:
    if pcm.ndim not in (1, 2):
        raise UsageError(f"pcm has shape {pcm.shape}; pass [N] or [N, channels]")
    if pcm.ndim == 2 and not 1 <= pcm.shape[1] <= MAX_CHANNELS:
        hint = "; it looks transposed, pass pcm.T" if 1 <= pcm.shape[0] <= MAX_CHANNELS else ""
        raise UsageError(
            f"pcm has shape {pcm.shape}; [N, channels] with 1 to {MAX_CHANNELS} channels is expected{hint}"
        )
    if pcm.dtype == np.float64:
        with np.errstate(over="ignore"):
            pcm = pcm.astype(np.float32)
    if pcm.dtype not in (np.int16, np.float32):
        raise UsageError(f"pcm is {pcm.dtype}; int16 or float32 in -1..1 is expected (convert other PCM widths first)")
    return np.ascontiguousarray(pcm)
