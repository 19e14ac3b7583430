"""PNG files and what they show of the spectrum."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest

from chordfast.ops.feature_plan import BTC
from chordfast.view.picture import LEVELS, MAX_COLUMNS, TILE_COLUMNS, grey_levels, picture, pool
from chordfast.view.png import SIGNATURE, encode_png

RANDOM = np.random.default_rng(5)


def decode_png(data: bytes) -> np.ndarray:
    """The grey values of a PNG with filters 0 and 2, every checksum checked."""
    assert data.startswith(SIGNATURE)
    chunks, at = {}, len(SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(name + body)
        chunks[name] = body
        at += 12 + size
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 0, 0, 0, 0]
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert set(rows[:, 0]) <= {0, 2}
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint64).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (144, 300)])
def test_a_png_holds_the_pixels(shape: tuple[int, int]) -> None:
    pixels = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(pixels)), pixels)


@pytest.mark.parametrize("pixels", [np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((2, 2), np.float32)])
def test_a_png_of_something_else_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a grey picture is uint8"):
        encode_png(pixels)


def test_grey_levels_turn_the_spectrum_upright() -> None:
    features = np.full((50, 4), -20.0, np.float32)
    features[:, 0] = 0.0  # lowest bin is the loudest
    features[:, 1] = -33 / (20 / np.log(10))  # half of the range below
    grey = grey_levels(features)
    assert grey.shape == (4, 50)
    assert (grey[3] == 255).all()
    assert abs(int(grey[2, 0]) - 128) <= 255 / (LEVELS - 1)
    assert (grey[:2] == 0).all()
    assert len(np.unique(grey_levels(RANDOM.normal(size=(400, 144)).astype(np.float32)))) <= LEVELS


def test_silence_is_empty() -> None:
    assert not grey_levels(np.full((10, 144), np.log(1e-6), np.float32)).any()
    assert picture(np.zeros((0, 144), np.float32), BTC) is None


def test_long_songs_share_columns_and_keep_the_loudest() -> None:
    features = RANDOM.normal(size=(25, 3)).astype(np.float32)
    pooled, share = pool(features, 10)
    assert (share, pooled.shape) == (3, (9, 3))
    assert np.array_equal(pooled[0], features[:3].max(axis=0))
    assert np.array_equal(pooled[8], features[24])
    assert pool(features, 25)[1] == 1
    assert len(pool(np.zeros((116_280, 1), np.float32))[0]) <= MAX_COLUMNS  # three hours


def test_tiles_cover_the_song() -> None:
    features = RANDOM.normal(size=(TILE_COLUMNS + 100, 144)).astype(np.float32)
    shown = picture(features, BTC)
    assert shown is not None
    prefix = "data:image/png;base64,"
    tiles = [decode_png(base64.b64decode(tile.removeprefix(prefix))) for tile in shown["tiles"]]
    assert np.array_equal(np.concatenate(tiles, axis=1), grey_levels(features))
    assert (shown["columns"], shown["bins"], shown["octave"], shown["offset"]) == (TILE_COLUMNS + 100, 144, 24, 0.0)
    assert shown["period"] == BTC.frame_period
