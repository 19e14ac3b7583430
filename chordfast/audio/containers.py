"""What a file is, from its bytes: the container, and whether its end is missing. Nothing is decoded here.

The answer decides which decoder may see the file at all. libsndfile's parsers of exotic ADPCM headers have known
memory faults, and FFmpeg's playlist formats can open other files, so only listed containers and codecs go on.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

# WAVE format tags (Microsoft's registry) of codecs that are decoded; PCM, float, A-law, mu-law, MPEG and MP3.
_WAVE_TAGS = {0x0001, 0x0003, 0x0006, 0x0007, 0x0050, 0x0055}
_WAVE_EXTENSIBLE = 0xFFFE
_WAVE_NAMES = {0x0002: "Microsoft ADPCM", 0x0011: "IMA ADPCM", 0x0031: "GSM 6.10", 0x0040: "G.721 ADPCM"}
_AIFC_TYPES = {b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"} | {
    b"ulaw", b"ULAW", b"alaw", b"ALAW"}  # fmt: skip

_MAGIC = (
    (b"fLaC", "flac"),
    (b".snd", "au"),
    (b"caff", "caf"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
)


@dataclass
class Container:
    """kind: "wav", "aiff", "flac", "ogg", "mp3", "au", "caf", "w64", "mp4", "matroska", "aac", "asf" or "";
    refused: name of a codec that is not decoded on purpose; cut: why the file's end is known to be missing;
    estimated: the length in the header is a guess from the file size (MP3 without a frame count);
    unsure: only the suffix says so."""

    kind: str = ""
    refused: str = ""
    cut: str = ""
    estimated: bool = False
    unsure: bool = False


def inspect(file: BinaryIO) -> Container:
    """Recognise an open, seekable, non-empty file by its first bytes (an ID3 tag in front is skipped)."""
    size = os.fstat(file.fileno()).st_size
    head = _at(file, 0, 16)
    start = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        head = _at(file, start, 16)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return _wave(file, size, big=head[:4] == b"RIFX")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if head[:4] == b"OggS":
        return Container("ogg", cut=_ogg_cut(file, size))
    kind = _kind(head) or ("mp3" if start else "")
    if kind == "mp3":
        opening = _at(file, start, 4096)
        return Container(kind, estimated=not any(mark in opening for mark in (b"Xing", b"Info", b"VBRI")))
    return Container(kind)


def _kind(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return "mp4"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        if head[1] & 0xF6 == 0xF0:  # layer bits 00: AAC in ADTS frames
            return "aac"
        if head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C:
            return "mp3"
    return ""


def _at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _chunks(file: BinaryIO, size: int, order: str) -> list[tuple[bytes, int, int]]:
    """(name, position of the body, length) of the chunks of a RIFF or FORM file, as far as they lie inside it."""
    found: list[tuple[bytes, int, int]] = []
    position = 12
    while position + 8 <= size and len(found) < 1000:
        name, length = struct.unpack(order + "4sI", _at(file, position, 8))
        found.append((name, position + 8, length))
        position += 8 + length + length % 2
    return found


def _wave(file: BinaryIO, size: int, big: bool) -> Container:
    result = Container("wav")
    order = ">" if big else "<"
    for name, body, length in _chunks(file, size, order):
        if name == b"fmt " and length >= 16:
            fields = _at(file, body, 26)
            (tag,) = struct.unpack_from(order + "H", fields)
            if tag == _WAVE_EXTENSIBLE and len(fields) == 26:
                (tag,) = struct.unpack_from(order + "H", fields, 24)
            if tag not in _WAVE_TAGS:
                result.refused = _WAVE_NAMES.get(tag, f"WAVE format 0x{tag:04x}")
        elif name == b"data":
            # Streaming writers leave 0 or all ones (also RF64, which keeps the length elsewhere).
            if length < 0x7FFFF000 and body + length > size:
                result.cut = f"{size - body} of {length} bytes of samples are there"
            break
    return result


def _aiff(file: BinaryIO, size: int) -> Container:
    result = Container("aiff")
    for name, body, length in _chunks(file, size, ">"):
        if name == b"COMM" and length >= 22:
            codec = _at(file, body + 18, 4)
            if codec not in _AIFC_TYPES:
                result.refused = f"AIFF-C codec {codec.decode('ascii', 'replace')!r}"
        elif name == b"SSND" and body + length > size:
            result.cut = f"{size - body} of {length} bytes of samples are there"
    return result


def _ogg_cut(file: BinaryIO, size: int) -> str:
    """Why an Ogg file is incomplete: its last page runs past the end, or does not carry the end-of-stream flag."""
    reach = min(size, 1 << 17)  # a page has at most 65 307 bytes
    tail = _at(file, size - reach, reach)
    page = tail.rfind(b"OggS")
    while page >= 0 and (len(tail) < page + 27 or len(tail) < page + 27 + tail[page + 26]):
        if len(tail) >= page + 6 and tail[page + 4] == 0:
            return "the last Ogg page is cut"
        page = tail.rfind(b"OggS", 0, page)
    if page < 0:
        return "the last Ogg page is cut"
    count = tail[page + 26]
    end = page + 27 + count + sum(tail[page + 27 : page + 27 + count])
    if end > len(tail):
        return "the last Ogg page is cut"
    return "" if tail[page + 5] & 4 else "the Ogg stream has no end mark"
