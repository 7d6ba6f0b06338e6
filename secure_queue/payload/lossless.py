"""Finds what msgpack would silently write as something else: keys that are no text, and bytes-like values.

The packer asks for help with types that it does not know, but it believes that it knows dicts and bytearrays. What it
must not write in its own way is put into a box, which it does not know.
"""

from __future__ import annotations

from typing import Any, Final

# Bytes that begin a map with entries or a bin: only then can there be a key that is no text, or a bytearray, which
# msgpack would silently write as something else.
_MAP_OR_BIN: Final = bytes((*range(0x81, 0x90), *range(0xC4, 0xC7), 0xDE, 0xDF))
_NATIVE_KEYS: Final = frozenset({str, bytes})
_OPAQUE: Final = frozenset({bytearray, memoryview})
_WALKED: Final = frozenset({list, dict}) | _OPAQUE


class Boxed:
    """A value that the packer must hand back instead of writing it in its own way."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def lossless(value: Any, packed: bytes) -> Any:
    """Return *value*, with boxes where *packed* shows that the packer may have changed something.

    >>> lossless(["plain"], b"\\x91\\xa5plain")
    ['plain']
    """
    if len(packed) == len(packed.translate(None, _MAP_OR_BIN)) or not _needs_boxes(value):
        return value
    return _boxed(value)


def _needs_boxes(value: Any) -> bool:
    """Look for keys that are no text, and for bytes-like values that msgpack would write as bytes."""
    level = [value]
    while level:
        below: list[Any] = []
        for node in level:
            cls = type(node)
            if cls in _OPAQUE or (cls is dict and not _NATIVE_KEYS.issuperset(map(type, node))):
                return True
            if cls in _WALKED:
                below.extend(node.values() if cls is dict else node)
        level = [node for node in below if type(node) in _WALKED]
    return False


def _boxed(value: Any) -> Any:
    cls = type(value)
    if cls is list:
        return [_boxed(item) for item in value]
    if cls is dict and _NATIVE_KEYS.issuperset(map(type, value)):
        return {key: _boxed(item) for key, item in value.items()}
    return Boxed(value) if cls is dict or cls in _OPAQUE else value
