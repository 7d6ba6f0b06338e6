"""The compressed form of a body: its length and a zlib stream, inflated to exactly that length or not at all."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from secure_queue.errors import Rejected

FLAG_ZLIB: Final = 0x01

_RAW_LENGTH: Final = struct.Struct(">I")
_LEAST_BYTES: Final = 256  # below it there is nothing to be had, and looking costs more than sealing


def compress_body(body: bytes) -> tuple[bytes, int]:
    """Return the body in its smaller form and the flags that say which; compress only what holds no secrets.

    Where an attacker chooses a part of the text and sees the size, compression tells the rest.
    """
    if len(body) < _LEAST_BYTES:
        return body, 0
    compressed = _RAW_LENGTH.pack(len(body)) + zlib.compress(body, 1)
    return (compressed, FLAG_ZLIB) if len(compressed) < len(body) else (body, 0)


def decompress(body: bytes, max_bytes: int) -> bytes:
    """Inflate to exactly the declared length, which is checked before a byte is inflated."""
    if len(body) < _RAW_LENGTH.size:
        raise Rejected("bad-compression")
    raw_length = _RAW_LENGTH.unpack_from(body)[0]
    if raw_length > max_bytes:
        raise Rejected("decompressed-too-large")
    stream = zlib.decompressobj()
    try:
        # One byte more than declared is enough to notice a body that declares less than it holds.
        raw = stream.decompress(body[_RAW_LENGTH.size :], raw_length + 1)
    except zlib.error:
        raise Rejected("bad-compression") from None
    if len(raw) != raw_length or not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise Rejected("bad-compression")
    return raw
