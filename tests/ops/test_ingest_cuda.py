"""Ingest's CUDA kernels (on the host by _simt, on a GPU where there is one), and batches of recordings."""

from __future__ import annotations

import backends
import numpy as np
import pytest
import torch

from chordfast import ops, reference
from chordfast.errors import UsageError
from chordfast.ops._torch_ingest import launch

KERNELS = backends.params("simt", "cuda")


def recording(frames: int, channels: int, dtype: type, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-1, 1, (frames, channels))
    x = (x * 32767).astype(np.int16) if dtype is np.int16 else x.astype(np.float32)
    return x[:, 0] if channels == 1 else x


def run(
    backend: str, pcm: np.ndarray, lengths: list[int], sr: int, quality: str, target: int
) -> tuple[np.ndarray, list[int]]:
    """All samples and the counts of non-finite ones."""
    x = torch.from_numpy(pcm)
    if backend == "cuda":
        out, _, bad = ops.ingest_flat(x.cuda(), [0, *np.cumsum(lengths).tolist()], sr, quality, target)
    else:
        out, bad = launch(backends.module(backend), 0, 0, x, lengths, sr, quality == "exact", target)
    return out.cpu().numpy(), bad.tolist()


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize(
    ("sr", "target", "channels", "dtype", "quality", "lengths"),
    [
        (44100, 22050, 2, np.int16, "exact", [9001, 0, 1, 3000]),
        (44100, 22050, 1, np.float32, "relaxed", [9001, 77]),
        (48000, 22050, 2, np.float32, "exact", [20_011, 500]),
        (48000, 22050, 6, np.int16, "relaxed", [7001]),
        (22050, 22050, 2, np.float32, "exact", [5003, 9]),
        (22050, 22050, 1, np.int16, "exact", [5003, 9]),
        (96000, 22050, 2, np.int16, "relaxed", [9999, 4]),
        (192_000, 22050, 1, np.float32, "relaxed", [9999]),
        (96000, 22050, 4, np.float32, "exact", [9999]),
        (16000, 22050, 1, np.int16, "exact", [3001]),
        (44101, 22050, 2, np.float32, "exact", [3001, 5]),  # too many phases for a table: interpolated
        (8000, 22050, 8, np.int16, "exact", [2000]),
        (8000, 22050, 8, np.float32, "exact", [500]),
        (88200, 22050, 2, np.int16, "relaxed", [5001]),
        (47250, 22050, 3, np.float32, "exact", [4001]),
        (44100, 16000, 2, np.float32, "exact", [9000]),
        (30_011, 20_000, 1, np.float32, "relaxed", [3000, 1111]),  # a table too long for the shared memory of a block
    ],
)
def test_equals_the_cpu(
    backend: str, sr: int, target: int, channels: int, dtype: type, quality: str, lengths: list[int]
) -> None:
    pcm = recording(sum(lengths), channels, dtype)
    wanted_bad = [0] * len(lengths)
    if dtype is np.float32:
        pcm[5, ...] = np.nan
        pcm[lengths[0] - 1, ...] = np.inf
        wanted_bad[0] = 2 * channels
    found, bad = run(backend, pcm, lengths, sr, quality, target)
    wanted, offsets, counted = ops.ingest_flat(pcm, [0, *np.cumsum(lengths).tolist()], sr, quality, target)
    assert found.shape == wanted.shape and offsets[-1] == len(wanted)
    np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=0)
    assert bad == counted.tolist() == wanted_bad


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize(("sr", "quality"), [(44100, "exact"), (48000, "relaxed"), (96000, "relaxed")])
def test_equals_the_float64_truth(backend: str, sr: int, quality: str) -> None:
    pcm = recording(4001, 2, np.int16, seed=3)
    found, _ = run(backend, pcm, [4001], sr, quality, 22050)
    np.testing.assert_allclose(found, reference.ingest.ingest(pcm, sr, quality), atol=3e-6, rtol=0)


@pytest.mark.parametrize("backend", KERNELS)
def test_any_length(backend: str) -> None:
    lengths = [*range(20), 255, 256, 257, 511, 1025]
    for sr in (22050, 44100, 96000):
        pcm = recording(sum(lengths), 1, np.float32)
        found, _ = run(backend, pcm, lengths, sr, "relaxed", 22050)
        wanted = ops.ingest_flat(pcm, [0, *np.cumsum(lengths).tolist()], sr, "relaxed")[0]
        np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=0)


@backends.needs_simt()
@pytest.mark.parametrize(
    ("sr", "quality"), [(44100, "exact"), (48000, "relaxed"), (96000, "relaxed"), (44101, "exact")]
)
def test_the_order_of_threads_does_not_matter(sr: int, quality: str) -> None:
    pcm = recording(3000, 2, np.float32)
    pcm[::97] = np.nan
    found, bad = (
        backends.same_under_all_schedules(lambda: run("simt", pcm, [1800, 1200], sr, quality, 22050)[0]),
        run("simt", pcm, [1800, 1200], sr, quality, 22050)[1],
    )
    assert np.isfinite(found).all()
    assert bad == [2 * len(range(0, 1800, 97)), 2 * (len(range(0, 3000, 97)) - len(range(0, 1800, 97)))]


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_any_alignment(backend: str, dtype: type) -> None:
    # Every recording starts where the one before ends: at any address.
    for channels in (1, 2, 4):
        lengths = [101, 33, 7, 64, 3, 90]
        pcm = recording(sum(lengths), channels, dtype)
        found, _ = run(backend, pcm, lengths, 22050, "exact", 22050)
        whole = pcm.astype(np.float64) / (32768 if dtype is np.int16 else 1)
        np.testing.assert_allclose(found, whole if channels == 1 else whole.mean(axis=1), atol=1e-7)


def test_batches_on_the_cpu_have_the_bits_of_single_recordings() -> None:
    lengths = [3000, 0, 17, 1200]
    pcm = recording(sum(lengths), 2, np.int16)
    offsets = [0, *np.cumsum(lengths).tolist()]
    mono, starts, bad = ops.ingest_flat(pcm, offsets, 44100)
    for s in range(4):
        alone = ops.ingest(pcm[offsets[s] : offsets[s + 1]], 44100)
        assert np.array_equal(mono[starts[s] : starts[s + 1]], alone)
    tensors = ops.ingest_flat(torch.from_numpy(pcm), torch.tensor(offsets), 44100)
    for tensor, array in zip(tensors, (mono, starts, bad), strict=True):
        assert isinstance(tensor, torch.Tensor) and np.array_equal(tensor.numpy(), array)
    none, starts, bad = ops.ingest_flat(pcm[:0], [0], 44100)
    assert none.shape == (0,) and starts.tolist() == [0] and bad.shape == (0,)


def test_as_an_operator() -> None:
    pcm = torch.from_numpy(recording(900, 2, np.int16))
    compiled = torch.compile(lambda x: ops.ingest_flat(x, [0, 300, 900], 44100)[0] * 2, fullgraph=True, backend="eager")
    assert torch.equal(compiled(pcm), ops.ingest_flat(pcm, [0, 300, 900], 44100)[0] * 2)
    assert ops.ingest_flat(pcm.to("meta"), [0, 300, 900], 44100)[0].shape == (450,)
    torch.library.opcheck(torch.ops.chordfast._ingest.default, (pcm, [300, 600], 44100, True, 22050))
    wide = torch.from_numpy(recording(900, 1, np.float32)).double()
    assert torch.equal(ops.ingest_flat(wide, [0, 900], 48000)[0], ops.ingest(wide.float(), 48000))


def test_arguments_are_checked() -> None:
    pcm = recording(100, 2, np.int16)
    for x in (pcm, torch.from_numpy(pcm)):
        for offsets in ([0, 50], [1, 100], [0, 60, 50, 100], []):
            with pytest.raises(UsageError, match="offsets must rise from 0 to 100"):
                ops.ingest_flat(x, offsets, 44100)
        with pytest.raises(UsageError, match="offsets must be a list"):
            ops.ingest_flat(x, 100, 44100)
        with pytest.raises(UsageError, match="sr is 5"):
            ops.ingest_flat(x, [0, 100], 5)
        with pytest.raises(UsageError, match="quality is 'best'"):
            ops.ingest_flat(x, [0, 100], 44100, "best")
    with pytest.raises(UsageError, match="pcm has shape"):
        ops.ingest_flat(torch.zeros(2, 100), [0, 2], 44100)
    with pytest.raises(UsageError, match=r"pcm is torch\.int32"):
        ops.ingest_flat(torch.zeros(100, dtype=torch.int32), [0, 100], 44100)
    with pytest.raises(UsageError, match="pcm is a list"):
        ops.ingest_flat([0.0], [0, 1], 44100)


@backends.needs_simt()
def test_the_native_side_refuses_what_it_cannot_do() -> None:
    simt = backends.module("simt")
    with pytest.raises(ValueError, match="sample rate 5 Hz"):
        simt.IngestCudaPlan(5, 22050, True)
    plan = simt.IngestCudaPlan(44100, 22050, True)
    with pytest.raises(ValueError, match="9 channels; 1 to 8"):
        simt.ingest_forward_cuda(plan, 0, 0, True, 9, np.zeros((1, 3), np.int64), 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="song 0 has a negative size"):
        simt.ingest_forward_cuda(plan, 0, 0, True, 1, np.array([[0, -1, 0]]), 0, 0, 0, 0, 0)


@pytest.mark.parametrize("backend", backends.params("cuda"))
def test_a_gpu_tensor_and_a_graph(backend: str) -> None:
    pcm = torch.from_numpy(recording(30_000, 2, np.int16))
    wanted = ops.ingest(pcm.cuda(), 44100)
    assert wanted.is_cuda
    np.testing.assert_allclose(wanted.cpu().numpy(), ops.ingest(pcm.numpy(), 44100), atol=1e-6)
    still = torch.zeros_like(pcm).cuda()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = ops.ingest(still, 44100)
    still.copy_(pcm)
    graph.replay()
    assert torch.equal(captured, wanted)
