"""Registers, shared memory and spills of every kernel and architecture against a checked-in table: no GPU is needed.

After a wanted change: build, then ``CHORDFAST_UPDATE_PTXAS=1 pytest tests/build/test_ptxas.py`` rewrites ptxas.json.
"""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

import kernel_tables as tables
import pytest

from chordfast._native import native

LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z3onev' for 'sm_80'
ptxas info    : Function properties for _Z3onev
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 1792 bytes smem, 752 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compiling entry function '_Z3onev' for 'sm_90'
ptxas info    : Function properties for _Z3onev
    32 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
ptxas info    : Compile time = 10.082 ms
"""
PARSED = {
    ("_Z3onev", "80"): {"registers": 40, "shared": 1792, "spill": 0, "stack": 0},
    ("_Z3onev", "90"): {"registers": 255, "shared": 0, "spill": 40, "stack": 32},
}
KERNEL = {"one": {"80": {"registers": 40, "shared": 1792, "spill": 0, "stack": 0}}}


def changed(**usage: int) -> dict[str, dict[str, tables.Usage]]:
    table = copy.deepcopy(KERNEL)
    table["one"]["80"].update(usage)
    return table


def test_the_log_is_read() -> None:
    assert tables.parse_ptxas(LOG) == PARSED


@pytest.mark.parametrize(
    "built,complaint",
    [
        (changed(registers=44), None),
        (changed(registers=20, shared=16), None),
        (changed(registers=45), "one for sm_80: 45 registers, 40 in the table"),
        (changed(spill=4), "one for sm_80: 4 bytes spill, 0 in the table"),
        (changed(stack=8), "one for sm_80: 8 bytes stack, 0 in the table"),
        (changed(shared=4096), "one for sm_80: 4096 bytes shared, 1792 in the table"),
        ({}, "one is in the table, but was not built"),
        (KERNEL | {"two": KERNEL["one"]}, "two is not in the table"),
        ({"one": {"90": KERNEL["one"]["80"]}}, "one for sm_90 is not in the table"),
    ],
)
def test_what_got_worse_is_told(built: dict[str, dict[str, tables.Usage]], complaint: str | None) -> None:
    assert tables.complaints(KERNEL, built, growth=True) == ([complaint] if complaint else [])


def test_another_compiler_may_take_other_registers() -> None:
    assert tables.complaints(KERNEL, changed(registers=90), growth=False) == []
    assert len(tables.complaints(KERNEL, changed(spill=4), growth=False)) == 1


def test_the_table_is_written_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TABLE", tmp_path / "ptxas.json")
    tables.write_table("13.0.88", KERNEL, tables.TABLE)
    assert tables.read_table() == ("13.0.88", KERNEL)


def test_no_kernel_got_worse() -> None:
    info = native().build_info()
    if not info["with_cuda"]:
        pytest.skip("chordfast._C was built without CUDA")
    if not shutil.which("c++filt"):
        pytest.skip("needs c++filt")
    folder = tables.build_folder() / "ptxas"
    missing = [source.stem for source in tables.kernel_sources() if not (folder / f"{source.stem}.log").exists()]
    if missing:
        pytest.skip(f"no ptxas log of {', '.join(missing)} in {folder} (built elsewhere?)")
    built = tables.built_usage(folder)
    if os.environ.get("CHORDFAST_UPDATE_PTXAS") == "1":
        if info["cuda_archs"] != "80-real 90-real 100":
            pytest.fail("the table is of the default architectures; build without CHORDFAST_CUDA_ARCHS to rewrite it")
        tables.write_table(info["cuda_version"], built, tables.TABLE)
    nvcc, table = tables.read_table()
    same_compiler = nvcc.split(".")[:2] == info["cuda_version"].split(".")[:2]
    wrong = tables.complaints(table, built, growth=same_compiler)
    assert not wrong, "\n".join(
        [*wrong, "if this is wanted: CHORDFAST_UPDATE_PTXAS=1 pytest tests/build/test_ptxas.py"]
    )
