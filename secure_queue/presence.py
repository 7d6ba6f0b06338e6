"""Who lives: each process says sealed which keys it holds, so that a rotation can be seen from one place."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

from secure_queue.clock import now_ms
from secure_queue.errors import KeyRingError, Rejected
from secure_queue.evidence import Evidence
from secure_queue.names import printable, stored_task_id
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.keys import KeyRing
from secure_queue.payload.serializers import MSGPACK_ID, pack_plain, unpack_plain

INTERVAL_S: Final = 5.0
GONE_AFTER_MS: Final = 15_000
PRODUCER, WORKER = "producer", "worker"
LONGEST_HOST: Final = 255
_LIFETIME_S: Final = 60
_FUNCTION: Final = "secure_queue.presence"
_ROLE, _SINCE_MS, _KEYS, _HOST, _PROCESSED, _TASKS = 1, 2, 3, 4, 5, 6
MOST_NAMES: Final = 8_000
"""Bytes of names of tasks; a process that knows more does not tell them."""

_log = logging.getLogger("secure_queue.audit")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that lives. ``keys`` maps the id of each of its keys to the state that it has there.

    ``problem`` says why its record does not open; nothing else of it is known then.
    """

    name: str
    role: str = ""
    since_ms: int = 0
    keys: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    host: str = ""
    processed: int = 0
    """How many tries of tasks it has brought to their end."""
    tasks: tuple[str, ...] | None = None
    """The names of the tasks that it runs, as far as it tells them."""

    def state_of(self, key_id: str) -> str:
        """What the process may do with a key: active, verify, revoked, or nothing if it does not have it."""
        return dict(self.keys).get(key_id, "")


def this_host() -> str:
    """The name of this machine, or container, as its processes are announced."""
    return socket.gethostname()[:LONGEST_HOST]


class Holder(Protocol):
    """Whoever has the keys of the process."""

    @property
    def ring(self) -> KeyRing: ...


class Announcer:
    """Says of one process that it lives; ``tick`` belongs into a loop."""

    def __init__(
        self,
        evidence: Evidence,
        codec: Codec,
        keys: Holder,
        worker_id: str,
        role: str,
        tasks: Collection[str] = (),
        processed: Callable[[], int] = int,
    ) -> None:
        self._evidence = evidence
        self._codec = codec
        self._keys = keys
        self._name = f"{worker_id}.{os.urandom(4).hex()}"
        self._role = role
        self._tasks = tasks
        self._processed = processed
        self._since_ms = now_ms()
        self._silent: KeyRing | None = None

    async def tick(self) -> None:
        """Say it once; with a ring that may not sign this say nothing, and that to the log once."""
        ring = self._keys.ring
        if ring is self._silent:
            return
        try:
            sealed = self._sealed()
        except KeyRingError as error:
            self._silent = ring
            _log.warning("`keys status` cannot show this process, so watch its keys in another way: %s", error)
            return
        await self._evidence.announce(self._name, sealed, GONE_AFTER_MS)
        if self._role == WORKER:  # a producer has no right to delete anything
            await self._evidence.forget_gone()

    def _sealed(self) -> bytes:
        keys = [[key.key_id.hex(), key.state.value] for key in self._keys.ring.keys]
        return self._codec.seal(
            Purpose.STATE,
            self._name,
            _FUNCTION,
            b"",
            pack_plain(
                {
                    _ROLE: self._role,
                    _SINCE_MS: self._since_ms,
                    _KEYS: keys,
                    _HOST: this_host(),
                    _PROCESSED: self._processed(),
                    **self._told_tasks(),
                }
            ),
            now_ms=now_ms(),
            jti=os.urandom(16),
            lifetime_s=_LIFETIME_S,
            serializer_id=MSGPACK_ID,
        )

    def _told_tasks(self) -> dict[int, list[str]]:
        names = sorted(self._tasks)
        fits = self._role == WORKER and sum(len(name.encode()) for name in names) <= MOST_NAMES
        return {_TASKS: names} if fits else {}


async def living(evidence: Evidence, codec: Codec) -> list[Process]:
    """The processes that live, by name."""
    found = [_process(codec, *record) for record in await evidence.who()]
    return sorted(found, key=lambda process: process.name)


def _process(codec: Codec, untrusted_name: bytes, untrusted: bytes) -> Process:
    name = stored_task_id(untrusted_name)
    if name is None:
        return Process(printable(untrusted_name), problem="bad-id")
    try:
        value = codec.verify(untrusted, Purpose.STATE, name, now_ms=now_ms(), function=_FUNCTION).value
        return _opened(name, unpack_plain(value))
    except Rejected as error:
        return Process(name, problem=error.reason)


def _opened(name: str, untrusted: object) -> Process:
    match untrusted:
        case {1: str() as role, 2: int() as since_ms, 3: list() as keys, **more}:
            return Process(name, printable(role, 20), since_ms, tuple(_pair(key) for key in keys), **_more(more))
    raise Rejected("malformed")


def _more(untrusted: dict[object, object]) -> dict[str, Any]:
    """What older releases do not say."""
    match untrusted:
        case {4: str() as host, 5: int() as processed}:
            return {
                "host": printable(host, LONGEST_HOST),
                "processed": processed,
                "tasks": _names(untrusted.get(_TASKS)),
            }
        case _:
            return {}


def _names(untrusted: object) -> tuple[str, ...] | None:
    return tuple(map(str, untrusted)) if isinstance(untrusted, list) else None


def _pair(untrusted: object) -> tuple[str, str]:
    match untrusted:
        case [str() as key_id, str() as state]:
            return printable(key_id, 64), printable(state, 20)
    raise Rejected("malformed")
