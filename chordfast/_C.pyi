"""Stub of the native module (csrc/*/*_bind.cpp); tests/build/test_module.py keeps it complete."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def build_info() -> dict[str, Any]: ...
def cuda_devices() -> list[tuple[str, int, int]]: ...
def attention_fwd_cpu(
    sizes: Sequence[int],
    scale: float,
    dropout: float,
    q: Sequence[int],
    k: Sequence[int],
    v: Sequence[int],
    out: Sequence[int],
    lse: int,
    mask: int,
    seed: int,
    threads: int,
) -> None: ...
def attention_bwd_cpu(
    sizes: Sequence[int],
    scale: float,
    dropout: float,
    grad: Sequence[int],
    q: Sequence[int],
    k: Sequence[int],
    v: Sequence[int],
    out: Sequence[int],
    dq: Sequence[int],
    dk: Sequence[int],
    dv: Sequence[int],
    lse: int,
    mask: int,
    seed: int,
    threads: int,
) -> None: ...
def attention_fwd_cuda(
    sizes: Sequence[int],
    scale: float,
    dropout: float,
    q: Sequence[int],
    k: Sequence[int],
    v: Sequence[int],
    out: Sequence[int],
    lse: int,
    mask: int,
    seed: int,
    device: int,
    stream: int,
) -> None: ...
def attention_bwd_cuda(
    sizes: Sequence[int],
    scale: float,
    dropout: float,
    grad: Sequence[int],
    q: Sequence[int],
    k: Sequence[int],
    v: Sequence[int],
    out: Sequence[int],
    dq: Sequence[int],
    dk: Sequence[int],
    dv: Sequence[int],
    lse: int,
    mask: int,
    seed: int,
    device: int,
    stream: int,
) -> None: ...

class CqtPlan:
    def __init__(self, filters: object) -> None: ...
    def frames(self, n: int) -> int: ...

class CqtStream:
    def __init__(self, plan: CqtPlan) -> None: ...
    def push(self, x: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def finish(self) -> NDArray[np.float32]: ...

class CqtCudaPlan:
    def __init__(self, filters: object) -> None: ...
    def constants(self) -> NDArray[np.float32]: ...
    def workspace(self, songs: NDArray[np.int64]) -> int: ...

def cqt_forward_cpu(plan: CqtPlan, x: int, rows: int, n: int, row_stride: int, out: int, threads: int) -> None: ...
def cqt_forward_ragged_cpu(plan: CqtPlan, x: int, songs: NDArray[np.int64], out: int, threads: int) -> None: ...
def cqt_forward_cuda(
    plan: CqtCudaPlan,
    constants: int,
    x: int,
    songs: NDArray[np.int64],
    out: int,
    half: bool,
    subtract: float,
    multiply: float,
    workspace: int,
    device: int,
    stream: int,
) -> None: ...

class IngestCudaPlan:
    def __init__(self, rate: int, target: int, exact: bool) -> None: ...
    def constants(self) -> NDArray[np.float32]: ...
    def workspace(self, songs: NDArray[np.int64]) -> int: ...

def ingest_forward_cuda(
    plan: IngestCudaPlan,
    constants: int,
    pcm: int,
    is_float: bool,
    channels: int,
    songs: NDArray[np.int64],
    out: int,
    non_finite: int,
    workspace: int,
    device: int,
    stream: int,
) -> None: ...

class Ingest:
    def __init__(self, rate: int, target: int, channels: int, exact: bool) -> None: ...
    @property
    def non_finite(self) -> int: ...
    def push_i16(self, pcm: NDArray[np.int16]) -> NDArray[np.float32]: ...
    def push_f32(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def whole_i16(self, pcm: NDArray[np.int16]) -> NDArray[np.float32]: ...
    def whole_f32(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def finish(self) -> NDArray[np.float32]: ...

def conv3_cpu(addresses: Sequence[int], sizes: Sequence[int], relu: bool, threads: int) -> None: ...
def layer_norm_fwd_cpu(
    addresses: Sequence[int], sizes: Sequence[int], epsilon: float, dropout: float, seed: int, threads: int
) -> None: ...
def layer_norm_bwd_cpu(
    addresses: Sequence[int], sizes: Sequence[int], epsilon: float, dropout: float, seed: int, threads: int
) -> None: ...
def dropout_cpu(addresses: Sequence[int], sizes: Sequence[int], dropout: float, threads: int) -> None: ...
def kd_loss_fwd_cpu(addresses: Sequence[int], sizes: Sequence[int], numbers: Sequence[float], threads: int) -> None: ...
def kd_loss_bwd_cpu(
    gradient: int, grad_output: int, stats: int, out: int, n: int, dtype: int, threads: int
) -> None: ...
def kd_loss_workspace_cuda(rows: int) -> int: ...
def kd_loss_fwd_cuda(
    addresses: Sequence[int], sizes: Sequence[int], numbers: Sequence[float], device: int, stream: int
) -> None: ...
def kd_loss_bwd_cuda(
    gradient: int, grad_output: int, stats: int, out: int, n: int, dtype: int, device: int, stream: int
) -> None: ...
def viterbi_f32(
    sequences: Sequence[NDArray[np.float32]], self_transition: float, initial: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], ...]: ...
def viterbi_f64(
    sequences: Sequence[NDArray[np.float64]], self_transition: float, initial: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], ...]: ...
def gru_fwd_cpu(
    x: int,
    frames: int,
    input: int,
    hidden: int,
    directions: int,
    kernel: int,
    recurrent: int,
    bias: int,
    lengths: Sequence[int],
    out: int,
    threads: int,
) -> None: ...
def gru_recurrence_cuda(
    sums: int,
    recurrent: int,
    spans: int,
    songs: int,
    hidden: int,
    directions: int,
    out: int,
    device: int,
    stream: int,
) -> None: ...
