"""What stands beside the tasks of a partition: the quarantine one by one, who lives, and the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

from secure_queue.evidence import InLine, Place, PutAside, Queueing, Renewed, Structure, Whereabouts
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Argument, Link, Reply
from secure_queue.redis.scanning import LONGEST_NAME
from secure_queue.redis.timetable import nonce

DEADLINE_S: Final = 10.0
MOST_PROCESSES: Final = 1_000
LARGEST_RECORD: Final = 16_384
NOTES_PER_STEP: Final = 500
MOST_PLACES: Final = 1_000
MOST_HOLDERS: Final = 20

Run = Callable[[str, Sequence[bytes], Sequence[Argument], float], Awaitable[Reply]]


class RedisEvidence:
    """Implements ``Evidence``; *run* is how the storage runs a script, which moves misfits aside."""

    def __init__(self, link: Link, run: Run, keys: QueueKeys, max_payload_bytes: int) -> None:
        self._link = link
        self._run = run
        self._keys = keys
        self._limit = max_payload_bytes

    async def announce(self, process: str, sealed: bytes, ttl_ms: int) -> None:
        keys = [self._keys.meta, self._keys.presence, self._keys.present]
        await self._run("announce", keys, [process, sealed, ttl_ms], DEADLINE_S)

    async def forget_gone(self) -> None:
        await self._run("forget_gone", [self._keys.presence, self._keys.present], [], DEADLINE_S)

    async def who(self) -> list[tuple[bytes, bytes]]:
        keys = [self._keys.presence, self._keys.present]
        fields = iter(cast("list[bytes]", await self._run("who", keys, [MOST_PROCESSES, LARGEST_RECORD], DEADLINE_S)))
        return list(zip(fields, fields, strict=True))

    async def whereabouts(self, task_id: bytes) -> Whereabouts:
        own = self._keys
        keys = [own.leases, own.bucket(task_id), own.workers, own.lines, *own.both]
        reply = cast("list[Any]", await self._run("explain", keys, [task_id, MOST_PLACES], DEADLINE_S))
        run, lease, note, workers, number, before, due, kind, in_line, first, *ready = reply
        return Whereabouts(
            run,
            lease,
            note,
            workers,
            number - 1 if number else None,
            before if before >= 0 else None,
            due,
            tuple(ready),
            InLine(kind == b"o", in_line, first) if kind else None,
        )

    async def replaced_by(self, task_id: bytes, *, waits: bool) -> bytes | None:
        own = self._keys
        key, field = (own.unique, own.place_taken(task_id)) if waits else (own.replaced, task_id)
        found = await self._run("peek", [key], [b"field", field, LONGEST_NAME], DEADLINE_S)
        return found if isinstance(found, bytes) else None

    async def schedule_of(self, schedule_id: bytes) -> tuple[bytes | int | None, bytes]:
        places = ((self._keys.schedules, self._limit), (self._keys.fired, LONGEST_NAME))
        stored, mark = [
            await self._run("peek", [key], [b"field", schedule_id, limit], DEADLINE_S) for key, limit in places
        ]
        return cast("bytes | int | None", stored or None), mark if isinstance(mark, bytes) else b""

    async def queueing(self, digest: bytes, who: bytes) -> Queueing:
        own = self._keys
        keys = [own.permits(digest), own.starts(digest), own.line(digest), own.expected(digest)]
        reply = cast("list[Any]", await self._run("queueing", keys, [who, MOST_HOLDERS], DEADLINE_S))
        before, waiting, permits, starts, left_ms, stalled_ms, *holders = reply
        place = before if before >= 0 else None
        return Queueing(place, waiting, permits, starts, left_ms, stalled_ms, tuple(holders))

    async def put_aside(self, entry: str) -> PutAside | None:
        args: list[Argument] = [entry, 1, self._limit, LONGEST_NAME]
        reply = cast("list[Any]", await self._run("put_aside", [self._keys.quarantine], args, DEADLINE_S))
        found = PutAside(*reply[1:]) if len(reply) > 1 else None
        return found if found is not None and found.entry == entry.encode() else None

    async def readmit(self, entry: str, task: Renewed) -> str | bytes:
        own, (task_id, sealed, priority, unique, scope, line) = self._keys, task
        places = [own.ready[priority], own.result(task_id), own.lines, own.unique, *own.buckets]
        keys = [own.meta, own.quarantine, own.wake, *places]
        args: list[Argument] = [entry, task_id, sealed, unique, scope, line]
        reply = cast("bytes", await self._run("readmit", keys, args, DEADLINE_S))
        return reply[1:] if reply.startswith(b"=") else reply.decode()

    async def destroy(self, entry: str) -> bool:
        keys = [self._keys.meta, self._keys.quarantine]
        return await self._run("destroy", keys, [entry], DEADLINE_S) == b"destroyed"

    async def reseal(self, place: Place, untrusted: bytes, sealed: bytes) -> bool:
        digest = hashlib.sha1(place.before + untrusted, usedforsecurity=False).hexdigest()
        key, field = self._found_at(place)
        version = nonce() if place.structure is Structure.SCHEDULES else b""
        args: list[Argument] = [field, digest, place.before + sealed, version]
        return await self._run("reseal", [self._keys.meta, key], args, DEADLINE_S) == b"resealed"

    def _found_at(self, place: Place) -> tuple[bytes, bytes]:
        """The key, and the field if it is a hash."""
        own, (structure, task_id, beside, _) = self._keys, place
        match structure:
            case Structure.RESULT:
                return own.result(task_id), b""
            case Structure.WORKFLOW:
                return own.workflow(task_id), b""
            case Structure.HANDED:
                return own.handed(beside), task_id
            case Structure.PARTIAL:
                return own.partial(task_id), beside
            case Structure.OUTBOX:
                return own.outbox, beside
            case Structure.SCHEDULES:
                return own.schedules, task_id
            case _:
                return own.bucket(task_id), beside + task_id

    async def note(self, records: Sequence[bytes]) -> int:
        return cast("int", await self._link.command("RPUSH", self._keys.audit, *records))

    async def notes(self, offset: int) -> list[bytes]:
        reply = await self._link.command("LRANGE", self._keys.audit, offset, offset + NOTES_PER_STEP - 1)
        return cast("list[bytes]", reply)

    async def forget_notes(self, count: int, first: bytes) -> int:
        digest = hashlib.sha1(first, usedforsecurity=False).hexdigest()
        return cast("int", await self._run("forget_notes", [self._keys.audit], [count, digest], DEADLINE_S))
