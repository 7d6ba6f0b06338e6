"""Takes the values of a call out of the words of its failure, so that what was sealed is not told by an error message.

It knows the values that came in and what they look like as text; what a task makes of them is beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

from secure_queue.payload.failures import Cause, Failure

HIDDEN: Final = "[argument]"
SHORTEST: Final = 4
"""Shorter values are in too many words by chance; a secret is longer."""
_MOST_VALUES: Final = 2_000
_DEEPEST: Final = 8
_ALL_HIDDEN: Final = "[hidden: it could not be compared with the arguments]"


def redacted(failure: Failure, values: object) -> Failure:
    """*failure* without those of *values* that its messages repeat; whole, if a value cannot be looked at."""
    try:
        texts = sorted(_texts(values), key=len, reverse=True)
    except BaseException:  # the values have code of the application
        return replace(
            failure, message=_ALL_HIDDEN, chain=tuple(Cause(c.type_name, _ALL_HIDDEN) for c in failure.chain)
        )
    chain = tuple(Cause(cause.type_name, _without(cause.message, texts)) for cause in failure.chain)
    return replace(failure, message=_without(failure.message, texts), chain=chain)


def _without(message: str, texts: list[str]) -> str:
    for text in texts:
        message = message.replace(text, HIDDEN)
    return message


def _texts(values: object) -> set[str]:
    texts: set[str] = set()
    for value in _leaves(values, _DEEPEST):
        for text in _spellings(value):
            if len(text) >= SHORTEST:
                texts.add(text)
        if len(texts) > _MOST_VALUES:
            raise ValueError("too many values to look for")
    return texts


def _spellings(value: Any) -> tuple[str, ...]:
    """What a value looks like in a message: as text, and as ``repr`` shows it inside of its quotes."""
    if value is None or isinstance(value, bool):
        return ()
    if isinstance(value, str):
        return str(value), repr(str(value))[1:-1]
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace"), repr(bytes(value))[2:-1], bytes(value).hex()
    return str(value), repr(value)


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    """The values inside of containers and of objects with fields; what is nested too deep counts as a whole."""
    inside = _inside(value) if depth else None
    if inside is None:
        yield value
        return
    for part in inside:
        yield from _leaves(part, depth - 1)


def _inside(value: Any) -> Iterator[Any] | None:
    if isinstance(value, Mapping):
        return iter([*value.keys(), *value.values()])
    if isinstance(value, list | tuple | set | frozenset):
        return iter(value)
    if is_dataclass(value) and not isinstance(value, type):
        return iter([getattr(value, field.name) for field in fields(value)])
    return iter(vars(value).values()) if getattr(value, "__dict__", None) else None
