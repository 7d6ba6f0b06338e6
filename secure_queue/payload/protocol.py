"""What a serializer is, and the numbers by which envelopes refer to one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, Protocol

MSGPACK_ID: Final = 1
PICKLE_ID: Final = 2
JSON_ID: Final = 3
CALLABLE_ID: Final = 4


class Serializer(Protocol):
    """Turns values into bytes and back; ``id`` is stored in the envelope and compared before ``loads`` is called."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def is_async(self) -> bool: ...

    def dumps(self, value: Any) -> bytes | Awaitable[bytes]:
        """Return the bytes of *value* (an awaitable of them if ``is_async``), or raise ``UnserializableValue``."""
        ...

    def loads(self, data: bytes) -> Any:
        """Return the value (an awaitable of it if ``is_async``), or raise anything for bytes that are none."""
        ...
