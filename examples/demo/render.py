"""Renders demo.mid with fluidsynth, encodes it as Ogg Vorbis and puts demo.lab beside it.

Needs the fluidsynth program, numpy, soundfile and a General MIDI soundfont.

Usage: python render.py SOUNDFONT.sf2 [OUT.ogg]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf
from compose import TAIL

RATE = 44100
PEAK = 0.89  # -1 dB of full scale
FADE = 0.8  # seconds, ends where the last chord ends
QUALITY = 0.72  # libsndfile's compression level: 0 is largest, 1 smallest


def main() -> None:
    here = Path(__file__).resolve().parent
    soundfont = sys.argv[1]
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else here.parents[1] / "chordfast" / "data" / "demo.ogg"
    end = float((here / "demo.lab").read_text().split()[-2])
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "demo.wav"
        setup = ["fluidsynth", "-n", "-i", "-q", "-g", "0.6", "-R", "1", "-C", "0", "-O", "float"]
        subprocess.run([*setup, "-r", str(RATE), "-F", str(wav), soundfont, str(here / "demo.mid")], check=True)
        audio, _ = sf.read(wav, dtype="float32", always_2d=True)
    audio = audio[: round(end * RATE)]
    audio = np.pad(audio, ((0, round(end * RATE) - len(audio)), (0, 0)))
    last = round((end - TAIL) * RATE)
    ramp = round(FADE * RATE)
    audio[last - ramp : last] *= np.cos(np.linspace(0, np.pi / 2, ramp, dtype=np.float32))[:, None]
    audio[last:] = 0
    audio *= PEAK / np.abs(audio).max()
    with sf.SoundFile(out, "w", RATE, 2, format="OGG", subtype="VORBIS", compression_level=QUALITY) as handle:
        # libvorbis takes a call's samples on the stack: small blocks.
        for start in range(0, len(audio), RATE):
            handle.write(audio[start : start + RATE])
    if out.parent.resolve() != here:
        shutil.copyfile(here / "demo.lab", out.with_suffix(".lab"))


if __name__ == "__main__":
    main()
