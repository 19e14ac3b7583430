"""The host reading of CUDA: right kernels give the right numbers under every order, wrong ones are found and named."""

from __future__ import annotations

import backends
import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = backends.needs_simt()

Floats = NDArray[np.float32]


def run(name: str, data: Floats | None = None, size: int = 1, option: int = 0, fill: float = 0.0) -> Floats:
    """Output of one case of csrc/simt/simt_test.cu or simt_faults.cu, prefilled with ``fill``."""
    out = np.full(size, fill, np.float32)
    given = np.zeros(1, np.float32) if data is None else np.ascontiguousarray(data, np.float32)
    backends.module("simt").self_test(name, given, out, option)
    return out


def everywhere(name: str, data: Floats | None = None, size: int = 1, option: int = 0, fill: float = 0.0) -> Floats:
    result: Floats = backends.same_under_all_schedules(lambda: run(name, data, size, option, fill))
    return result


def noise(*shape: int) -> Floats:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


# Right kernels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["row_sum", "row_sum_dynamic"])
def test_sums_by_shuffles_and_barriers(name: str) -> None:
    data = noise(7, 301)
    assert everywhere(name, data, 7) == pytest.approx(data.sum(1, dtype=np.float64), abs=2e-5)


def test_coordinates_of_three_dimensions() -> None:
    out = everywhere("coordinates", size=12 * 24).reshape(2, 2, 3, 2, 3, 4)
    bz, by, bx, tz, ty, tx = np.indices(out.shape)
    assert (out == bx + 10 * by + 100 * bz + 1000 * tx + 10000 * ty + 100000 * tz).all()


def test_collectives_lane_by_lane() -> None:
    x, lane = noise(32), np.arange(32)
    out = everywhere("collectives", x, 32 * 12).reshape(32, 12).T
    positive = x > 0
    segment = lane // 16 * 16
    expected = [
        np.full(32, x[5]),
        x[lane // 8 * 8 + (lane + 3) % 8],
        x[np.where(lane - 3 >= segment, lane - 3, lane)],
        x[np.where(lane + 3 < segment + 16, lane + 3, lane)],
        x[lane ^ 17],
        np.full(32, positive.sum()),
        np.full(32, 2),
        np.where(positive, positive.sum(), (~positive).sum()),
        np.full(32, 31),
        np.repeat(x.reshape(2, 16).sum(1), 16),
        np.repeat(lane.reshape(2, 16).sum(1), 16),
        x[lane ^ 1].astype(np.float16),
    ]
    for row, want in zip(out, expected, strict=True):
        assert row == pytest.approx(want.astype(np.float64), abs=1e-6)


def test_barrier_votes() -> None:
    data = noise(96)
    positive = int((data > 0).sum())
    assert (everywhere("barrier_votes", data, 96) == positive + 2000).all()
    assert (everywhere("barrier_votes", np.abs(data), 96) == 96 + 3000).all()


def test_atomics_lose_nothing() -> None:
    data = np.random.default_rng(3).integers(0, 50, 500).astype(np.float32)
    out = everywhere("atomics", data, 7)
    assert out[:3].view(np.int32).tolist() == [500, data.max(), data.sum()]
    assert out[3:].tolist() == np.bincount(data.astype(int) % 4, minlength=4).tolist()


def round_to_bfloat16(x: Floats) -> Floats:
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("kind", ["half", "bfloat16"])
def test_tensor_core_product_against_float64(kind: str) -> None:
    data = noise(256 + 128)
    rounded = data.astype(np.float16) if kind == "half" else round_to_bfloat16(data)
    a, b = np.split(rounded.astype(np.float64), [256])
    expected = a.reshape(16, 16) @ b.reshape(16, 8) + 1.0
    assert everywhere(f"product_{kind}", data, 128).reshape(16, 8) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [4, 127, 128, 500])
def test_asynchronous_copies_in_two_stages(n: int) -> None:
    data = noise(n)
    assert (everywhere("copies", data, n) == 2 * data).all()


def test_half_types_round_as_numpy_does() -> None:
    data = noise(20)
    out = everywhere("half_sums", data, 5)
    assert out[0] == pytest.approx(data.astype(np.float16).astype(np.float64).sum(), abs=1e-5)
    assert out[1] == pytest.approx(round_to_bfloat16(data).astype(np.float64).sum(), abs=1e-5)
    assert (out[2:3].view(np.float16) == data[:2].astype(np.float16)).all()
    assert out[3:4].view(np.uint16).tolist() == (round_to_bfloat16(data[:2]).view(np.uint32) >> 16).tolist()
    assert int(out[4:5].view(np.uint32)[0]) == 0xDEADBEEF * 0x12345678 >> 32


# Wrong kernels: the order of threads shows it -----------------------------------------------------------------------


@pytest.mark.parametrize("name,threads", [("read_too_early", 64), ("overwrite_too_early", 64), ("warp_in_step", 32)])
def test_a_missing_barrier_changes_the_result(name: str, threads: int) -> None:
    data = noise(threads)
    right = everywhere(name, data, threads, option=1)
    assert np.isfinite(right).all()
    with pytest.raises(AssertionError, match="depends on the order of threads"):
        everywhere(name, data, threads)


def test_a_block_that_needs_another_changes_the_result() -> None:
    with pytest.raises(AssertionError, match="depends on the order of threads"):
        everywhere("block_order", size=8)


def test_memory_never_written_is_nan() -> None:
    out = everywhere("never_written", size=96).reshape(3, 32)
    assert (out[:, ::2] == 1).all()
    assert np.isnan(out[:, 1::2]).all()


def test_a_lane_that_the_mask_does_not_name_is_nan() -> None:
    assert np.isnan(everywhere("unnamed_source", size=16)).all()


# Wrong kernels: an error names kernel, block and threads ------------------------------------------------------------

FAULTS = [
    (
        "divergent",
        0,
        r"kernel divergent, block .*: divergent __syncthreads: threads 0-31 returned; threads 32-127 wait at __syncth",
    ),
    (
        "divergent",
        1,
        r"threads 0-31 wait at __syncthreads \(\S+:\d+\); threads 32-127 wait at __syncthreads \(\S+:\d+\)",
    ),
    ("divergent", 2, r"threads 0-39, 41-127 wait .*; threads 40 wait at __shfl_sync with mask 0xffffffff"),
    ("masks", 0, r"threads 0-15 wait at __shfl_sync with mask 0xffffffff \(\S+\); threads 16-31 wait at __syncthreads"),
    ("masks", 1, r"thread \d+: __shfl_sync with mask 0x0000ffff \(\S+\), which does not name the calling lane \d+"),
    ("masks", 2, r"(names lane 31, which has returned|threads 0-30 wait at __shfl_sync.*threads 31 returned)"),
    (
        "masks",
        3,
        r"a warp collective never completes: threads 0-15 wait at __shfl_sync .*; threads 16-31 wait at __shfl",
    ),
    ("masks", 4, r"__shfl_sync: width 12 is not a power of two up to 32"),
    ("masks", 5, r"a warp collective never completes: .*threads 8-31 wait at __any_sync with mask 0xffffffff"),
    ("shared_bounds", 16, r"shared array tile: written at byte 64 of 64"),
    ("shared_bounds", -1, r"shared array tile: written 1 bytes before its start"),
    ("dynamic_bounds", 20, r"dynamic shared memory: written at byte 80 of 64"),
    ("dynamic_not_given", 0, r"dynamic shared memory is used, but the launch gave none"),
    ("too_much_shared", 0, r"shared memory: 53248 static and 0 dynamic bytes do not fit"),
    ("too_much_dynamic", 0, r"49156 bytes of dynamic shared memory asked for, 49152 allowed"),
    ("copy_faults", 1, r"cp.async \(\S+\): an address is not aligned to 16 bytes"),
    ("copy_faults", 2, r"cp.async \(\S+\): the destination is not in shared memory"),
    ("copy_faults", 3, r"cp.async \(\S+\): 20 of 16 bytes"),
    ("trap", 0, r"kernel trap, block \(0, 0, 0\): thread 3: __trap was called"),
    ("launch", 0, r"kernel trap: invalid launch of grid \(0, 1, 1\), block \(32, 1, 1\)"),
    ("launch", 1, r"invalid launch of grid \(1, 1, 70000\)"),
    ("launch", 2, r"invalid launch .* block \(1025, 1, 1\)"),
    ("launch", 3, r"invalid launch .* block \(1, 1, 65\)"),
]


@pytest.mark.parametrize("order,seed", backends.SCHEDULES)
@pytest.mark.parametrize("name,option,message", FAULTS)
def test_faults_are_named(name: str, option: int, message: str, order: str, seed: int) -> None:
    if "_bounds" in name and backends.module("simt").address_sanitizer:
        pytest.skip("AddressSanitizer would end the process")
    with backends.schedule(order, seed), pytest.raises(RuntimeError, match=message):
        run(name, noise(128), 128, option)
    data = noise(2, 64)  # and the module goes on working
    assert run("row_sum", data, 2) == pytest.approx(data.sum(1, dtype=np.float64), abs=1e-5)


def test_an_error_names_the_block() -> None:
    with backends.schedule("reverse"), pytest.raises(RuntimeError, match=r"kernel divergent, block \(1, 0, 0\): "):
        run("divergent", size=128)


def test_a_copy_never_waited_for_does_not_arrive() -> None:
    data = noise(128)
    with backends.schedule("forward"):
        assert np.isnan(run("copy_faults", data, 32)).all()
    with pytest.raises(AssertionError, match="depends on the order of threads"):
        everywhere("copy_faults", data, 32)


def test_large_dynamic_memory_when_allowed() -> None:
    data = noise(2, 100)
    allowed = run("row_sum_dynamic", data, 2, option=100 * 1024)
    assert allowed == pytest.approx(data.sum(1, dtype=np.float64), abs=1e-5)
    with pytest.raises(RuntimeError, match="307200 bytes do not fit"):
        run("row_sum_dynamic", data, 2, option=300 * 1024)


# The schedule -------------------------------------------------------------------------------------------------------


def test_schedules_are_set_and_put_back() -> None:
    simt = backends.module("simt")
    before = simt.schedule()
    with backends.schedule("shuffle", 12):
        assert simt.schedule() == ("shuffle", 12)
    assert simt.schedule() == before
    with pytest.raises(ValueError, match="schedule 'random' is none of forward, reverse, shuffle"):
        simt.set_schedule("random")


def test_a_shuffle_is_the_same_for_the_same_seed() -> None:
    data = noise(64)

    def shuffled(seed: int) -> bytes:
        with backends.schedule("shuffle", seed):
            return run("read_too_early", data, 64).tobytes()

    assert shuffled(5) == shuffled(5)
    assert len({shuffled(seed) for seed in range(6)}) > 1


def test_counters_count() -> None:
    simt = backends.module("simt")
    before = simt.counters()
    run("row_sum", noise(3, 64), 3)
    after = simt.counters()
    gained = {key: after[key] - before[key] for key in after}
    assert (gained["launches"], gained["blocks"], gained["threads"]) == (1, 3, 3 * 128)
    assert (gained["barriers"], gained["collectives"]) == (3, 3 * 4 * 5)
    assert gained["seconds"] > 0
