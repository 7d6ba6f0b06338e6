"""Values to bytes and back with msgpack, the default; the other serializers are handed on from here.

The only module that imports ``msgpack``. No serializer is asked to look at bytes before their envelope has been
verified; still, hostile bytes end in ``Rejected`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgpack
from msgpack import unpackb

from secure_queue.errors import ConfigurationError, Rejected, UnserializableValue
from secure_queue.payload.extensions import (
    LEAF_DECODERS,
    LEAF_ENCODERS,
    NESTING_CODES,
    PAIRS,
    REGISTERED_CODES,
    SEQUENCE_CODES,
    SEQUENCE_DECODERS,
    flatten_pairs,
)
from secure_queue.payload.lossless import Boxed, lossless
from secure_queue.payload.protocol import CALLABLE_ID, JSON_ID, MSGPACK_ID, PICKLE_ID, Serializer
from secure_queue.payload.registered_types import TypeRegistry
from secure_queue.payload.text_serializers import CallableSerializer, JsonSerializer

__all__ = [
    "CALLABLE_ID",
    "JSON_ID",
    "MAX_DEPTH",
    "MSGPACK_ID",
    "PICKLE_ID",
    "CallableSerializer",
    "JsonSerializer",
    "MsgpackSerializer",
    "Serializer",
    "pack_plain",
    "unpack_plain",
]

MAX_DEPTH: Final = 64

_Class = TypeVar("_Class", bound=type)


# Bytes that begin an array, a map or an extension. Each level of nesting costs at least one of them, so data with no
# more than MAX_DEPTH of them is shallow enough whatever it means: one C call instead of a walk. They are not ASCII, so
# that data which is ASCII but for its first bytes and the last one need not even be counted.
_CONTAINER_BYTES: Final = bytes((*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)))
# As ``unpackb`` calls it: bytes are bytes, text is UTF-8, keys are text or bytes. Its timestamps are read as UTC.
_UTC_DATETIME: Final = 3
_FEW: Final = MAX_DEPTH - 1
_MAX_PACKINGS: Final = MAX_DEPTH + 1  # the content of the innermost of MAX_DEPTH extensions, counted from the outside


class MsgpackSerializer:
    """The default: data only, with Python's own types kept apart and the application's types by registered name."""

    id = MSGPACK_ID
    name = "msgpack"
    is_async = False

    def __init__(self) -> None:
        self._types = TypeRegistry()
        # A packer is costly to make and cannot be entered twice, so idle ones wait here; a list's pop and append are
        # atomic, which makes this safe for threads as well.
        self._idle: list[_Packing] = []
        self._ext_hook = self._decode

    def register(
        self,
        cls: _Class,
        /,
        *,
        name: str | None = None,
        code: int | None = None,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> _Class:
        """Let values of *cls* travel; producers and workers must both register it. Works as a decorator.

        Dataclasses, Enums, NamedTuples, pydantic models, attrs and msgspec classes need nothing else. Other classes
        need *encode* and *decode*, to and from values that can be serialized; with *code* (32 to 127), to and from
        bytes. The name on the wire is the class's own, without its module, unless *name* says otherwise.
        """
        if (encode is None) != (decode is None) or (code is not None and decode is None):
            raise ConfigurationError("encode= and decode= go together, and code= needs both")
        if code is not None and encode is not None and decode is not None:
            self._types.add_application_code(code, cls, encode, decode)
        else:
            self._types.add(cls, name, encode, decode)
        return cls

    def dumps(self, value: Any) -> bytes:
        """Pack *value*, or raise ``UnserializableValue`` that names the type and not the value."""
        packing = self._idle.pop() if self._idle else _Packing(self._types, 1)
        try:
            packed = packing.pack(value)
            if not packed[_FEW:-1].isascii():
                check_depth(packed)
        except UnserializableValue:
            raise
        except Rejected:
            raise UnserializableValue(_TOO_DEEP) from None
        except Exception as error:
            raise UnserializableValue(_explain(error)) from error
        self._idle.append(packing)
        return packed

    def loads(self, data: bytes) -> Any:
        """Unpack, or raise ``Rejected``."""
        try:
            if not data[_FEW:-1].isascii():
                check_depth(data)
            return unpackb(data, ext_hook=self._ext_hook, timestamp=_UTC_DATETIME)
        except Rejected:
            raise
        except Exception:
            problem = "malformed"
        raise Rejected(problem)  # outside the handler: no context that holds bytes

    def _decode(self, code: int, data: bytes) -> Any:
        if code in LEAF_DECODERS:
            return LEAF_DECODERS[code](data)
        if code in SEQUENCE_DECODERS:
            items = unpackb(data, ext_hook=self._decode, timestamp=_UTC_DATETIME)
            if type(items) is not list:
                raise Rejected("malformed")
            return SEQUENCE_DECODERS[code](items)
        if code in REGISTERED_CODES:
            return self._types.from_plain(code, unpackb(data, ext_hook=self._decode, timestamp=_UTC_DATETIME))
        decode = self._types.application_decoders.get(code)
        if decode is None:
            raise Rejected("unknown-type")
        return decode(data)


_TOO_DEEP: Final = f"the value is nested more than {MAX_DEPTH} levels deep or contains itself"


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return _TOO_DEEP
    return f"the value cannot be packed ({type(error).__name__})"


class _Packing:
    """A packer for one level of extensions, and the one for the level below it."""

    def __init__(self, types: TypeRegistry, level: int) -> None:
        if level > _MAX_PACKINGS:
            raise UnserializableValue(_TOO_DEEP)
        self._types = types
        self._level = level
        # strict_types: without it tuples become lists and IntEnums ints, silently.
        self._packer = msgpack.Packer(default=self._extend, strict_types=True, buf_size=4096)
        self._below: _Packing | None = None

    def pack(self, value: Any) -> bytes:
        packed: bytes = self._packer.pack(value)
        faithful = lossless(value, packed)
        return packed if faithful is value else self._packer.pack(faithful)

    def _extend(self, value: Any) -> msgpack.ExtType:
        if type(value) is Boxed:
            value = value.value
        cls = type(value)
        leaf = LEAF_ENCODERS.get(cls) or self._types.application_encoders.get(cls)
        if leaf is not None:
            return msgpack.ExtType(leaf[0], leaf[1](value))
        if cls is dict:
            return msgpack.ExtType(PAIRS, self._pack_below(flatten_pairs(value)))
        if cls in SEQUENCE_CODES:
            return msgpack.ExtType(SEQUENCE_CODES[cls], self._pack_below(list(value)))
        code, content = self._types.to_plain(value)
        return msgpack.ExtType(code, self._pack_below(content))

    def _pack_below(self, content: list[Any]) -> bytes:
        if self._below is None:
            self._below = _Packing(self._types, self._level + 1)
        return self._below.pack(content)


def check_depth(packed: bytes) -> None:
    """Raise ``Rejected`` for data nested deeper than ``MAX_DEPTH``, counting through extensions."""
    if len(packed) - len(packed.translate(None, _CONTAINER_BYTES)) > MAX_DEPTH:
        _Soundings().height(packed)


class _Depth:
    """Stands for an extension that has been measured."""

    __slots__ = ("height",)

    def __init__(self, height: int) -> None:
        self.height = height


class _Soundings:
    """Measures nesting without making any of the objects that the extensions stand for."""

    def __init__(self) -> None:
        self._level = 0

    def height(self, packed: bytes) -> int:
        self._level += 1
        if self._level > _MAX_PACKINGS:
            raise Rejected("too-deep")
        try:
            value = unpackb(packed, ext_hook=self._measure, timestamp=_UTC_DATETIME)
        except msgpack.StackError:
            raise Rejected("too-deep") from None
        self._level -= 1
        return _height(value)

    def _measure(self, code: int, data: bytes) -> _Depth:
        return _Depth(max(1, self.height(data)) if code in NESTING_CODES else 0)


_MEASURED: Final = frozenset({list, dict, _Depth})


def _height(value: Any) -> int:
    """Count the levels of lists, maps and measured extensions, breadth first."""
    height, levels_above = 0, 0
    level = [value]
    while level:
        below: list[Any] = []
        for node in level:
            if type(node) is _Depth:
                height = max(height, levels_above + node.height)
            elif type(node) in _MEASURED:
                height = max(height, levels_above + 1)
                below.extend(node.values() if type(node) is dict else node)
        level = [node for node in below if type(node) in _MEASURED]
        levels_above += 1
    if height > MAX_DEPTH:
        raise Rejected("too-deep")
    return height


# Without a default hook no Python code runs while it packs, so one packer serves all threads.
_PLAIN_PACKER: Final = msgpack.Packer(strict_types=True)


def pack_plain(value: Any) -> bytes:
    """Pack a value of our own that consists of plain msgpack types only."""
    packed: bytes = _PLAIN_PACKER.pack(value)
    return packed


def unpack_plain(untrusted: bytes) -> Any:
    """Unpack plain msgpack types only, keys of any plain type; raise ``Rejected("malformed")`` for anything else."""
    try:
        return msgpack.unpackb(untrusted, raw=False, strict_map_key=False, ext_hook=_no_extension)
    except Exception:
        problem = "malformed"
    raise Rejected(problem)


def _no_extension(code: int, data: bytes) -> Any:
    raise Rejected("unknown-type")
