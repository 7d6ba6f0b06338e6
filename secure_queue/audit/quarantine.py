"""What operators do with payloads that were put aside: look, release what is genuine after all, destroy the rest."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from secure_queue import names
from secure_queue.audit.classify import Classifier, Stored
from secure_queue.audit.findings import Finding, Kind
from secure_queue.clock import now_ms
from secure_queue.errors import DuplicateTask, Rejected, TaskNotFound
from secure_queue.evidence import Evidence, PutAside, Renewed, Scannable
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.codec import Purpose, Sealed, split_body
from secure_queue.payload.compression import FLAG_ZLIB, decompress
from secure_queue.payload.envelope import parse_envelope
from secure_queue.payload.keys import KeyState

_SIZE_DIGITS: Final = 15

Reseal = Callable[[str, bytes], Renewed]
"""Verify a task as of the moment when it was in time, and put it under a fresh seal; raises ``Rejected``."""
Attest = Callable[[Sealed], Renewed]
"""Put a message that somebody vouches for under a fresh seal."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry of the quarantine: its name, when it was put aside by the server's clock, and what it is now."""

    entry: str
    at_ms: int
    finding: Finding


class Quarantine:
    """The quarantine of one partition."""

    def __init__(self, store: Scannable, evidence: Evidence, classifier: Classifier, partition: int = 0) -> None:
        self._store = store
        self._evidence = evidence
        self._classifier = classifier
        self._before = f"{partition}/" if partition else ""

    async def all(self) -> AsyncIterator[Kept]:
        """Every entry, oldest first."""
        after = b""
        while True:
            after, found = await self._store.put_aside(after)
            for entry in found:
                yield self._kept(entry)
            if not found:
                return

    async def show(self, entry: str) -> tuple[Kept, bytes]:
        """One entry with its bytes, which are whatever somebody stored; raises ``TaskNotFound``."""
        found = await self._find(entry)
        return self._kept(found), found.untrusted if isinstance(found.untrusted, bytes) else b""

    async def release(self, entry: str, reseal: Reseal) -> str:
        """Put a task that is genuine now back into the queue under a fresh seal; returns its id.

        Raises ``Rejected`` if it still does not open, ``DuplicateTask`` if another task of its unique key counts,
        ``TaskNotFound`` if there is no such entry.
        """
        task_id, untrusted = self._whole(await self._find(entry))
        return await self._readmit(entry, reseal(task_id, untrusted))

    async def attest(self, entry: str, sha256: str, seal: Attest) -> str:
        """Put back a task of a revoked key whose bytes somebody knows to be genuine, by their SHA-256.

        Its signature cannot be believed any more, so that digest takes its place: it must come from a source that is no
        part of the queue. Raises ``Rejected`` or ``DuplicateTask``.
        """
        task_id, untrusted = self._whole(await self._find(entry))
        if not compare_digest(hashlib.sha256(untrusted).hexdigest(), sha256.strip().lower()):
            raise Rejected("wrong-digest")
        return await self._readmit(entry, seal(self._attested(task_id, untrusted)))

    async def destroy(self, entry: str) -> None:
        """Delete one entry for ever; raises ``TaskNotFound``."""
        if not await self._evidence.destroy(self._stored_name(entry)):
            raise _unknown(entry)

    async def _find(self, entry: str) -> PutAside:
        found = await self._evidence.put_aside(self._stored_name(entry))
        if found is None:
            raise _unknown(entry)
        return found

    def _stored_name(self, entry: str) -> str:
        """The name of an entry in its partition; raises ``TaskNotFound`` for what is no name."""
        name = entry.removeprefix(self._before)
        milliseconds, dash, number = name.partition("-")
        if dash and milliseconds.isdecimal() and number.isdecimal() and len(name) <= 2 * _SIZE_DIGITS:
            return name
        raise _unknown(entry)

    def _kept(self, entry: PutAside) -> Kept:
        stored = Stored(Kind.QUARANTINED, entry.untrusted_id, entry.untrusted)
        noted, name = entry.untrusted_size, entry.entry.decode()
        size = int(noted) if noted.isdigit() and len(noted) <= _SIZE_DIGITS else 0
        finding = self._classifier.put_aside(stored, reason=entry.untrusted_reason, whole_size=size, now_ms=now_ms())
        return Kept(self._before + name, int(name.partition("-")[0]), finding)

    def _whole(self, entry: PutAside) -> tuple[str, bytes]:
        task_id = names.stored_task_id(entry.untrusted_id)
        if task_id is None:
            raise Rejected("bad-id")
        if not isinstance(entry.untrusted, bytes) or entry.untrusted_size != b"%d" % len(entry.untrusted):
            raise Rejected("too-large")  # only its beginning was kept
        return task_id, entry.untrusted

    def _attested(self, task_id: str, untrusted: bytes) -> Sealed:
        """The message of an envelope whose key is revoked and whose bytes were vouched for."""
        parsed = parse_envelope(untrusted)
        key = self._classifier.ring.find(parsed.key_id)
        if key is None or key.state is not KeyState.REVOKED:
            raise Rejected("not-revoked")
        place = (parsed.purpose, parsed.queue.decode("ascii", "replace"), parsed.task_id.decode("ascii", "replace"))
        if place != (Purpose.TASK, self._classifier.queue, task_id):
            raise Rejected("wrong-task")
        if parsed.suite == Suite.AES_256_GCM:
            raise Rejected("encrypted")  # the key that is revoked is known by its id only, and its bytes are gone
        body = untrusted[parsed.body_start : parsed.body_end]
        if parsed.flags & FLAG_ZLIB:
            body = decompress(body, self._classifier.limits.decompressed_bytes)
        return Sealed(
            parsed.purpose,
            task_id,
            parsed.function.decode("utf-8", "replace"),
            parsed.jti,
            parsed.ref,
            parsed.issued_ms,
            parsed.not_before_ms,
            parsed.expires_ms,
            parsed.key_id,
            parsed.suite,
            parsed.serializer_id,
            *split_body(body),
        )

    async def _readmit(self, entry: str, task: Renewed) -> str:
        task_id = task.task_id.decode()
        match await self._evidence.readmit(self._stored_name(entry), task):
            case bytes(other):
                raise DuplicateTask(names.printable(other))
            case "released":
                return task_id
            case "known":
                raise Rejected("known")
        raise TaskNotFound(f"no entry {names.printable(entry)} in the quarantine; somebody else was faster")


def partition_of(entry: str, partitions: range) -> int:
    """The partition that an entry names, partition 0 where it names none; raises ``TaskNotFound``."""
    partition, slash, _ = entry.partition("/")
    found = next((number for number in partitions if str(number) == partition), None) if slash else 0
    if found is None:
        raise _unknown(entry)
    return found


def _unknown(entry: str) -> TaskNotFound:
    return TaskNotFound(f"no entry {names.printable(entry)} in the quarantine; see `audit quarantine list`")
