"""One Chromium for all tests that look at pages; they are skipped where there is none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, find_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found; install the package chromium, or name the program in CHORDFAST_CHROMIUM")
    folder = Path(tempfile.mkdtemp(prefix="chordfast-browser-"))
    running = Browser(program, folder)
    yield running
    running.close()
    shutil.rmtree(folder, ignore_errors=True)  # helpers of the browser may still be writing
