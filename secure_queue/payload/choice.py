"""Chooses a serializer from what a user writes: a name, a ready one, or a pair of callables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from secure_queue.errors import ConfigurationError
from secure_queue.payload.serializers import CallableSerializer, JsonSerializer, MsgpackSerializer, Serializer


def choose_serializer(
    serializer: Serializer | str | Callable[[Any], Any], deserializer: Callable[[Any], Any] | None
) -> Serializer:
    """``"msgpack"``, ``"json"``, a ``Serializer`` object, or two callables, sync or async.

    Raises ``ConfigurationError`` for half a pair and for plain pickle, which needs an allowlist.
    """
    if isinstance(serializer, str):
        return _named(serializer, deserializer)
    if isinstance(serializer, type) or not (callable(serializer) or hasattr(serializer, "is_async")):
        raise ConfigurationError(
            "serializer= takes 'msgpack', 'json', a serializer object, or a callable with deserializer= "
            "(json.dumps and json.loads, not the module; MsgpackSerializer(), not the class)"
        )
    if hasattr(serializer, "dumps") and hasattr(serializer, "loads") and hasattr(serializer, "is_async"):
        return cast("Serializer", serializer)
    if deserializer is None:
        raise ConfigurationError("serializer= as a callable needs deserializer= too")
    if getattr(deserializer, "__module__", "") in ("pickle", "_pickle"):
        raise ConfigurationError(
            "pickle runs what it reads; pass serializer=RestrictedPickle(allow=[...]) with the classes you need"
        )
    return CallableSerializer(serializer, deserializer)


def _named(name: str, deserializer: Callable[[Any], Any] | None) -> Serializer:
    if deserializer is not None:
        raise ConfigurationError("deserializer= goes with a callable serializer=, not with a name")
    if name == "msgpack":
        return MsgpackSerializer()
    if name == "json":
        return JsonSerializer()
    raise ConfigurationError(f"no serializer is called {name[:20]!r}; use 'msgpack', 'json', or pass an object")
