"""What one call says differently from the task that it calls, as users write it and as the frozen value that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from secure_queue import names
from secure_queue.errors import LONGEST_S, ConfigurationError
from secure_queue.key_options import KeyOptions, keying_of_call
from secure_queue.other_names import OF_CALLS, with_one_ttl
from secure_queue.other_names import unknown as no_such_option
from secure_queue.settings import TaskSettings, flags, positive_seconds, tries

MOST_HEADERS = 64
MOST_HEADER_BYTES = 32_768
_TEXT_TO_TEXT = "headers= is a mapping from text to text, for example headers={'trace': '4bf92f'}"


class CallWishes(KeyOptions, total=False):
    """What ``.start(...)`` takes beside times and priority; None is "as the task says"."""

    max_tries: int | None
    timeout: float | timedelta | None
    ttl: float | timedelta | None
    result_ttl: float | timedelta | None
    expire: float | timedelta | None
    headers: Mapping[str, str] | None
    encrypt: bool | None
    compress: bool | None


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What travels with the call, under its seal; None is "as the task says"."""

    max_tries: int | None = None
    timeout_ms: int | None = None
    ttl_ms: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


NOTHING_SAID = CallOptions()


class Said(Protocol):
    """What a call has said, as it is read back from under its seal."""

    @property
    def max_tries(self) -> int | None: ...
    @property
    def timeout_ms(self) -> int | None: ...
    @property
    def ttl_ms(self) -> int | None: ...


def as_called(settings: TaskSettings, said: Said) -> TaskSettings:
    """The settings of a task, as far as its call did not bring its own."""
    return replace(
        settings,
        max_tries=settings.max_tries if said.max_tries is None else said.max_tries,
        timeout_s=settings.timeout_s if said.timeout_ms is None else said.timeout_ms / 1000,
        ttl_s=settings.ttl_s if said.ttl_ms is None else min(said.ttl_ms / 1000, LONGEST_S),
    )


def with_wishes(settings: TaskSettings, options: CallOptions, wishes: CallWishes) -> tuple[TaskSettings, CallOptions]:
    """What the sender decides, and what the worker is told; raises ``ConfigurationError`` for what is out of range."""
    unknown = wishes.keys() - CallWishes.__annotations__.keys()
    if unknown:
        raise no_such_option("call", unknown, OF_CALLS)
    flags(encrypt=wishes.get("encrypt"), compress=wishes.get("compress"))
    given = with_one_ttl({name: value for name, value in wishes.items() if value is not None})
    max_tries, headers = wishes.get("max_tries"), wishes.get("headers")
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError(_TEXT_TO_TEXT)
    if "expire" in given:
        settings = replace(settings, expire_s=_seconds("expire", given))
    return replace(
        settings,
        encrypt=given.get("encrypt", settings.encrypt),
        compress=given.get("compress", settings.compress),
        keying=keying_of_call(settings.keying, wishes),
    ), CallOptions(
        options.max_tries if max_tries is None else tries(max_tries),
        round(_seconds("timeout", given) * 1000) if "timeout" in given else options.timeout_ms,
        round(_seconds("ttl", given) * 1000) if "ttl" in given else options.ttl_ms,
        options.headers if headers is None else with_headers(options.headers, headers),
    )


def with_headers(before: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Both together, the later ones first; raises ``ConfigurationError`` for what is no text, or too much of it."""
    headers = {**before, **more}
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise ConfigurationError(_TEXT_TO_TEXT)
    for name in more:
        names.header_name(name)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for pair in headers.items() for text in pair)
    if len(headers) > MOST_HEADERS or size > MOST_HEADER_BYTES:
        raise ConfigurationError(
            f"a call has at most {MOST_HEADERS} headers and {MOST_HEADER_BYTES:,} bytes of them; pass the rest as arguments"
        )
    return headers


def _seconds(name: str, given: Mapping[str, object]) -> float:
    return positive_seconds(name, given[name], zero=name == "ttl")  # type: ignore[arg-type]  # it checks the type
