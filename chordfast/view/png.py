"""Grey pictures as PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2  # filter type: each byte minus the one above it


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of grey values, uint8 [height, width], both at least 1; first row on top.

    ISO/IEC 15948: one IDAT, 8 bits, every row filtered with the one above it. ValueError for another shape or type.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"a grey picture is uint8 [height, width], not {pixels.dtype} {list(pixels.shape)}")
    height, width = pixels.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = UP
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])  # wraps around, as the format wants
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
