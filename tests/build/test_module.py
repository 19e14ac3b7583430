"""What the built module is made of: stubs, symbols, libraries, and what the build says of itself."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import chordfast
from chordfast._native import native
from chordfast.errors import ChordfastError

PACKAGE = Path(chordfast.__file__).parent


def test_stub_names_exactly_what_the_module_has() -> None:
    found: dict[str, set[str]] = {}
    for node in ast.parse((PACKAGE / "_C.pyi").read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = set()
        elif isinstance(node, ast.ClassDef):
            found[node.name] = {item.name for item in node.body if isinstance(item, ast.FunctionDef)} - {"__init__"}
    module = native()
    if not module.build_info()["with_cuda"]:
        found = {
            name: methods for name, methods in found.items() if name == "cuda_devices" or "cuda" not in name.lower()
        }
    built = {}
    for name in (n for n in dir(module) if not n.startswith("_")):
        item = getattr(module, name)
        built[name] = {n for n in dir(item) if not n.startswith("_")} if isinstance(item, type) else set()
    assert found == built


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("nm"), reason="needs nm on Linux")
def test_only_the_entry_point_is_exported_and_no_gpu_library_is_needed() -> None:
    library = native().__file__
    symbols = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["PyInit__C"]
    dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    needed = [line for line in dynamic.splitlines() if "NEEDED" in line]
    assert needed and not any(word in line for line in needed for word in ("cuda", "torch", "c10"))


def test_the_build_says_what_it_holds() -> None:
    info = native().build_info()
    assert info["simd"] in ("plain", "avx2", "avx512")
    assert info["with_cuda"] == bool(info["cuda_archs"])
    if os.environ.get("CHORDFAST_CUDA") == "ON":
        assert info["with_cuda"]
        assert info["cuda_archs"] == "80-real 90-real 100"
    assert isinstance(native().cuda_devices(), list)


@pytest.mark.parametrize("code", ["import chordfast", "from chordfast.cli import main", "from chordfast import ops"])
def test_importing_is_cheap(code: str) -> None:
    check = f"{code}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_missing_native_module_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chordfast._native._module", None)
    monkeypatch.setitem(sys.modules, "chordfast._C", None)
    monkeypatch.delattr(chordfast, "_C", raising=False)
    with pytest.raises(ChordfastError, match=r"chordfast\._C cannot be loaded .* build it with 'pip install -e \.'"):
        native()
