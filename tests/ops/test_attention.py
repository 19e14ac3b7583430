"""Attention: values, gradients and dropout bits of every backend against plain torch in float64."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import backends
import pytest
import torch
from torch import Tensor

from chordfast import ops
from chordfast.reference import attention as reference

op = importlib.import_module("chordfast.ops.attention")  # the module; ops.attention is the function

DIRECTIONS = (None, "forward", "backward", "both")
WIDTHS = (2, 9, 16, 18, 32, 36, 64)
LENGTHS = (1, 2, 7, 31, 32, 33, 64, 107, 108, 109, 128, 200, 256)
FP32 = 1e-5  # of the largest value, or of 1: inputs and output gradients are of that size


def inputs(
    width: int,
    queries: int,
    keys: int,
    direction: str | None,
    dtype: torch.dtype = torch.float32,
    batch: int = 2,
    heads: int = 2,
) -> list[Tensor]:
    """q, k, v as a projection leaves them ([..., T, H, d] seen as [..., H, T, d]) and a gradient of the output."""
    lead = (2, batch) if direction == "both" else (batch,)
    shapes = [(*lead, time, heads, width) for time in (queries, keys, keys, queries)]
    return [torch.randn(shape).to(dtype).transpose(-2, -3) for shape in shapes]


def key_mask(batch: int, keys: int) -> Tensor:
    """Random, with nothing left for the first element of the batch."""
    mask = torch.rand(batch, keys) > 0.3
    mask[:1] = False
    return mask


def run(
    backend: str, q: Tensor, k: Tensor, v: Tensor, grad: Tensor, mask: Tensor | None, seed: Tensor | None, *numbers: Any
) -> list[Tensor]:
    """Output, log-sum-exp and the three gradients of the raw kernels of a backend."""
    device, module = backends.device(backend), backends.module(backend)
    where = {
        "cpu": (1,),
        "simt": (0, 0),
        "cuda": (0, torch.cuda.current_stream().cuda_stream if backend == "cuda" else 0),
    }[backend]
    suffix = "cpu" if backend == "cpu" else "cuda"
    q, k, v, grad, mask, seed = (None if x is None else x.to(device) for x in (q, k, v, grad, mask, seed))
    out, lse = op.launch_fwd(getattr(module, f"attention_fwd_{suffix}"), where, q, k, v, mask, seed, *numbers)
    gradients = op.launch_bwd(
        getattr(module, f"attention_bwd_{suffix}"), where, grad, q, k, v, out, lse, mask, seed, *numbers
    )
    return [x.cpu() for x in (out, lse, *gradients)]


def truth(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grad: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    direction: str | None,
    rate: float,
) -> list[Tensor]:
    wide = [x.double().requires_grad_() for x in (q, k, v)]
    keep, kept = None, 1.0
    if seed is not None:
        lead = q.shape[:-2]
        keep, kept = reference.dropout_keep(seed, lead.numel(), q.shape[-2], k.shape[-2], rate)
        keep = keep.view(*lead, q.shape[-2], k.shape[-2])
    out, _ = reference.attention(*wide, direction, mask, None, keep, kept)
    return [out.detach(), *torch.autograd.grad(out, wide, grad.double())]


def assert_close(found: Tensor, wanted: Tensor, tolerance: float, floor: float = 1.0) -> None:
    assert found.shape == wanted.shape
    if wanted.numel():
        error, largest = (found.double() - wanted).abs().max().item(), max(wanted.abs().max().item(), floor)
        assert error <= tolerance * largest, f"error {error:.2e} of {largest:.2e}"


def compare(
    backend: str, width: int, queries: int, keys: int, direction: str | None, masked: bool, rate: float, **sizes: int
) -> None:
    torch.manual_seed(width * 1000 + queries)
    q, k, v, grad = inputs(width, queries, keys, direction, **sizes)
    mask = key_mask(q.shape[-4], keys) if masked else None
    seed = torch.randint(-(2**63), 2**63 - 1, (2,)) if rate else None
    wanted = truth(q, k, v, grad, mask, seed, direction, rate)
    if masked:  # whatever stands in the padding must not matter
        lost = ~mask[:, None, :, None]
        k, v = (x.masked_fill(lost, float("nan")) for x in (k, v))
    out, _, *gradients = run(backend, q, k, v, grad, mask, seed, op.DIRECTIONS[direction], rate, width**-0.5)
    for found, true in zip((out, *gradients), wanted, strict=True):
        assert_close(found, true, FP32, max(1.0, queries**0.5 / 4))  # a key's gradient sums over the queries
    if masked:
        assert (out[..., 0, :, :, :] == 0).all()
        assert all((g[..., 0, :, :, :] == 0).all() for g in gradients)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("width", WIDTHS)
def test_cpu_matches_float64_for_all_lengths(width: int, direction: str | None) -> None:
    for time in LENGTHS:
        compare("cpu", width, time, time, direction, masked=time % 2 == 0, rate=0.2 if time % 3 else 0.0)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_cpu_matches_float64_for_unequal_lengths(direction: str | None) -> None:
    for queries, keys in ((1, 256), (256, 1), (5, 77), (77, 5), (108, 33), (33, 108), (16, 200)):
        for width in (9, 32, 64):
            compare("cpu", width, queries, keys, direction, masked=width == 9, rate=0.1)


# (width, queries, keys): the three kernels of each type, partial blocks, chunks that do not fit shared memory at once.
DEVICE_CASES = [
    (2, 7, 7), (9, 12, 12), (16, 33, 33), (18, 1, 1), (32, 108, 108), (32, 5, 77), (36, 77, 5), (64, 109, 109),
    (64, 200, 256),
]  # fmt: skip


@pytest.mark.parametrize("backend", backends.params("simt", "cuda"))
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("width", "queries", "keys"), DEVICE_CASES)
def test_cuda_kernels_match_float64(backend: str, width: int, queries: int, keys: int, direction: str | None) -> None:
    small = {"batch": 1, "heads": 1} if max(queries, keys) > 100 else {}
    masked = width in (16, 36)
    compare(backend, width, queries, keys, direction, masked, 0.2 if width % 3 else 0.0, **({} if masked else small))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", backends.params())
@pytest.mark.parametrize(("width", "queries", "keys"), [(9, 33, 33), (16, 7, 20), (32, 108, 108), (64, 80, 200)])
def test_half_precision_is_no_worse_than_torch(
    backend: str, dtype: torch.dtype, width: int, queries: int, keys: int
) -> None:
    """Error at most twice that of torch's own attention on the same half-precision inputs."""
    for direction in ("forward", "backward", None):
        torch.manual_seed(width)
        q, k, v, grad = inputs(width, queries, keys, direction, dtype, batch=1, heads=2 if backend == "cpu" else 1)
        wanted = truth(q, k, v, grad, None, None, direction, 0.0)
        out, _, *gradients = run(backend, q, k, v, grad, None, None, op.DIRECTIONS[direction], 0.0, width**-0.5)
        leaves = [x.detach().clone().requires_grad_() for x in (q, k, v)]
        allowed = reference.allowed_pairs(queries, keys, direction)
        some = allowed.any(-1)  # torch has no defined value for the other rows
        theirs = torch.nn.functional.scaled_dot_product_attention(*leaves, attn_mask=allowed | ~some[:, None])
        their_gradients = torch.autograd.grad(theirs, leaves, grad * some[:, None])
        for mine, their, true in zip(
            (out, *gradients), (theirs * some[:, None], *their_gradients), wanted, strict=True
        ):
            own, other = ((x.detach().double() - true).abs().max().item() for x in (mine, their))
            assert own <= 2 * other + 1e-6, f"{own:.2e} where torch has {other:.2e}"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_all_backends_drop_the_same_probabilities(direction: str | None) -> None:
    """Values of one row of ones per key make the output count what was kept."""
    torch.manual_seed(3)
    lead = (2, 2, 2) if direction == "both" else (2, 2)
    q = k = torch.zeros(*lead, 40, 64)
    v = torch.eye(40, 64).expand(*lead, 40, 64)
    seed = torch.tensor([-5, 7 << 40])
    keep, rate = reference.dropout_keep(seed, q[..., 0, 0].numel(), 40, 40, 0.3)
    allowed = reference.allowed_pairs(40, 40, direction)
    wanted = keep.view(*lead, 40, 40) & allowed
    grad = torch.zeros_like(q)
    for backend in ("cpu", *(() if backends.why_no_simt() else ("simt",))):
        out = run(backend, q, k, v, grad, None, seed, op.DIRECTIONS[direction], 0.3, 1.0)[0]
        assert torch.equal(out[..., :40] > 0, wanted), backend
        assert torch.allclose(out[..., :40], wanted / allowed.sum(-1, keepdim=True) / rate, atol=1e-6)


def test_philox_is_that_of_the_paper() -> None:
    """Known answers of the authors' own test vectors (Random123, kat_vectors)."""
    ones, pi = 0xFFFFFFFF, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)

    def tensor(*words: int) -> tuple[Tensor, ...]:
        return tuple(torch.tensor(word) for word in words)

    assert [int(x) for x in reference.philox4x32(tensor(0, 0, 0, 0), (0, 0))] == [
        0x6627E8D5,
        0xE169C58D,
        0xBC57AC4C,
        0x9B00DBD8,
    ]
    assert [int(x) for x in reference.philox4x32(tensor(*[ones] * 4), (ones, ones))] == [
        0x408F276D,
        0x41C83B0E,
        0xA20BC7C6,
        0x6D5451FD,
    ]
    assert [int(x) for x in reference.philox4x32(tensor(*pi[:4]), pi[4:])] == [
        0xD16CFE09,
        0x94FDCCEB,
        0x5001E420,
        0x24126EA1,
    ]
    assert [int(x) for x in reference.philox2x32(tensor(0, 0), 0)] == [0xFF1DAE59, 0x6CD10DF2]
    assert [int(x) for x in reference.philox2x32(tensor(ones, ones), ones)] == [0x2C3F628B, 0xAB4FD7AD]
    assert [int(x) for x in reference.philox2x32(tensor(*pi[:2]), pi[2])] == [0xDD7CE038, 0xF62A4C12]


@pytest.mark.parametrize("rate", [0.001, 0.2, 0.5, 0.9])
def test_dropout_keeps_the_right_share(rate: float) -> None:
    torch.manual_seed(11)
    seed = torch.randint(-(2**63), 2**63 - 1, (2,))
    keep, kept = reference.dropout_keep(seed, 16, 200, 200, rate)
    n, share = keep.numel(), keep.double().mean().item()
    assert abs(kept - (1 - rate)) <= 2**-17
    assert abs(share - kept) < 5 * (kept * (1 - kept) / n) ** 0.5
    # Neighbours in every direction are independent: their agreement is that of independent draws.
    agree = kept**2 + (1 - kept) ** 2
    for first, second in (
        (keep[1:], keep[:-1]),
        (keep[:, 8:], keep[:, :-8]),
        (keep[..., 8:], keep[..., :-8]),
        (keep[:, 1:], keep[:, :-1]),
    ):
        found = (first == second).double().mean().item()
        assert abs(found - agree) < 5 * (agree * (1 - agree) / first.numel()) ** 0.5 + 1e-9


def test_dropout_follows_torchs_generator() -> None:
    torch.manual_seed(0)
    q, k, v, _ = inputs(32, 50, 50, None)

    def draw(seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        if seed is not None:
            torch.manual_seed(seed)
        return ops.attention(q, k, v, dropout=0.4, generator=generator)

    first = draw(1)
    assert torch.equal(first, draw(1))
    assert not torch.equal(first, draw())
    assert not torch.equal(first, draw(2))
    own = [torch.Generator().manual_seed(1) for _ in range(2)]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(draw(generator=own[0]), draw(generator=own[1]))
    assert torch.equal(torch.get_rng_state(), state)  # torch's own generator was left alone
    mean = torch.stack([draw() for _ in range(400)]).mean(0)
    assert (mean - ops.attention(q, k, v)).abs().mean() < 0.02


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_backward_drops_what_forward_dropped(direction: str | None) -> None:
    """The same call in float64 (plain torch, same seed) has the same gradients; a mask of its own would not."""
    torch.manual_seed(2)
    *leaves, grad = inputs(32, 61, 61, direction)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        copies = [x.to(dtype).requires_grad_() for x in leaves]
        torch.manual_seed(9)
        y = ops.attention(*copies, direction=direction, dropout=0.3)
        gradients.append(torch.autograd.grad(y, copies, grad.to(dtype)))
    for mine, true in zip(*gradients, strict=True):
        assert_close(mine, true, FP32)


@backends.needs_simt()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("width", "time", "direction"), [(32, 70, "both"), (9, 20, None), (64, 144, "forward")])
def test_the_order_of_threads_does_not_matter(width: int, time: int, direction: str | None, dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    q, k, v, grad = inputs(width, time, time, direction, dtype, batch=1, heads=1)
    numbers = (op.DIRECTIONS[direction], 0.2, width**-0.5)
    backends.same_under_all_schedules(lambda: run("simt", q, k, v, grad, None, torch.tensor([1, 2]), *numbers))


@pytest.mark.parametrize("backend", backends.params())
def test_log_sum_exp_and_the_same_bits_twice(backend: str) -> None:
    torch.manual_seed(5)
    q, k, v, grad = inputs(18, 37, 50, "backward", batch=2)
    mask = key_mask(2, 50)
    numbers = (op.DIRECTIONS["backward"], 0.0, 0.3)
    first, second = (run(backend, q, k, v, grad, mask, None, *numbers) for _ in range(2))
    assert backends.bits(first) == backends.bits(second)
    allowed = reference.allowed_pairs(37, 50, "backward") & mask[1, None, None]
    wanted = (q[1].double() @ k[1].double().transpose(-1, -2) * 0.3).masked_fill(~allowed, float("-inf")).logsumexp(-1)
    assert torch.isposinf(first[1][0]).all()
    some = allowed.any(-1).expand_as(wanted)
    assert_close(first[1][1][some] * 0.6931471805599453, wanted[some], FP32)


def test_the_number_of_threads_does_not_matter() -> None:
    torch.manual_seed(6)
    q, k, v, grad = inputs(32, 108, 108, "both", batch=8, heads=4)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            leaves = [x.clone().requires_grad_() for x in (q, k, v)]
            torch.manual_seed(1)
            y = ops.attention(*leaves, direction="both", dropout=0.1)
            results.append((y, *torch.autograd.grad(y, leaves, grad)))
    finally:
        torch.set_num_threads(before)
    assert backends.bits(results[0]) == backends.bits(results[1])


@pytest.mark.parametrize("level", ["plain", "avx2"])
def test_lower_simd_levels_match_float64_too(level: str) -> None:
    """The same comparison in a process of its own, since the level is chosen once."""
    body = """
import sys
sys.path[:0] = sys.argv[1:]
import test_attention as t
assert t.backends.module("cpu").build_info()["simd"] in ("plain", LEVEL)
for width, queries, keys in ((2, 7, 7), (9, 33, 50), (18, 108, 108), (32, 108, 108), (64, 50, 130)):
    for direction in t.DIRECTIONS:
        t.compare("cpu", width, queries, keys, direction, masked=width == 9, rate=0.2)
for dtype in (t.torch.bfloat16, t.torch.float16):
    t.test_half_precision_is_no_worse_than_torch("cpu", dtype, 9, 33, 33)
"""
    here = Path(__file__).parent
    command = [sys.executable, "-c", body.replace("LEVEL", repr(level)), str(here), str(here.parent)]
    subprocess.run(command, check=True, env=os.environ | {"CHORDFAST_SIMD": level})
