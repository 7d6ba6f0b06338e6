"""Puts what an old key has signed under a fresh seal of the active one, so that a rotation need not wait for its end.

Only what is genuine where it lies is sealed again, as the same message: id, function, message id, times and value stay.
Nothing is deserialized. Orders to abort, presence and the marks of results that are not kept end by themselves; what was put
aside, and the audit log, stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

from secure_queue import names
from secure_queue.audit.scan import Pace
from secure_queue.clock import now_ms
from secure_queue.errors import KeyRingError, Rejected
from secure_queue.evidence import Evidence, Place, Scannable, StoredField, StoredKey, Structure
from secure_queue.payload.codec import NO_EXPIRY, Codec, Purpose, Sealed

YOUNG_MS: Final = 60_000
"""A message so young may still be repeated after a lost reply, and must be recognised by its bytes."""
_DEATH: Final = b"!d"
_MARK: Final = b"-"
_START: Final = b"0"
_FIXED: Final = (Structure.BUCKET, Structure.SCHEDULES, Structure.OUTBOX)
_HASHES: Final = (Structure.HANDED, Structure.PARTIAL)
_BESIDE_PARTS: Final = (b"run", b"bytes")
_STRINGS: Final = {Structure.RESULT: Purpose.RESULT, Structure.WORKFLOW: Purpose.STATE}

RESEALED, CURRENT, YOUNG, LEFT = "resealed", "current", "too young", "left alone"


class Resealer:
    """Walks one partition; what became of each payload is counted in ``counts``."""

    def __init__(self, store: Scannable, evidence: Evidence, codec: Codec) -> None:
        self._store = store
        self._evidence = evidence
        self._codec = codec
        self.counts: Counter[str] = Counter()

    async def run(self, rate: float) -> AsyncIterator[int]:
        """Reseal everything, at most *rate* payloads a second; yields how many were looked at in each step."""
        pace = Pace(rate)
        async for step in self._steps():
            yield step
            await pace.keep(step)

    async def _steps(self) -> AsyncIterator[int]:
        for key in await self._store.fixed_keys():
            if key.structure in _FIXED and key.sound:
                async for step in self._hash(key):
                    yield step
        cursor = _START
        while True:
            cursor, found = await self._store.other_keys(cursor)
            sound = [key for key in found if key.sound]
            yield await self._strings([key for key in sound if key.structure in _STRINGS])
            for key in (key for key in sound if key.structure in _HASHES):
                async for step in self._hash(key):
                    yield step
            if cursor == _START:
                return

    async def _strings(self, keys: Sequence[StoredKey]) -> int:
        for key in keys:
            untrusted = await self._store.peek(key.untrusted_key) if key.untrusted is None else key.untrusted
            await self._payload(Place(key.structure, key.untrusted_rest), _STRINGS[key.structure], untrusted)
        return len(keys)

    async def _hash(self, key: StoredKey) -> AsyncIterator[int]:
        cursor = _START
        while True:
            cursor, fields = await self._store.fields(key.untrusted_key, cursor)
            for field in fields:
                await self._field(key, field)
            yield len(fields)
            if cursor == _START:
                return

    async def _field(self, key: StoredKey, field: StoredField) -> None:
        name, untrusted = field.untrusted_name, field.untrusted
        if untrusted is None:
            untrusted = await self._store.peek(key.untrusted_key, name)
        kind = key.structure
        if kind is Structure.SCHEDULES:
            await self._payload(Place(kind, name), Purpose.SCHEDULE, untrusted)
        elif kind is Structure.OUTBOX:
            await self._outgoing(name, untrusted)
        elif kind is Structure.HANDED and name:
            await self._payload(Place(kind, name, key.untrusted_rest), Purpose.RESULT, untrusted)
        elif kind is Structure.PARTIAL and name not in _BESIDE_PARTS:
            await self._payload(Place(kind, key.untrusted_rest, name), Purpose.STATE, untrusted)
        elif kind is Structure.BUCKET and name.startswith(_DEATH):
            await self._payload(Place(kind, name[2:], _DEATH), Purpose.RESULT, untrusted)
        elif kind is Structure.BUCKET and not name.startswith(b"!"):
            await self._payload(Place(kind, name), Purpose.TASK, untrusted)

    async def _outgoing(self, name: bytes, untrusted: bytes | int | None) -> None:
        """The end of a task on its way to its dependents, whose names stand before it."""
        if isinstance(untrusted, bytes):
            dependents, zero, sealed = untrusted.partition(b"\0")
            place = Place(Structure.OUTBOX, name.partition(b" ")[0], name, dependents + zero)
            await self._payload(place, Purpose.RESULT, sealed)

    async def _payload(self, place: Place, purpose: Purpose, untrusted: bytes | int | None) -> None:
        if untrusted == b"" or (place.structure is Structure.RESULT and _is_mark(untrusted)):
            return
        if isinstance(untrusted, bytes):
            self.counts[await self._reseal(place, purpose, untrusted)] += 1

    async def _reseal(self, place: Place, purpose: Purpose, untrusted: bytes) -> str:
        task_id, now = names.stored_task_id(place.untrusted_id), now_ms()
        if task_id is None:
            return LEFT
        try:
            sealed = self._codec.verify(untrusted, purpose, task_id, now_ms=now)
            current = self._codec.key_id_for(purpose, sealed.is_encrypted or None)
        except (Rejected, KeyRingError):  # not genuine, or for another side to seal
            return LEFT
        if sealed.key_id == current:
            return CURRENT
        if now - sealed.issued_ms < YOUNG_MS:
            return YOUNG
        fresh = same_message(self._codec, purpose, sealed)
        return RESEALED if await self._evidence.reseal(place, untrusted, fresh) else LEFT


def _is_mark(untrusted: bytes | int | None) -> bool:
    return isinstance(untrusted, bytes) and untrusted.startswith(_MARK)


def same_message(codec: Codec, purpose: Purpose, sealed: Sealed) -> bytes:
    """The same message under the active key."""
    expires, start = sealed.expires_ms, sealed.not_before_ms
    return codec.seal(
        purpose,
        sealed.task_id,
        sealed.function,
        sealed.head,
        sealed.value,
        now_ms=sealed.issued_ms,
        jti=sealed.jti,
        ref=sealed.ref,
        delay_ms=start - sealed.issued_ms,
        lifetime_s=NO_EXPIRY if expires is None else (expires - start) // 1000,
        serializer_id=sealed.serializer_id,
        encrypt=sealed.is_encrypted or None,
    )
