"""The constant-Q transform's CUDA kernels (by _simt, and on a GPU where there is one), and songs of any lengths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import backends
import numpy as np
import pytest
import soundfile as sf
import torch
from test_cqt import assert_close, expected, logarithm

from chordfast import ops
from chordfast._native import native
from chordfast.errors import UsageError
from chordfast.ops import BTC, CREMA, CREMA_H1, CREMA_H2, FeaturePlan
from chordfast.ops._cqt_batch import flat_layout, padded_layout, scaling
from chordfast.ops._torch_cqt import launch

GOLDEN = Path(__file__).parent.parent / "golden"
SMALL = FeaturePlan(n_bins=7, bins_per_octave=12, fmin=110.0, hop=512)
KERNELS = backends.params("simt", "cuda")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return sf.read(GOLDEN / "clip_mono_22050.flac", dtype="float32")[0]


def offsets_of(lengths: list[int]) -> list[int]:
    return [0, *np.cumsum(lengths).tolist()]


def flat(
    backend: str,
    x: np.ndarray,
    lengths: list[int],
    plan: FeaturePlan,
    normalise: tuple[float, float] | None = None,
    half: bool = False,
) -> np.ndarray:
    """Frames of songs that stand one after the other in x, by the CUDA kernels."""
    samples = torch.from_numpy(x[: sum(lengths)].copy())
    if backend == "cuda":
        return ops.cqt_flat(samples.cuda(), offsets_of(lengths), plan, normalise=normalise, half=half)[0].cpu().numpy()
    layout = flat_layout(len(samples), offsets_of(lengths))
    return launch(backends.module(backend), 0, 0, samples, layout, plan, *scaling(normalise), half).numpy()


def magnitude(values: np.ndarray, plan: FeaturePlan) -> np.ndarray:
    return np.exp(values) - 1e-6 if plan.output == "log" else values


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize(
    ("plan", "lengths"),
    [
        (SMALL, [5000, 0, 1, 2, 700, 33]),
        (FeaturePlan(n_bins=24, bins_per_octave=24, fmin=440.0, hop=512), [5000]),
        (FeaturePlan(n_bins=40, bins_per_octave=36, fmin=440.0, hop=512), [9001, 333]),
        (FeaturePlan(n_bins=48, bins_per_octave=48, fmin=220.0, hop=1024), [9001]),
        (FeaturePlan(n_bins=24, bins_per_octave=12, fmin=27.5), [12_345]),
        (BTC, [12_345, 2049]),
        (CREMA, [6001]),
        (FeaturePlan(sample_rate=44100, hop=4096, n_bins=252, bins_per_octave=36), [9000]),  # two passes of the pyramid
        (FeaturePlan(n_bins=1, bins_per_octave=1, fmin=4000.0, hop=64, output="magnitude"), [500]),  # no level is made
    ],
    ids=lambda v: f"{v.n_bins}x{v.bins_per_octave}" if isinstance(v, FeaturePlan) else "",
)
def test_equals_the_cpu_and_the_float64_procedure(
    clip: np.ndarray, backend: str, plan: FeaturePlan, lengths: list[int]
) -> None:
    x = clip[3000 : 3000 + sum(lengths)]
    found = flat(backend, x, lengths, plan)
    wanted, starts = ops.cqt_flat(x, offsets_of(lengths), plan)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(magnitude(found, plan), magnitude(wanted, plan), rtol=2e-6, atol=2e-6)
    songs = np.split(x, offsets_of(lengths)[1:-1])
    truth = np.concatenate([expected(song, plan) for song in songs])
    assert starts.tolist() == [0, *np.cumsum([plan.n_frames(n) for n in lengths])]
    assert_close(logarithm(found, plan), np.log(truth + 1e-6), mean=6e-5, p999=4e-3)


@pytest.mark.parametrize("backend", KERNELS)
def test_any_length_with_exact_ends(clip: np.ndarray, backend: str) -> None:
    lengths = [0, 1, 2, 3, 5, 31, 100, 511, 512, 1000, 2047, 2048, 2049, 4095, 4096, 6143, 6145]
    found = flat(backend, clip[3000:], lengths, BTC)
    starts = np.cumsum([0, *(BTC.n_frames(n) for n in lengths)])
    for i, n in enumerate(lengths):
        at = 3000 + sum(lengths[:i])
        wanted = np.log(expected(clip[at : at + n], BTC) + 1e-6)
        assert np.abs(found[starts[i] : starts[i + 1]] - wanted).max(initial=0) <= 2e-3, n


@backends.needs_simt()
@pytest.mark.parametrize("plan", [SMALL, FeaturePlan(n_bins=30, bins_per_octave=24, fmin=220.0, hop=1024)])
def test_the_order_of_threads_does_not_matter(clip: np.ndarray, plan: FeaturePlan) -> None:
    run = lambda: flat("simt", clip[1000:], [7000, 900], plan)  # noqa: E731
    assert np.isfinite(backends.same_under_all_schedules(run)).all()


@pytest.mark.parametrize("backend", KERNELS)
def test_a_song_has_the_same_bits_in_any_batch(clip: np.ndarray, backend: str) -> None:
    lengths = [4000, 7, 2500, 0, 900]
    whole = flat(backend, clip[500:], lengths, SMALL)
    at, row = 500, 0
    for n in lengths:
        alone = flat(backend, clip[at : at + n], [n], SMALL)
        assert np.array_equal(whole[row : row + len(alone)], alone)
        at, row = at + n, row + len(alone)
    assert row == len(whole)


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Memory from ``torch.empty`` holds NaN: what a kernel reads without having written it shows in the result."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("plan", [SMALL, BTC, FeaturePlan(sample_rate=44100, hop=4096, n_bins=252, bins_per_octave=36)])
def test_nothing_is_read_that_was_not_written(
    clip: np.ndarray, backend: str, plan: FeaturePlan, poisoned_memory: None
) -> None:
    assert torch.empty(4, dtype=torch.uint8).tolist() == [255] * 4
    assert np.isfinite(flat(backend, clip[500:], [7001, 2, 333, 12_289], plan)).all()


@pytest.mark.parametrize("backend", KERNELS)
def test_more_songs_than_one_launch_can_name(clip: np.ndarray, backend: str) -> None:
    lengths = [2 + i % 5 for i in range(170)]
    np.testing.assert_allclose(
        flat(backend, clip[500:], lengths, SMALL),
        ops.cqt_flat(clip[500 : 500 + sum(lengths)], offsets_of(lengths), SMALL)[0],
        atol=2e-5,
    )


@pytest.mark.parametrize("backend", KERNELS)
def test_normalised_and_half(clip: np.ndarray, backend: str) -> None:
    plain = flat(backend, clip[500:], [5000], SMALL)
    scaled = flat(backend, clip[500:], [5000], SMALL, normalise=(-3.0, 4.0))
    np.testing.assert_allclose(scaled, (plain + 3.0) / 4.0, rtol=1e-6, atol=1e-6)
    narrow = flat(backend, clip[500:], [5000], SMALL, normalise=(-3.0, 4.0), half=True)
    assert narrow.dtype == np.float16 and np.array_equal(narrow, scaled.astype(np.float16))


@pytest.mark.parametrize("backend", ["cpu", *KERNELS])
def test_padded_batches(clip: np.ndarray, backend: str) -> None:
    lengths = [5000, 0, 1234, 1, 4999]
    x = np.full((5, 5000), np.nan, np.float32)  # what stands behind a song is not looked at
    for row, n in zip(x, lengths, strict=True):
        row[:n] = clip[700 : 700 + n]
    batch = torch.from_numpy(x)
    if backend == "simt":
        layout = padded_layout((5, 5000), lengths, SMALL)
        out = launch(backends.module("simt"), 0, 0, batch, layout, SMALL).reshape(5, layout.rows, SMALL.n_bins)
    else:
        out = ops.cqt(batch.to(backends.device(backend)), SMALL, lengths=torch.tensor(lengths)).cpu()
    assert out.shape == (5, SMALL.n_frames(5000), 7)
    for row, n in zip(out.numpy(), lengths, strict=True):
        alone = ops.cqt(clip[700 : 700 + n], SMALL)
        if backend == "cpu":
            assert np.array_equal(row[: len(alone)], alone)
        np.testing.assert_allclose(np.exp(row[: len(alone)]), np.exp(alone), rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(row[len(alone) :], np.log(1e-6), atol=1e-6)


def test_ragged_batches_on_the_cpu_have_the_bits_of_single_songs(clip: np.ndarray) -> None:
    lengths = [30_000, 2, 0, 12_345, 1]
    for threads in (1, 3):
        frames, starts = ops.cqt_flat(clip[: sum(lengths)], offsets_of(lengths), threads=threads)
        at = 0
        for s, n in enumerate(lengths):
            assert np.array_equal(frames[starts[s] : starts[s + 1]], ops.cqt(clip[at : at + n]))
            at += n
    batch = np.stack([clip[:30_000], clip[9:30_009]])
    padded = ops.cqt(batch, lengths=[30_000, 11_111], normalise=(1.0, 2.0))
    np.testing.assert_allclose(padded[1, :6], (ops.cqt(batch[1, :11_111]) - 1.0) / 2.0, rtol=1e-6)
    np.testing.assert_allclose(padded[1, 6:], (np.log(1e-6) - 1.0) / 2.0, rtol=1e-6)
    assert (ops.cqt(batch, CREMA, lengths=(30_000, 11_111))[1, 6:] == 0).all()
    long = np.tile(clip, 5)
    assert np.array_equal(ops.cqt_flat(long, [0, len(long)], threads=3)[0], ops.cqt(long))
    assert ops.cqt(batch, half=True).dtype == np.float16
    empty, starts = ops.cqt_flat(clip[:0], [0])
    assert empty.shape == (0, 144) and starts.tolist() == [0]


def test_as_an_operator(clip: np.ndarray) -> None:
    x = torch.from_numpy(np.stack([clip[:9000], clip[500:9500]]))
    compiled = torch.compile(lambda v: ops.cqt(v, lengths=[9000, 4000], half=True) * 2, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), ops.cqt(x, lengths=[9000, 4000], half=True) * 2)
    meta = ops.cqt(x.to("meta"), lengths=[9000, 4000], half=True)
    assert (meta.shape, meta.dtype) == ((2, 5, 144), torch.float16)
    frames, starts = ops.cqt_flat(x.flatten(), torch.tensor([0, 100, 18_000]))
    assert torch.equal(frames[starts[0] : starts[1]], ops.cqt(x[0, :100]))
    plan = (22050, 2048, 144, 24, BTC.fmin, True)
    for lengths, stride, rows in (([9000, 4000], 9000, 5), ([9000], 9000, 5), ([9000, 4000], 0, 0)):
        arguments = (x, lengths, 2, stride, rows, 1, 0.0, 1.0, False, *plan)
        torch.library.opcheck(torch.ops.chordfast._cqt_songs.default, arguments)


def test_arguments_are_checked(clip: np.ndarray) -> None:
    batch = np.zeros((2, 100), np.float32)
    for lengths, sentence in (
        ([1, 2, 3], "3 lengths for samples of shape"),
        ([1, 101], "length 101 of row 1 is not within 0 ... 100"),
        ([-1, 3], "length -1 of row 0"),
        ([1.5, 2], "lengths must be a list"),
        (3, "lengths must be a list"),
    ):
        with pytest.raises(UsageError, match=sentence):
            ops.cqt(batch, lengths=lengths)
        with pytest.raises(UsageError, match=sentence):
            ops.cqt(torch.from_numpy(batch), lengths=lengths)
    for offsets in ([0, 50], [1, 100], [0, 60, 50, 100], []):
        with pytest.raises(UsageError, match="offsets must rise from 0 to 100"):
            ops.cqt_flat(batch[0], offsets)
    with pytest.raises(UsageError, match=r"flat samples have the shape \(2, 100\)"):
        ops.cqt_flat(batch, [0, 100])
    with pytest.raises(UsageError, match=r"flat samples have the shape \(2, 100\)"):
        ops.cqt_flat(torch.from_numpy(batch), [0, 100])
    for pair in ((1.0,), (0.0, 0.0), (float("nan"), 1.0), 3):
        with pytest.raises(UsageError, match="normalise is"):
            ops.cqt(batch, normalise=pair)
    with pytest.raises(UsageError, match="threads is 0"):
        ops.cqt_flat(clip[:100], [0, 100], threads=0)


@backends.needs_simt()
def test_the_native_side_refuses_impossible_plans_and_songs() -> None:
    simt = backends.module("simt")
    from chordfast.ops.cqt import native_filters

    broken = native_filters(SMALL)
    object.__setattr__(broken, "hop", 1)
    with pytest.raises(ValueError, match="hop 1 is too short"):
        simt.CqtCudaPlan(broken)
    plan = simt.CqtCudaPlan(native_filters(SMALL))
    with pytest.raises(ValueError, match="song 1 has a negative size"):
        songs = np.array([[0, 5, 0], [0, -5, 0]])
        simt.cqt_forward_cuda(plan, 0, 0, songs, 0, False, 0.0, 1.0, 0, 0, 0)
    with pytest.raises(ValueError, match=r"shape \[n, 3\]"):
        plan.workspace(np.zeros((2, 2), np.int64))


@pytest.mark.parametrize("backend", backends.params("cuda"))
class TestOnAGpu:
    def test_stored_features(self, clip: np.ndarray, backend: str) -> None:
        stored = np.load(GOLDEN / "cqt.npz")
        found = ops.cqt(torch.from_numpy(clip).cuda()).cpu().numpy()
        assert np.all(np.abs(np.exp(found) - 1e-6 - stored["mag"]) <= 1e-5 + 1e-5 * stored["mag"])
        assert_close(found, stored["log"], mean=5e-5, p999=3e-3)

    @pytest.mark.parametrize("plan", [BTC, CREMA_H1, CREMA_H2, CREMA, FeaturePlan(n_bins=100)])
    def test_long_signals(self, clip: np.ndarray, backend: str, plan: FeaturePlan) -> None:
        x = clip[100_000:180_001]
        found = ops.cqt(torch.from_numpy(x).cuda(), plan).cpu().numpy()
        assert_close(logarithm(found, plan), np.log(expected(x, plan) + 1e-6), mean=6e-5, p999=4e-3)

    def test_streams_graphs_and_views(self, clip: np.ndarray, backend: str) -> None:
        x = torch.from_numpy(np.stack([clip[:50_000], clip[9:50_009]])).cuda()
        lengths = [50_000, 20_001]
        wanted = ops.cqt(x, lengths=lengths)
        assert torch.equal(wanted, ops.cqt(x, lengths=lengths))
        other = torch.cuda.Stream()
        other.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(other):
            on_other = ops.cqt(x, lengths=lengths)
        torch.cuda.current_stream().wait_stream(other)
        assert torch.equal(on_other, wanted)
        strided = torch.stack([x, x], dim=-1)[..., 0]
        assert torch.equal(ops.cqt(strided, lengths=lengths), wanted)
        still = torch.zeros_like(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = ops.cqt(still, lengths=lengths)
        still.copy_(x)
        graph.replay()
        assert torch.equal(captured, wanted)
        compiled = torch.compile(lambda v: ops.cqt(v, lengths=lengths) * 2, fullgraph=True)
        assert torch.equal(compiled(x), wanted * 2)
        assert native().build_info()["with_cuda"]
