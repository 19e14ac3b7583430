"""The house rules of docs/design.md: who may import whom, every op has all its files, nothing grows too long."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "chordfast"

FLOORS = {
    **dict.fromkeys(["errors", "files", "trace", "_native", "vocabulary"], 0),
    **dict.fromkeys(["ops", "reference"], 1),
    "nn": 2,
    "models": 3,
    **dict.fromkeys(["annotations", "audio", "decoding", "features", "store", "teachers"], 4),
    **dict.fromkeys(["labelling", "train", "evaluate", "view"], 5),
    **dict.fromkeys(["cli", "compat", "integrations"], 6),
}
# Within a floor only these pairs may import each other's names.
NEIGHBOURS = {
    ("ops", "reference"),
    ("vocabulary", "errors"),
    ("_native", "errors"),
    ("features", "audio"),
    ("teachers", "features"),
    ("teachers", "decoding"),
    ("decoding", "annotations"),
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of chordfast that a file imports, at its top or inside functions."""
    package = ["chordfast", *path.relative_to(PACKAGE).parent.parts]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        targets: list[list[str]] = []
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = [*base, *(node.module.split(".") if node.module else [])]
            targets = [[*start, alias.name] for alias in node.names]
        rooms |= {target[1] for target in targets if target[0] == "chordfast" and len(target) > 1}
    return rooms & FLOORS.keys()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_from_floors_below(path: Path) -> None:
    here = room(path)
    if here in ("__main__", "__init__"):
        return
    for other in imported_rooms(path) - {here}:
        allowed = FLOORS[other] < FLOORS[here] or (here, other) in NEIGHBOURS
        assert allowed, f"{path.name}: {here} (floor {FLOORS[here]}) imports {other} (floor {FLOORS[other]})"


OPS = sorted(p.name for p in (ROOT / "csrc").iterdir() if p.is_dir() and p.name not in ("common", "simt"))


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_all_its_files(op: str) -> None:
    for pattern in (
        f"csrc/{op}/{op}.h",
        f"csrc/{op}/{op}_cpu*.cpp",
        f"csrc/{op}/{op}_bind.cpp",
        f"chordfast/ops/{op}.py",
        f"chordfast/reference/{op}.py",
        f"tests/ops/test_{op}.py",
    ):
        assert list(ROOT.glob(pattern)), f"{pattern} is missing"


def test_files_can_be_read_at_one_sitting() -> None:
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "csrc").rglob("*.*"), *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): n for path in sources if (n := len(path.read_text().splitlines())) > 450}
    assert not long


def test_native_code_knows_neither_torch_nor_python_outside_its_bindings() -> None:
    for path in (ROOT / "csrc").rglob("*.*"):
        text = path.read_text()
        assert "torch/" not in text, path
        if not path.name.endswith(("_bind.cpp", "bindings.cpp", "bind.h")):
            assert "pybind11" not in text, path


def test_weights_are_never_unpickled_freely() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                assert "weights_only=True" in ast.unparse(node), f"{path}:{node.lineno}"
