"""``python -m chordfast`` is ``chordfast``."""

from __future__ import annotations

from chordfast.cli import main

main()
