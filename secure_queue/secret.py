"""Bytes that refuse to be printed, pickled, copied or compared in variable time."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final, NoReturn

_SHOWN: Final = "<secret>"


class Secret:
    """Key bytes on their way from a source to the place that needs them.

    >>> Secret(b"very private")
    <secret>
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes; every call of this name deserves a look in a review."""
        return self.__value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self.__value, other.__value)

    # A hash would be a function of the secret that ends up in tracebacks of sets and dicts; nothing needs one.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return _SHOWN

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret can be neither pickled nor copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a Secret can be neither pickled nor copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a Secret can be neither pickled nor copied")
