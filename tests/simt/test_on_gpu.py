"""The self-test's right kernels on a real GPU: what the host reading says of shuffles, fragments and copies is true."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import backends
import numpy as np
import pytest

CSRC = Path(__file__).parents[2] / "csrc"

pytestmark = [
    *backends.needs_cuda(),
    backends.needs_simt(),
    pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gpu") / "simt_gpu"
    sources = [CSRC / "simt/simt_test.cu", CSRC / "common/status.cpp", Path(__file__).with_name("simt_gpu.cu")]
    command = ["nvcc", "-std=c++17", "-arch=native", f"-I{CSRC}", *map(str, sources), "-o", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.mark.parametrize(
    "name,inputs,outputs,option",
    [
        ("row_sum", 7 * 301, 7, 0),
        ("row_sum_dynamic", 7 * 301, 7, 0),
        ("row_sum_dynamic", 7 * 301, 7, 100 * 1024),
        ("coordinates", 1, 12 * 24, 0),
        ("collectives", 32, 32 * 12, 0),
        ("barrier_votes", 96, 96, 0),
        ("atomics", 500, 7, 0),
        ("product_half", 384, 128, 0),
        ("product_bfloat16", 384, 128, 0),
        ("copies", 500, 500, 0),
        ("half_sums", 20, 5, 0),
    ],
)
def test_the_gpu_agrees(program: Path, name: str, inputs: int, outputs: int, option: int) -> None:
    data = np.random.default_rng(7).standard_normal(inputs).astype(np.float32)
    if name == "atomics":
        data = np.floor(np.abs(data) * 20)
    expected = np.zeros(outputs, np.float32)
    backends.module("simt").self_test(name, data, expected, option)
    command = [program, name, str(inputs), str(outputs), str(option)]
    done = subprocess.run(command, input=data.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = np.frombuffer(done.stdout, np.float32)
    if name in ("half_sums", "atomics"):  # bits and whole numbers in float's clothes
        assert (found[2:].view(np.uint32) == expected[2:].view(np.uint32)).all()
        found, expected = found[:2], expected[:2]
    assert found == pytest.approx(expected, rel=1e-6, abs=2e-6)
