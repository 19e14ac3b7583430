"""Attention as an operator: autograd, autocast, torch.compile, CUDA graphs, attention maps, odd input, errors."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import backends
import pytest
import torch
from torch import Tensor

from chordfast import ops
from chordfast.errors import UsageError
from chordfast.nn import BidirectionalAttention, MultiHeadAttention

op = importlib.import_module("chordfast.ops.attention")
DEVICES = backends.params("cpu", "cuda")


def random(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.randn(shape, dtype=dtype, device=device)


def qkv(*shape: int, **options: Any) -> list[Tensor]:
    torch.manual_seed(0)
    return [random(*shape, **options) for _ in range(3)]


@pytest.mark.parametrize("direction", [None, "forward", "backward", "both"])
def test_gradcheck_in_float64(direction: str | None) -> None:
    shape = (2, 1, 2, 5, 3) if direction == "both" else (1, 2, 5, 3)
    leaves = [x.requires_grad_() for x in qkv(*shape, dtype=torch.float64)]
    mask = torch.tensor([[True, False, True, True, False]])

    def call(*inputs: Tensor) -> Tensor:
        torch.manual_seed(1)
        return ops.attention(*inputs, direction=direction, dropout=0.2, mask=mask, scale=0.7)

    assert torch.autograd.gradcheck(call, leaves)


@pytest.mark.parametrize("backend", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_raw_operators_pass_opcheck(backend: str, dtype: torch.dtype) -> None:
    options = {"dtype": dtype, "device": backends.device(backend)}
    q, k, v = qkv(2, 2, 9, 10, **options)
    mask = torch.ones(2, 9, dtype=torch.bool, device=options["device"])
    seed = torch.tensor([1, 2], device=options["device"])
    for mask_seed in ((None, None), (mask, seed)):
        numbers = (1, 0.2 if mask_seed[1] is not None else 0.0, 0.3)
        torch.library.opcheck(torch.ops.chordfast._attention_fwd.default, (q, k, v, *mask_seed, *numbers))
        out, lse = op._fwd(q, k, v, *mask_seed, *numbers)
        arguments = (torch.randn_like(out), q, k, v, out, lse, *mask_seed, *numbers)
        torch.library.opcheck(torch.ops.chordfast._attention_bwd.default, arguments)
    five = [x.expand(2, *x.shape) for x in (q, k, v)]
    torch.library.opcheck(torch.ops.chordfast._attention_fwd.default, (*five, None, None, 3, 0.0, 0.3))


@pytest.mark.parametrize("backend", DEVICES)
@pytest.mark.parametrize("direction", ["forward", "both"])
def test_compiles_without_graph_breaks(backend: str, direction: str) -> None:
    shape = (2, 2, 2, 21, 16) if direction == "both" else (2, 2, 21, 16)
    leaves = [x.requires_grad_() for x in qkv(*shape, device=backends.device(backend))]
    mask = torch.rand(2, 21, device=backends.device(backend)) > 0.2

    def call(*inputs: Tensor) -> Tensor:
        return ops.attention(*inputs, direction=direction, mask=mask).square().sum()

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    wanted, found = call(*leaves), compiled(*leaves)
    assert torch.allclose(found, wanted)
    for mine, theirs in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(wanted, leaves), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)

    dropped = torch.compile(
        lambda *x: ops.attention(*x, direction=direction, dropout=0.5), fullgraph=True, backend="aot_eager"
    )
    y = dropped(*leaves)
    grads = torch.autograd.grad(y, leaves, torch.ones_like(y))
    # The output is linear in v: with the mask of the forward pass, <grad, v> is the sum of the output.
    assert torch.allclose((grads[2] * leaves[2]).sum(), y.sum(), rtol=1e-3, atol=1e-3)
    assert not torch.equal(y, dropped(*leaves))


@pytest.mark.slow
def test_compiles_with_inductor() -> None:
    leaves = [x.requires_grad_() for x in qkv(2, 2, 21, 16)]
    compiled = torch.compile(lambda *x: ops.attention(*x, direction="backward") * 2, fullgraph=True)
    found, wanted = compiled(*leaves), ops.attention(*leaves, direction="backward") * 2
    assert torch.allclose(found, wanted)
    assert torch.allclose(
        torch.autograd.grad(found.sum(), leaves)[1], torch.autograd.grad(wanted.sum(), leaves)[1], atol=1e-6
    )


@pytest.mark.parametrize("backend", DEVICES)
def test_autocast_casts_as_torchs_attention(backend: str) -> None:
    device = backends.device(backend)
    q, k, v = (x.requires_grad_() for x in qkv(1, 2, 20, 16, device=device))
    with torch.autocast(device, torch.bfloat16):
        y = ops.attention(q, k, v)
        theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        double = ops.attention(q.double(), k.double(), v.double())
        mixed = ops.attention(q.bfloat16(), k, v)
    assert y.dtype == theirs.dtype == mixed.dtype == torch.bfloat16
    assert double.dtype == torch.float64
    assert torch.allclose(y.double(), double, atol=2e-2)
    y.float().sum().backward()
    assert q.grad is not None and q.grad.dtype == torch.float32


def test_attention_maps_are_the_probabilities() -> None:
    q, k, v = qkv(2, 2, 30, 16)
    mask = torch.rand(2, 30) > 0.3
    for direction in (None, "forward", "backward"):
        y, maps = ops.attention(q, k, v, direction, mask=mask, return_attention=True)
        assert maps.shape == (2, 2, 30, 30)
        assert torch.allclose(y, ops.attention(q, k, v, direction, mask=mask), atol=1e-6)
        assert torch.allclose(maps @ v, y, atol=1e-6)
        sums = maps.sum(-1)
        assert (((sums - 1).abs() < 1e-5) | (sums == 0)).all()
        assert (maps[~mask[:, None, None, :].expand_as(maps)] == 0).all()
    torch.manual_seed(3)
    dropped, maps = ops.attention(q, k, v, dropout=0.5, return_attention=True)
    torch.manual_seed(3)
    assert torch.allclose(dropped, ops.attention(q, k, v, dropout=0.5), atol=1e-5)
    assert torch.allclose(maps.sum(-1), torch.ones(2, 2, 30), atol=1e-5)  # before dropout


@pytest.mark.parametrize("backend", DEVICES)
def test_any_strides_give_the_same_values_and_gradients(backend: str) -> None:
    torch.manual_seed(1)
    device = backends.device(backend)
    packed = torch.randn(3, 20, 3, 4, 9, device=device)  # [B, T, (q, k, v), H, d]
    views: dict[str, Callable[[Tensor], Tensor]] = {
        "packed": lambda x: x.transpose(1, 2),
        "contiguous": lambda x: x.transpose(1, 2).contiguous(),
        "width not dense": lambda x: x.permute(0, 2, 3, 1).contiguous().transpose(-1, -2),
    }
    results = {}
    for name, view in views.items():
        leaves = [view(packed[:, :, n]).detach().requires_grad_() for n in range(3)]
        y = ops.attention(*leaves, direction="forward")
        y.sum().backward()  # the gradient comes expanded, with strides of 0
        results[name] = [y, *(x.grad for x in leaves)]
    for name in views:
        assert all(torch.equal(a, b) for a, b in zip(results[name], results["packed"], strict=True)), name
    assert results["packed"][0].transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("backend", DEVICES)
@pytest.mark.parametrize("shapes", [(0, 2, 5, 5), (2, 0, 5, 5), (2, 2, 0, 5), (2, 2, 5, 0), (2, 2, 0, 0)])
def test_nothing_in_nothing_out(backend: str, shapes: tuple[int, ...]) -> None:
    batch, heads, queries, keys = shapes
    device = backends.device(backend)
    q = torch.randn(batch, heads, queries, 8, device=device, requires_grad=True)
    k, v = (torch.randn(batch, heads, keys, 8, device=device, requires_grad=True) for _ in range(2))
    for dtype in (torch.float32, torch.float64):
        y = ops.attention(
            q.to(dtype),
            k.to(dtype),
            v.to(dtype),
            "forward",
            mask=torch.ones(batch, keys, dtype=torch.bool, device=device),
        )
        assert y.shape == q.shape
        assert (y == 0).all()  # no key: zeros
        grads = torch.autograd.grad(y.sum(), (q, k, v))
        assert all((g == 0).all() and g.shape == x.shape for g, x in zip(grads, (q, k, v), strict=True))


def test_not_a_number_comes_out() -> None:
    q, k, v = qkv(1, 1, 20, 16)
    q[0, 0, 3, 2] = float("nan")
    k[0, 0, 9, 0] = float("nan")
    y = ops.attention(q, k, v, "forward")[0, 0]
    assert y[3].isnan().all() and y[9:].isnan().all()
    assert y[[*range(3), *range(4, 9)]].isfinite().all()


def test_an_autograd_node_only_where_a_gradient_is_wanted() -> None:
    q, k, v = qkv(1, 1, 4, 8)
    assert ops.attention(q, k, v).grad_fn is None
    k.requires_grad_()
    assert ops.attention(q, k, v).grad_fn is not None
    with torch.no_grad():
        assert ops.attention(q, k, v).grad_fn is None
    gradient = torch.autograd.grad(ops.attention(q, k, v).square().sum(), k, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("statement", ["from chordfast.ops import attention", "import chordfast.ops.attention"])
def test_the_name_is_the_function_however_it_is_imported(statement: str) -> None:
    check = "assert callable(ops.attention) and ops.attention.__name__ == 'attention'"
    code = f"{statement}\nfrom chordfast import ops\nimport chordfast.ops.attention\n{check}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("backend", backends.params("cuda"))
def test_cuda_graph_draws_new_dropout_at_every_replay(backend: str) -> None:
    q, k, v = (x.requires_grad_() for x in qkv(2, 2, 30, 32, device=backends.device(backend)))

    def step() -> tuple[Tensor, ...]:
        y = ops.attention(q, k, v, "forward", dropout=0.5)
        return (y.detach(), *torch.autograd.grad(y.sum(), (q, k, v)))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = step()
    seen = []
    for _ in range(2):
        graph.replay()
        torch.cuda.synchronize()
        seen.append(outputs[0].clone())
        assert torch.allclose((outputs[3] * v).sum(), outputs[0].sum(), rtol=1e-3)
    assert not torch.equal(*seen)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"q": [[1.0]]}, "q is list; give a torch tensor"),
    ({"mask": [True]}, "mask is list; give a torch tensor"),
    ({"direction": "left"}, "direction is 'left'; choose None, 'forward', 'backward' or 'both'"),
    ({"q": torch.zeros(2, 5, 8)}, "q has shape [2, 5, 8]; direction=None needs [B, H, T, d]"),
    ({"direction": "both"}, "q has shape [1, 2, 5, 8]; direction='both' needs [2, B, H, T, d]"),
    ({"v": torch.zeros(1, 2, 6, 8)}, "k [1, 2, 5, 8] and v [1, 2, 6, 8] do not fit; only q's number of time steps"),
    ({"q": torch.zeros(1, 2, 5, 9)}, "q [1, 2, 5, 9], k [1, 2, 5, 8]"),
    (
        {"v": torch.zeros(1, 2, 5, 8, dtype=torch.float64)},
        "q, k, v are torch.float32, torch.float32, torch.float64; give",
    ),
    ({n: torch.zeros(1, 2, 5, 8, dtype=torch.int64) for n in "qkv"}, "q, k, v are torch.int64, torch.int64"),
    ({"k": torch.zeros(1, 2, 5, 8, device="meta")}, "the tensors are on cpu, meta, cpu; move them to one device"),
    ({n: torch.zeros(1, 2, 5, 65) for n in "qkv"}, "heads are 65 wide; give 1 to 64, or use torch's attention"),
    ({n: torch.zeros(1, 2, 5, 0) for n in "qkv"}, "heads are 0 wide"),
    ({"q": torch.zeros(1, 2, 257, 8)}, "257 queries and 5 keys; give at most 256, or use torch's attention"),
    ({n: torch.zeros(1, 2, 300, 8) for n in "kv"}, "5 queries and 300 keys; give at most 256"),
    ({"dropout": 1.0}, "dropout is 1.0; give a probability of at least 0 and below 1"),
    ({"dropout": float("nan")}, "dropout is nan"),
    (
        {"mask": torch.ones(5, dtype=torch.bool)},
        "the mask is torch.bool of shape [5]; give booleans of shape [1, 5], True",
    ),
    ({"mask": torch.ones(1, 5)}, "the mask is torch.float32 of shape [1, 5]; give booleans"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_input_is_named_in_one_sentence(change: dict[str, Any], message: str) -> None:
    arguments = {n: torch.zeros(1, 2, 5, 8) for n in "qkv"} | change
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        ops.attention(**arguments)
    assert str(caught.value).startswith("attention: ") and ". " not in str(caught.value)


def test_native_launchers_refuse_what_would_overrun() -> None:
    place = (0, 0, 0, 0, 0)
    for sizes, message in (
        ((1, 1, 1, 257, 5, 8, 0, 0), "257 queries"),
        ((1, 1, 1, 5, 5, 65, 0, 0), "width 65"),
        ((1, 1, 1, 5, 5, 8, 3, 0), "axis of 2"),
        ((1, 1, 1, 5, 5, 8, 0, 3), "dtype 3"),
    ):
        with pytest.raises(ValueError, match=message):
            backends.module("cpu").attention_fwd_cpu(sizes, 1.0, 0.0, place, place, place, place, 0, 0, 0, 1)
    with pytest.raises(ValueError, match="without a seed"):
        backends.module("cpu").attention_fwd_cpu(
            (1, 1, 1, 5, 5, 8, 0, 0), 1.0, 0.5, place, place, place, place, 0, 0, 0, 1
        )


@pytest.mark.parametrize("bias", [True, False])
def test_module_equals_torchs(bias: bool) -> None:
    torch.manual_seed(0)
    mine, theirs = MultiHeadAttention(36, 4, bias=bias), torch.nn.MultiheadAttention(36, 4, bias=bias, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(mine.in_projection.weight)
        theirs.out_proj.weight.copy_(mine.out_projection.weight)
        if bias:
            theirs.in_proj_bias.copy_(mine.in_projection.bias)
            theirs.out_proj.bias.copy_(mine.out_projection.bias)
    x, memory, mask = random(2, 11, 36), random(2, 17, 36), torch.rand(2, 17) > 0.3
    assert torch.allclose(mine(x), theirs(x, x, x)[0], atol=1e-5)
    wanted, maps = theirs(x, memory, memory, key_padding_mask=~mask, average_attn_weights=False)
    found, own_maps = mine(x, memory, mask, return_attention=True)
    assert torch.allclose(found, wanted, atol=1e-5) and torch.allclose(own_maps, maps, atol=1e-6)
    assert torch.allclose(mine(x, memory, mask), wanted, atol=1e-5)


def test_bidirectional_module_is_two_modules() -> None:
    torch.manual_seed(0)
    both = BidirectionalAttention(32, 4, dropout=0.5).eval()
    x, mask = random(2, 3, 19, 32), torch.rand(3, 19) > 0.2
    found = both(x, mask)
    for n, direction in enumerate(("forward", "backward")):
        one = MultiHeadAttention(32, 4, direction, bias=False)
        with torch.no_grad():
            one.in_projection.weight.copy_(both.in_weight[n])
            one.out_projection.weight.copy_(both.out_weight[n])
        assert torch.allclose(found[n], one(x[n], mask=mask), atol=1e-5)
    both.train()
    assert not torch.equal(both(x), both(x))
    with pytest.raises(UsageError, match="3 heads do not divide a width of 32"):
        BidirectionalAttention(32, 3)
