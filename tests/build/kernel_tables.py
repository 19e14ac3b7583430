"""What the CUDA compiler says of the kernels: ptxas logs of the build, PTX of a source, readable kernel names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("ptxas.json")
COLUMNS = ("registers", "shared", "spill", "stack")  # bytes but for the registers; shared is static

Usage = dict[str, int]


def build_folder() -> Path:
    """Where setup.py let CMake build for this interpreter."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return Path(os.environ.get("CHORDFAST_BUILD_DIR", ROOT / "build" / tag))


def kernel_sources() -> list[Path]:
    return sorted(ROOT.glob("csrc/*/*_cuda.cu"))


def demangle(names: list[str]) -> dict[str, str]:
    """Short C++ names ("chordfast::row_sum<float>") by mangled ones; needs c++filt."""
    text = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = [name.replace("chordfast::", "").replace("(anonymous namespace)::", "") for name in text.splitlines()]
    return dict(zip(names, short, strict=True))


def parse_ptxas(log: str) -> dict[tuple[str, str], Usage]:
    """{(mangled kernel, architecture): usage} out of the text of ``nvcc -Xptxas -v``."""
    found: dict[tuple[str, str], Usage] = {}
    current: Usage = {}
    for line in log.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)' for 'sm_(\w+)'", line):
            current = found.setdefault((entry[1], entry[2]), dict.fromkeys(COLUMNS, 0))
        elif "for 'sm_" in line:
            current = {}  # a device function that is not a kernel
        elif frame := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if current:
                current["stack"], current["spill"] = int(frame[1]), int(frame[2]) + int(frame[3])
        elif current and (used := re.search(r"Used (\d+) registers", line)):
            current["registers"] = int(used[1])
            current["shared"] = int(shared[1]) if (shared := re.search(r"(\d+) bytes smem", line)) else 0
    return found


def built_usage(folder: Path) -> dict[str, dict[str, Usage]]:
    """{kernel: {architecture: usage}} of the last build, from the logs that csrc/ptxas_log.py kept."""
    raw: dict[tuple[str, str], Usage] = {}
    for source in kernel_sources():
        raw |= parse_ptxas((folder / f"{source.stem}.log").read_text())
    names = demangle(sorted({kernel for kernel, _ in raw}))
    table: dict[str, dict[str, Usage]] = {}
    for (kernel, arch), usage in sorted(raw.items()):
        table.setdefault(names[kernel], {})[arch] = usage
    return table


def complaints(table: dict[str, dict[str, Usage]], built: dict[str, dict[str, Usage]], growth: bool) -> list[str]:
    """Sentences on what got worse; ``growth`` also compares registers (pointless with another compiler version)."""
    wrong = [f"{kernel} is in the table, but was not built" for kernel in table.keys() - built.keys()]
    wrong += [f"{kernel} is not in the table" for kernel in built.keys() - table.keys()]
    for kernel in table.keys() & built.keys():
        for arch, now in built[kernel].items():
            before = table[kernel].get(arch)
            if before is None:
                wrong.append(f"{kernel} for sm_{arch} is not in the table")
                continue
            for what in ("spill", "stack"):
                if now[what] > before[what]:
                    wrong.append(f"{kernel} for sm_{arch}: {now[what]} bytes {what}, {before[what]} in the table")
            if growth and now["registers"] > 1.1 * before["registers"]:
                wrong.append(
                    f"{kernel} for sm_{arch}: {now['registers']} registers, {before['registers']} in the table"
                )
            if growth and now["shared"] > before["shared"]:
                wrong.append(f"{kernel} for sm_{arch}: {now['shared']} bytes shared, {before['shared']} in the table")
    return sorted(wrong)


def read_table() -> tuple[str, dict[str, dict[str, Usage]]]:
    """nvcc's version, and the checked-in usage."""
    held = json.loads(TABLE.read_text())
    table = {
        kernel: {arch: dict(zip(COLUMNS, row, strict=True)) for arch, row in archs.items()}
        for kernel, archs in held["kernels"].items()
    }
    return held["nvcc"], table


def write_table(nvcc: str, built: dict[str, dict[str, Usage]], path: Path) -> None:
    """One line a kernel, so that a change of one shows as one line in a diff."""
    rows = []
    for kernel, archs in sorted(built.items()):
        columns = {arch: [archs[arch][column] for column in COLUMNS] for arch in sorted(archs, key=int)}
        rows.append(f"    {json.dumps(kernel)}: {json.dumps(columns)}")
    head = f'{{\n  "nvcc": {json.dumps(nvcc)},\n  "columns": {json.dumps(COLUMNS)},\n  "kernels": {{\n'
    path.write_text(head + ",\n".join(rows) + "\n  }\n}\n")


def ptx_of(source: Path, arch: str = "80") -> dict[str, str]:
    """{kernel: its PTX} of one source, compiled by nvcc for this test."""
    command = ["nvcc", "-std=c++17", f"-I{ROOT / 'csrc'}", f"-arch=compute_{arch}", "--ptx", str(source), "-o", "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pieces = re.split(r"^(?:\.weak |\.visible |)?\s*\.entry (\w+)\(", text, flags=re.MULTILINE)
    bodies = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    return {short: bodies[name] for name, short in demangle(list(bodies)).items()}
