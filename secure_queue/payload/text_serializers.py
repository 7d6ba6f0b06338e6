"""The serializers beside msgpack: plain JSON, and your own pair of callables."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from secure_queue.errors import Rejected, UnserializableValue
from secure_queue.payload.protocol import CALLABLE_ID, JSON_ID


class JsonSerializer:
    """Plain JSON text: only what JSON itself knows, for readers in other languages."""

    id = JSON_ID
    name = "json"
    is_async = False

    def dumps(self, value: Any) -> bytes:
        """Write compact UTF-8 JSON, or raise ``UnserializableValue``; NaN and infinities are no JSON."""
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except Exception as error:
            raise UnserializableValue(f"the value has no JSON form ({type(error).__name__})") from error

    def loads(self, data: bytes) -> Any:
        """Read JSON text, or raise ``Rejected``."""
        try:
            return json.loads(data.decode(), parse_constant=_no_constant)
        except Exception:
            problem = "malformed"
        raise Rejected(problem)


def _no_constant(name: str) -> Any:
    raise Rejected("malformed")


_BYTES_MARK: Final = b"\x00"
_TEXT_MARK: Final = b"\x01"


class CallableSerializer:
    """A pair of functions, sync or async: *dumps* makes bytes or text, *loads* is given the same kind back.

    One mark byte in front says which, since the reader is usually another process.
    """

    id = CALLABLE_ID
    name = "callable"

    def __init__(self, dumps: Callable[[Any], Any], loads: Callable[[Any], Any]) -> None:
        self._dumps = dumps
        self._loads = loads
        self.is_async = _is_async(dumps) or _is_async(loads)

    def dumps(self, value: Any) -> bytes | Awaitable[bytes]:
        """Call the function; whatever it raises becomes the cause of an ``UnserializableValue``."""
        if self.is_async:
            return self._dumps_async(value)
        try:
            made = self._dumps(value)
        except Exception as error:
            raise _refused_by(self._dumps, error) from error
        return _marked(made)

    async def _dumps_async(self, value: Any) -> bytes:
        try:
            made = self._dumps(value)
            if inspect.isawaitable(made):
                made = await made
        except Exception as error:
            raise _refused_by(self._dumps, error) from error
        return _marked(made)

    def loads(self, data: bytes) -> Any:
        """Call the function with what its partner made."""
        unmarked = _unmarked(data)
        return self._loads_async(unmarked) if self.is_async else self._loads(unmarked)

    async def _loads_async(self, unmarked: bytes | str) -> Any:
        value = self._loads(unmarked)
        return await value if inspect.isawaitable(value) else value


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _refused_by(dumps: Callable[..., Any], error: Exception) -> UnserializableValue:
    name = getattr(dumps, "__qualname__", type(dumps).__qualname__)
    return UnserializableValue(f"the serializer {name} refused the value ({type(error).__name__})")


def _marked(made: object) -> bytes:
    if isinstance(made, str):
        return _TEXT_MARK + made.encode()
    if isinstance(made, bytes | bytearray | memoryview):
        return _BYTES_MARK + bytes(made)
    if inspect.iscoroutine(made):
        made.close()
    raise UnserializableValue("a serializer must return bytes or str, and be an `async def` if it is to be awaited")


def _unmarked(data: bytes) -> bytes | str:
    if data[:1] == _TEXT_MARK:
        return data[1:].decode()
    if data[:1] == _BYTES_MARK:
        return data[1:]
    raise Rejected("malformed")
