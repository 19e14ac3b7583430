"""The instructions a kernel was written for are in its PTX: a wide load that became four narrow ones fails here."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import kernel_tables as tables
import pytest

WIDE_LOAD = r"ld\.global(\.nc|\.relaxed\.\w+)?(\.L1::\w+)?(\.v4\.[bfu]32|\.v2\.[bfu]64|\.v4\.[bfu]64)"
WIDE_STORE = r"st\.global(\.cs|\.wb)?(\.v4\.[bfu]32|\.v2\.[bfu]64)"
TENSOR_CORE = r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\."
LOAD_MATRIX = r"ldmatrix\.sync\.aligned\.m8n8\."
ASYNC_COPY = r"cp\.async\.c[ag]\.shared\.global"

# source below csrc -> [(kernels, as a pattern over their short names; instructions, as patterns that each must show)]
# The one that compiles longest comes first.
EXPECTED: dict[str, list[tuple[str, list[str]]]] = {
    "attention/attention_cuda.cu": [
        (r"attention_\w+<__half,", [TENSOR_CORE + r"f16\.f16\.f32", LOAD_MATRIX + "x4", ASYNC_COPY + ".*, 16, "]),
        (r"attention_\w+<__nv_bfloat16,", [TENSOR_CORE + r"bf16\.bf16\.f32", LOAD_MATRIX + "x4", r"ex2\.approx"]),
        (r"attention_\w+<float,", [r"fma\.rn\.f32", ASYNC_COPY + ".*, 16, "]),
    ],
    "simt/simt_test.cu": [
        (r"row_sum$", [r"shfl\.sync\.bfly\.b32", r"bar(rier)?\.sync"]),
        (
            r"product<__half",
            [TENSOR_CORE + r"f16\.f16\.f32", LOAD_MATRIX + r"x4\.shared"],
        ),
        (
            r"product<__nv_bfloat16",
            [TENSOR_CORE + r"bf16\.bf16\.f32", LOAD_MATRIX + r"x2\.trans\.shared"],
        ),
        (r"copies$", [ASYNC_COPY + r".*, 16, ", r"cp\.async\.wait_group 1;"]),
        (r"atomics$", [r"(atom|red)\.global\.add\.f32", r"atom\.global\.cas\.b32"]),
    ],
    "kd_loss/kd_loss_cuda.cu": [
        (r"rows_in_registers<(float, 4|__\w+, 8),", [WIDE_LOAD, WIDE_STORE, r"ex2\.approx", r"shfl\.sync\.bfly"]),
        (r"scale<(float, 4|__\w+, 8)>", [WIDE_LOAD, WIDE_STORE]),
    ],
    "cqt/cqt_cuda.cu": [(r"cqt_octaves", [ASYNC_COPY + ".*, 16, ", r"fma\.rn\.f32"])],
    "ingest/ingest_cuda.cu": [(r"ingest_groups", [WIDE_LOAD, WIDE_STORE, r"fma\.rn\.f32"])],
}

needs_nvcc = pytest.mark.skipif(not (shutil.which("nvcc") and shutil.which("c++filt")), reason="needs nvcc and c++filt")


@pytest.fixture(scope="module")
def ptx() -> dict[str, dict[str, str]]:
    sources = [tables.ROOT / "csrc" / name for name in EXPECTED]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(EXPECTED, pool.map(tables.ptx_of, sources), strict=True))


@needs_nvcc
@pytest.mark.parametrize("source,kernels", [(source, row[0]) for source, rows in EXPECTED.items() for row in rows])
def test_expected_instructions_are_there(ptx: dict[str, dict[str, str]], source: str, kernels: str) -> None:
    wanted = next(row[1] for row in EXPECTED[source] if row[0] == kernels)
    bodies = {name: body for name, body in ptx[source].items() if re.search(kernels, name)}
    assert bodies, f"no kernel of {source} matches {kernels}; it has {sorted(ptx[source])}"
    for name, body in bodies.items():
        for instruction in wanted:
            assert re.search(instruction, body), f"{name} of {source} has no {instruction}"
