"""The host reading under AddressSanitizer: kernels that leave their arrays are stopped at the very line."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import backends
import pytest

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"


def cuda_headers() -> list[Path]:
    """Include folders that hold CUDA's headers, as CMakeLists.txt finds them; empty where there are none."""
    roots = [Path(nvcc).resolve().parents[1] / "include"] if (nvcc := shutil.which("nvcc")) else []
    roots += [Path(home) / "include" for name in ("CUDA_HOME", "CUDA_PATH") if (home := os.environ.get(name))]
    roots.append(Path("/usr/local/cuda/include"))
    if spec := importlib.util.find_spec("nvidia"):  # the wheels
        roots += [root for folder in spec.submodule_search_locations or [] for root in Path(folder).glob("*/include")]
    found = [root for root in roots if (root / "cuda_fp16.h").exists() and (root / "crt/host_defines.h").exists()]
    return [found[0], found[0] / "cccl"] if found else []


pytestmark = [
    backends.needs_simt(),
    pytest.mark.skipif(not shutil.which("g++") or not cuda_headers(), reason="needs g++ and CUDA's headers"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The self-test's kernels as a program of their own, compiled with AddressSanitizer."""
    folder = tmp_path_factory.mktemp("asan")
    flags = [
        "-std=c++17",
        "-O1",
        "-g",
        "-fsanitize=address",
        "-fno-omit-frame-pointer",
        "-DCF_SIMT",
        "-DCF_SIMT_PORTABLE",
        f"-I{CSRC}",
    ]
    flags += ["-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas", *(f"-isystem{path}" for path in cuda_headers())]
    sources = [
        *CSRC.glob("simt/*.cpp"),
        *CSRC.glob("simt/*.cu"),
        CSRC / "common/status.cpp",
        Path(__file__).with_name("simt_asan.cpp"),
    ]
    objects = [folder / f"{source.name}.o" for source in sources]
    compilers = [
        subprocess.Popen(
            ["g++", *flags, "-x", "c++", "-c", str(source), "-o", str(made)], stderr=subprocess.PIPE, text=True
        )
        for source, made in zip(sources, objects, strict=True)
    ]
    errors = [compiler.communicate()[1] for compiler in compilers]
    if any(compiler.returncode for compiler in compilers):
        if "libasan" in "".join(errors) or "fsanitize" in "".join(errors):
            pytest.skip("the compiler has no AddressSanitizer")
        pytest.fail("".join(errors))
    link = ["g++", "-fsanitize=address", *map(str, objects), "-o", str(folder / "simt_asan")]
    linked = subprocess.run(link, capture_output=True, text=True, check=False)
    if linked.returncode:
        pytest.skip(f"the compiler has no AddressSanitizer: {linked.stderr[-200:]}")
    return folder / "simt_asan"


def run(program: Path, *words: str, order: str = "forward") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CHORDFAST_SIMT_SCHEDULE": order, "ASAN_OPTIONS": "detect_leaks=0"}
    environment.pop("LD_PRELOAD", None)
    return subprocess.run([program, *words], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffle:3"])
@pytest.mark.parametrize("name", ["row_sum", "row_sum_dynamic", "coordinates", "collectives", "product_half", "copies"])
def test_right_kernels_raise_no_alarm(program: Path, name: str, order: str) -> None:
    done = run(program, name, "0", "384", order=order)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name,option,size,line,what",
    [
        ("global_bounds", "1", "64", "out[i] = in[i + offset]", "heap-buffer-overflow"),
        ("global_bounds", "-1", "64", "out[i] = in[i + offset]", "heap-buffer-overflow"),
        ("shared_bounds", "16", "64", "tile[at] = 1.0f", "use-after-poison"),
        ("dynamic_bounds", "17", "64", "tile[at] = out[0]", "use-after-poison"),
    ],
)
def test_leaving_an_array_is_stopped_at_its_line(
    program: Path, name: str, option: str, size: str, line: str, what: str
) -> None:
    done = run(program, name, option, size)
    text = (CSRC / "simt/simt_faults.cu").read_text().splitlines()
    number = next(i for i, words in enumerate(text, 1) if line + ";" in words)
    assert done.returncode != 0
    assert f"AddressSanitizer: {what}" in done.stderr
    assert f"simt_faults.cu:{number}" in done.stderr


def test_an_error_leaves_no_false_alarm(program: Path) -> None:
    done = run(program, "divergent", "0", "128", "row_sum", "0", "384", "divergent", "1", "128", "copies", "0", "384")
    assert done.returncode == 4
    assert done.stderr.count("divergent __syncthreads") == 2
    assert "AddressSanitizer" not in done.stderr
