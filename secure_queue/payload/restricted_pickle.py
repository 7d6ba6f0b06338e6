"""The only module that unpickles, and only what an allowlist names.

Pickle is for keys whose holders may run code anyway: an allowed class is called with any arguments, its attributes can
be set past its ``__init__``, and a few bytes can cost much memory or time before any rule is asked. Prefer msgpack with
registered classes.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, Final, NoReturn

from secure_queue.errors import ConfigurationError, Rejected, UnserializableValue
from secure_queue.payload.pickle_scan import GlobalName, PickleReport, scan_pickle, uses_extension_registry
from secure_queue.payload.protocol import PICKLE_ID

__all__ = ["PickleReport", "RestrictedPickle", "scan_pickle"]

_PROTOCOL: Final = 5
# EXT1, EXT2, EXT4: the C unpickler answers them from a cache of copyreg without asking find_class.
_EXTENSION_OPCODES: Final = (b"\x82", b"\x83", b"\x84")


class RestrictedPickle:
    """Pickle for the listed classes and plain containers; *static_scan* reads every pickle as opcodes first.

    The scan costs 15 µs for a small payload and refuses memo bombs and deep nesting as well.
    """

    id = PICKLE_ID
    name = "pickle"
    is_async = False

    def __init__(self, allow: Iterable[type] = (), *, static_scan: bool = False) -> None:
        self._allowed: dict[GlobalName, type] = {_global_name(cls): cls for cls in allow}
        self._static_scan = static_scan

    @property
    def allowed_names(self) -> frozenset[GlobalName]:
        """The ``(module, qualified name)`` pairs that may be looked up; what ``scan_pickle`` wants."""
        return frozenset(self._allowed)

    def dumps(self, value: Any) -> bytes:
        """Pickle *value*, or raise ``UnserializableValue`` if it needs a class that is not allowed."""
        stream = io.BytesIO()
        try:
            _Pickler(stream, self._allowed).dump(value)
        except UnserializableValue:
            raise
        except Exception as error:
            raise UnserializableValue(f"the value cannot be pickled ({type(error).__name__})") from error
        return stream.getvalue()

    def loads(self, data: bytes) -> Any:
        """Unpickle exactly one value, or raise ``Rejected``."""
        if self._static_scan and not scan_pickle(data, self.allowed_names).ok:
            raise Rejected("pickle-refused")
        if any(opcode in data for opcode in _EXTENSION_OPCODES) and uses_extension_registry(data):
            raise Rejected("pickle-refused")
        stream = io.BytesIO(data)
        try:
            value = _Unpickler(stream, self._allowed).load()
        except Rejected:
            raise
        except Exception:
            problem = "undeserializable"
        else:
            if stream.tell() == len(data):
                return value
            problem = "trailing-bytes"
        raise Rejected(problem)


def _global_name(cls: object) -> GlobalName:
    if not isinstance(cls, type):
        raise ConfigurationError(
            "RestrictedPickle allows classes only: a function in the list could be called by bytes"
        )
    return cls.__module__, cls.__qualname__


class _Pickler(pickle.Pickler):
    """Refuses on the producer's side what the reader would refuse."""

    def __init__(self, stream: io.BytesIO, allowed: Mapping[GlobalName, type]) -> None:
        super().__init__(stream, protocol=_PROTOCOL)
        self._allowed = allowed

    def reducer_override(self, obj: Any) -> Any:
        cls = obj if isinstance(obj, type) else type(obj)
        if isinstance(obj, FunctionType) or self._allowed.get((cls.__module__, cls.__qualname__)) is not cls:
            raise UnserializableValue(
                f"{cls.__module__}.{cls.__qualname__} is not in the allowlist: RestrictedPickle(allow=[...])"
            )
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Looks names up in a dict, so that a dotted name never walks through attributes."""

    def __init__(self, stream: io.BytesIO, allowed: Mapping[GlobalName, type]) -> None:
        super().__init__(stream)
        self._allowed = allowed

    def find_class(self, module_name: str, global_name: str) -> Any:
        cls = self._allowed.get((module_name, global_name))
        if cls is None:
            raise Rejected("global-not-allowed")
        return cls

    def persistent_load(self, pid: Any) -> NoReturn:
        raise Rejected("pickle-refused")
