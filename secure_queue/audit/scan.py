"""Walks everything that a queue holds, at a bounded rate, and yields what is found; changes and deserializes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import anyio

from secure_queue import names
from secure_queue.audit.classify import Classifier, Stored
from secure_queue.audit.findings import Code, Finding, Kind, Severity, severity_of
from secure_queue.clock import monotonic, now_ms
from secure_queue.evidence import PutAside, Scannable, StoredField, StoredKey, Structure

_START: Final = b"0"
_DEATH: Final = b"!d"
_GHOST: Final = b"!g"
_BESIDE_A_TASK: Final = {
    b"!r": "a run record",
    b"!w": "a list of waiting clients",
    _DEATH: "a failure",
    b"!c": "a list of dependents",
    b"!k": "a place in a line",
}
_BESIDE_PARTS: Final = (b"run", b"bytes")
_ONE_KIND: Final = {Structure.ABORTS: Kind.ABORT_MARK, Structure.SCHEDULES: Kind.SCHEDULE}
_STRINGS: Final = {Structure.RESULT: Kind.RESULT, Structure.WORKFLOW: Kind.WORKFLOW}
_MARK: Final = b"-"
"""Stands before the sealed mark of a result that was not kept. It is no payload, and told only where it is false."""
_SHORT_LIVED: Final = {
    *(b"meta", b"config", b"workers", b"claim", b"aborts", b"schedules", b"fired", b"misfit"),
    *(b"presence", b"present", b"partial", b"handed", b"workflow"),
    *(b"permits", b"starts", b"line", b"turns", b"expected", b"called"),
}
_SIZE_DIGITS: Final = 15

Steps = AsyncIterator[list[Finding]]


class Pace:
    """Keeps a walk at *rate* places a second; 0 is as fast as it goes."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start = monotonic()
        self._done = 0

    async def keep(self, count: int) -> None:
        """Wait until *count* more places may have been looked at."""
        self._done += count
        early = self._done / self._rate - (monotonic() - self._start) if self._rate else 0
        await anyio.sleep(max(early, 0))


async def scan(stores: Sequence[Scannable], classifier: Classifier, rate: float = 0) -> AsyncIterator[Finding]:
    """Everything that is stored in *stores*, good or bad, as it is found. Raises ``Unavailable``."""
    pace = Pace(rate)
    for store in stores:
        async for step in _Walk(store, classifier).steps():
            for finding in step:
                yield finding
            await pace.keep(len(step))


async def scan_beside(stores: Sequence[Scannable], classifier: Classifier, task_id: bytes) -> list[Finding]:
    """What is stored under one id beside tasks, results and failures: a schedule, an order to abort."""
    return [finding for store in stores for finding in await _Walk(store, classifier).beside(task_id)]


class _Walk:
    def __init__(self, store: Scannable, classifier: Classifier) -> None:
        self._store = store
        self._classifier = classifier

    async def steps(self) -> Steps:
        for key in await self._store.fixed_keys():
            async for step in self._look_into(key):
                yield step
        cursor = _START
        while True:
            cursor, found = await self._store.other_keys(cursor)
            yield [finding for key in found for finding in await self._result(key)]
            for key in found:
                if key.structure not in _STRINGS or not key.sound:
                    async for step in self._look_into(key):
                        yield step
            if cursor == _START:
                return

    async def beside(self, task_id: bytes) -> list[Finding]:
        """The fields of one name in the hashes that hold one kind of payload."""
        keys = [key for key in await self._store.fixed_keys() if key.structure in _ONE_KIND and key.sound]
        field = StoredField(task_id, 0, None, False)
        return [finding for key in keys for finding in await self._field(key, field)]

    async def _look_into(self, key: StoredKey) -> Steps:
        yield _about_key(key)
        if key.sound:
            async for step in self._inside(key):
                yield step

    def _inside(self, key: StoredKey) -> Steps:
        match key.structure:
            case Structure.BUCKET | Structure.ABORTS | Structure.SCHEDULES | Structure.PRESENCE | Structure.PARTIAL:
                return self._hash(key)
            case Structure.HANDED | Structure.OUTBOX:
                return self._hash(key)
            case Structure.QUARANTINE:
                return self._quarantine()
            case Structure.RESULTS:
                return self._index_of_results(key)
            case Structure.READY | Structure.DUE | Structure.LEASES | Structure.DEAD:
                return self._entries(key)
        return _nothing()

    # Payloads

    async def _hash(self, key: StoredKey) -> Steps:
        cursor = _START
        while True:
            cursor, fields = await self._store.fields(key.untrusted_key, cursor)
            yield [finding for field in fields for finding in await self._field(key, field)]
            if cursor == _START:
                return

    async def _field(self, key: StoredKey, field: StoredField) -> list[Finding]:
        """A field of a bucket is a task, or something beside a task under a mark; other hashes hold one kind of payload."""
        name = field.untrusted_name
        if key.structure in _ONE_KIND:
            return await self._payload(key, field, _ONE_KIND[key.structure], name)
        if key.structure is Structure.PARTIAL:
            return [] if name in _BESIDE_PARTS else await self._payload(key, field, Kind.PART, key.untrusted_rest)
        if key.structure is Structure.PRESENCE:
            told = await self._payload(key, field, Kind.PRESENCE, name)
            return [finding for finding in told if finding.severity is not Severity.OK]  # a process is no payload
        if key.structure in (Structure.HANDED, Structure.OUTBOX):
            return await self._handover(key, field)
        beside = _BESIDE_A_TASK.get(name[:2])
        if beside is not None and not field.owned:
            return [_note(Code.ORPHAN_ID, Kind.ENTRY, name[2:], f"{beside} without a task")]
        if name.startswith(_DEATH):
            return await self._payload(key, field, Kind.DEATH, name[2:])
        if beside is not None or name.startswith(_GHOST):
            return []
        return await self._payload(key, field, Kind.TASK, name)

    async def _payload(self, key: StoredKey, field: StoredField, kind: Kind, task_id: bytes) -> list[Finding]:
        untrusted = field.untrusted
        if untrusted is None:
            untrusted = await self._store.peek(key.untrusted_key, field.untrusted_name)
        return [] if untrusted is None else [self._classify(Stored(kind, task_id, untrusted))]

    async def _handover(self, key: StoredKey, field: StoredField) -> list[Finding]:
        """The end of a parent, on its way or with a dependent; nothing stands for one that is gone."""
        name, untrusted = field.untrusted_name, field.untrusted
        if untrusted is None:
            untrusted = await self._store.peek(key.untrusted_key, name)
        if key.structure is Structure.OUTBOX and isinstance(untrusted, bytes):
            name, untrusted = name.partition(b" ")[0], untrusted.partition(b"\0")[2]
        if not untrusted or not name:
            return []
        return [self._classify(Stored(Kind.HANDOVER, name, untrusted))]

    async def _result(self, key: StoredKey) -> list[Finding]:
        if key.structure not in _STRINGS or not key.sound:
            return []
        untrusted = await self._store.peek(key.untrusted_key) if key.untrusted is None else key.untrusted
        if untrusted is None:
            return []
        kind = _STRINGS[key.structure]
        if kind is Kind.RESULT and isinstance(untrusted, bytes) and untrusted.startswith(_MARK):
            told = self._classify(Stored(kind, key.untrusted_rest, untrusted.removeprefix(_MARK), key.ttl_ms))
            return [] if told.severity is Severity.OK else [told]
        return [self._classify(Stored(kind, key.untrusted_rest, untrusted, key.ttl_ms))]

    async def _quarantine(self) -> Steps:
        after = b""
        while True:
            after, found = await self._store.put_aside(after)
            if not found:
                return
            yield [self._put_aside(entry) for entry in found]

    def _put_aside(self, entry: PutAside) -> Finding:
        stored = Stored(Kind.QUARANTINED, entry.untrusted_id, entry.untrusted)
        noted = entry.untrusted_size
        size = int(noted) if noted.isdigit() and len(noted) <= _SIZE_DIGITS else 0
        return self._classifier.put_aside(stored, reason=entry.untrusted_reason, whole_size=size, now_ms=now_ms())

    def _classify(self, stored: Stored) -> Finding:
        return self._classifier.classify(stored, now_ms=now_ms())

    # Entries, which hold ids and no payloads

    async def _entries(self, key: StoredKey) -> Steps:
        offset = 0
        while found := await self._store.entries(key.untrusted_key, offset):
            offset += len(found)
            yield [finding for task_id, stored in found for finding in _about_entry(key, task_id, stored)]

    async def _index_of_results(self, key: StoredKey) -> Steps:
        offset = 0
        while found := await self._store.entries(key.untrusted_key, offset):
            offset += len(found)
            task_ids = [task_id for task_id, _ in found if names.stored_task_id(task_id)]
            bad = [finding for task_id, _ in found for finding in _about_entry(key, task_id, True)]
            lost = await self._store.lost_results(task_ids)
            bad += [
                _note(Code.ORPHAN_ID, Kind.ENTRY, task_id, "its result is gone before its time") for task_id in lost
            ]
            yield bad + [finding for task_id, stored in found if stored for finding in await self._repeated(task_id)]

    async def _repeated(self, task_id: bytes) -> list[Finding]:
        """A task that stands beside its own result was put back after its run; a dead letter stands there by right."""
        task, failure, result = await self._store.ends_of(task_id)
        if task is None or result is None or failure is not None:
            return []
        if not self._classifier.answers(task_id, task, result, now_ms=now_ms()):
            return []
        return [
            _note(Code.REPEATED, Kind.ENTRY, task_id, "it has been finished before: its own result is stored beside it")
        ]


def _about_entry(key: StoredKey, task_id: bytes, stored: bool) -> list[Finding]:
    where = f"in {key.structure.value}"
    if names.stored_task_id(task_id) is None:
        return [_note(Code.BAD_ID, Kind.ENTRY, task_id, where)]
    return [] if stored else [_note(Code.ORPHAN_ID, Kind.ENTRY, task_id, f"{where}, but no such task is stored")]


def _about_key(key: StoredKey) -> list[Finding]:
    """What a key's name, type and expiry tell, without looking into it."""
    name, size = key.untrusted_key, key.size
    found = []
    if key.structure is Structure.STRAY:
        found.append(_note(Code.STRAY_KEY, Kind.KEY, name, f"a {key.type} that this library has not made", size))
    elif key.structure is Structure.MISFIT:
        found.append(_note(Code.WRONG_TYPE, Kind.KEY, name, f"a {key.type} that was moved aside", size))
    elif not key.sound:
        found.append(_note(Code.WRONG_TYPE, Kind.KEY, name, f"a {key.type}, which its structure is not", size))
    if key.ttl_ms == -1 and name.rpartition(b"}:")[2].partition(b":")[0] in _SHORT_LIVED:
        found.append(_note(Code.NO_EXPIRY, Kind.KEY, name, "such a key is never kept for ever", size))
    return found


def _note(code: Code, kind: Kind, untrusted_name: bytes, detail: str, size: int = 0) -> Finding:
    return Finding(code, severity_of(code), kind, names.printable(untrusted_name), detail=detail, size=size)


async def _nothing() -> Steps:
    return
    yield
