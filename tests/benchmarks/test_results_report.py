"""The report refuses what was wrong, and the GPU script says what it lacks."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
DOCUMENT = (
    "# x\n<!-- results:gpu -->\nold\n<!-- /results:gpu -->\nbetween\n<!-- results:cpu -->\n<!-- /results:cpu -->\nend\n"
)


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(date: str = "2030-01-02T03:04Z", kind: str = "gpu", **changed: dict[str, Any]) -> dict[str, Any]:
    base = {"op": "kd_loss", "case": "9 x 9", "mode": "forward", "error": 1e-7, "ok": True, "how": "events, graph"}
    own = base | {"provider": "chordfast", "seconds": 2e-5, "bytes": 40_000_000} | changed.get("own", {})
    other = base | {"provider": "torch eager", "seconds": 5e-4} | changed.get("other", {})
    machine = {"kind": kind, "name": "Card", "date": date, "torch": "2.11.0", "commit": "abc", "driver": "580"}
    return {
        "version": 1,
        "machine": machine,
        "peaks": {"copy_gb_s": 4000.0, "bf16_tflop_s": 700.0},
        "rows": [other, own],
    }


def test_a_speed_up_beside_the_cards_own_peaks(report: ModuleType) -> None:
    text = report.fill(DOCUMENT, [run()])
    assert "### kd_loss, Card" in text and "between" in text and text.endswith("end\n") and "old" not in text
    assert "| 9 x 9, forward | chordfast | 20 µs | 1 | 2 000 GB/s (50 % of copy) | 1.0e-07 | events, graph |" in text
    assert "|  | torch eager | 500 µs | 25.00× | – |" in text
    assert (
        "Measured 2030-01-02, commit abc, torch 2.11.0, driver 580, copy 4000 GB/s, bf16 product 700 TFLOP/s." in text
    )
    assert report.fill(text, [run()]) == text


@pytest.mark.parametrize(
    ("who", "said"), [("own", "refused: chordfast's result is wrong"), ("other", "refused: its result is wrong")]
)
def test_no_speed_up_of_a_wrong_result(report: ModuleType, who: str, said: str) -> None:
    text = report.fill(DOCUMENT, [run(**{who: {"ok": False, "error": None}})])
    assert said in text and "25.00×" not in text and "NaN" in text


def test_the_newest_run_counts_and_kinds_stay_apart(report: ModuleType) -> None:
    runs = [run("2031-01-01T00:00Z", other={"seconds": 6e-4}), run()]
    assert "30.00×" in report.fill(DOCUMENT, runs) and "25.00×" not in report.fill(DOCUMENT, runs)
    text = report.fill(DOCUMENT, [run(kind="cpu")])
    assert "Not run on a GPU." in text and text.index("Not run on a GPU.") < text.index("25.00×")
    assert "Not measured." in report.fill(DOCUMENT, [])


def test_files_that_do_not_fit_are_named(
    report: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(report.ReportError, match="needs the markers <!-- results:cpu -->"):
        report.fill(DOCUMENT.replace("<!-- results:cpu -->\n", ""), [])
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "a.json").write_text(json.dumps(run()))
    assert len(report.read_runs(tmp_path)) == 1
    (tmp_path / "card" / "b.json").write_text('{"version": 2}')
    with pytest.raises(report.ReportError, match=r"b\.json is no benchmark result .*; delete it or measure again"):
        report.read_runs(tmp_path)


def test_the_document_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_script_says_so(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "gpu_check.sh"
    environment = os.environ | {"PYTHON": sys.executable}
    found = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 3 and "no CUDA device found" in found.stderr
    found = subprocess.run([script, "--dry-run"], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0 and "CHORDFAST_FAIL_WITHOUT_CUDA=1" in found.stdout
    limits = [int(limit) for limit in re.findall(r" (\d+)s  ", found.stdout)]
    assert len(limits) >= 9 and sum(limits) < 600
    found = subprocess.run([script, "--nonsense"], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and "unknown argument --nonsense; use --dry-run" in found.stderr
