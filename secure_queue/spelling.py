"""One spelling for equal values, in every process and every release: what the digests of keys and limits are made of."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from secure_queue.errors import ConfigurationError

PLAIN: Final = (type(None), bool, int, float, str, bytes, UUID, Decimal, datetime, date, time, timedelta)


def canonical(value: object) -> str:
    """One spelling for equal values; raises ``ConfigurationError`` for a value of a type that has none.

    A value of a class derived from a plain type is spelled like one of that type.
    """
    kind = type(value)
    if isinstance(value, Enum):
        return f"{kind.__qualname__}.{value.name}"
    if isinstance(value, PLAIN):
        plain: Any = next(plain for plain in PLAIN if isinstance(value, plain))
        return str(plain.__repr__(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(sorted(f"{canonical(key)}:{canonical(one)}" for key, one in value.items())) + "}"
    if isinstance(value, Set):
        return "<" + ",".join(sorted(map(canonical, value))) + ">"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical, value)) + "]"
    if is_dataclass(value) and not isinstance(value, type):
        return kind.__qualname__ + canonical({one.name: getattr(value, one.name) for one in fields(value)})
    raise ConfigurationError(
        f"a {kind.__qualname__} cannot be a key; make a text of it, for example key=lambda order, **_: order.number"
    )
