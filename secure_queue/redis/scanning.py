"""Reads everything that a partition holds in small steps, for audits; nothing here writes, moves or repairs.

A key of the wrong type ends its own walk and is told by its ``StoredKey``. Replies stay within the size limit of one
value, so that neither a hostile value nor a thousand large ones fill the memory of the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from secure_queue.evidence import PutAside, StoredField, StoredKey, Structure
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Argument, Link, Reply, WrongType
from secure_queue.redis.scripts import load

STEP_DEADLINE_S = 10.0
KEYS_PER_STEP = 500
FIELDS_PER_STEP = 200
IDS_PER_STEP = 500
PUT_ASIDE_PER_STEP = 100
LAST_STREAM_ID = b"18446744073709551615-18446744073709551615"
FAILURE = b"!d"
LONGEST_NAME = 300
"""More than any id and its mark have; what is longer is no id, and is cut."""

_STRUCTURES: Final = {structure.value.encode(): structure for structure in Structure}


class RedisScan:
    """Implements ``Scannable``."""

    def __init__(self, link: Link, keys: QueueKeys, max_payload_bytes: int) -> None:
        self._link = link
        self._keys = keys
        self._limit = max_payload_bytes

    async def fixed_keys(self) -> list[StoredKey]:
        return await self._survey(self._keys.fixed)

    async def other_keys(self, cursor: bytes) -> tuple[bytes, list[StoredKey]]:
        pattern = self._keys.prefix + b"*"  # a queue name has no character that means something in a pattern
        reply = await self._link.command("SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_STEP)
        following, found = cast("tuple[bytes, list[bytes]]", reply)
        fixed = set(self._keys.fixed)
        return following, await self._survey([key for key in found if key not in fixed])

    async def fields(self, key: bytes, cursor: bytes) -> tuple[bytes, list[StoredField]]:
        reply = await self._run("scan", [key], [cursor, FIELDS_PER_STEP, self._limit, LONGEST_NAME])
        if not reply:
            return b"0", []
        fields = iter(reply[1:])
        return reply[0], [
            StoredField(name, size, size if size > self._limit else value, bool(owned))
            for name, size, value, owned in zip(fields, fields, fields, fields, strict=True)
        ]

    async def peek(self, key: bytes, field: bytes | None = None) -> bytes | int | None:
        kind = "string" if field is None else "field"
        return cast("bytes | int | None", await self._run("peek", [key], [kind, field or b"", self._limit]))

    async def entries(self, key: bytes, offset: int) -> list[tuple[bytes, bool]]:
        reply = await self._run("entries", [key, *self._keys.buckets], [offset, IDS_PER_STEP, LONGEST_NAME])
        fields = iter(reply or ())
        return [(task_id, bool(stored)) for task_id, stored in zip(fields, fields, strict=True)]

    async def lost_results(self, task_ids: Sequence[bytes]) -> list[bytes]:
        keys = [self._keys.results, *(self._keys.result(task_id) for task_id in task_ids)]
        return list(await self._run("lost_results", keys, list(task_ids)) or ())

    async def ends_of(self, task_id: bytes) -> tuple[bytes | int | None, bytes | int | None, bytes | int | None]:
        bucket = self._keys.bucket(task_id)
        task, failure = await self.peek(bucket, task_id), await self.peek(bucket, FAILURE + task_id)
        return task, failure, await self.peek(self._keys.result(task_id))

    async def put_aside(self, after: bytes) -> tuple[bytes, list[PutAside]]:
        if after == LAST_STREAM_ID:  # anybody may write that one, and nothing comes after it
            return b"", []
        first = b"(" + after if after else b"-"
        args: list[Argument] = [first, PUT_ASIDE_PER_STEP, self._limit, LONGEST_NAME]
        reply = await self._run("put_aside", [self._keys.quarantine], args) or [b""]
        fields = iter(reply[1:])
        return reply[0], [PutAside(*entry) for entry in zip(fields, fields, fields, fields, fields, strict=True)]

    async def _survey(self, keys: Sequence[bytes]) -> list[StoredKey]:
        if not keys:
            return []
        fields = iter(await self._run("survey", keys, [self._limit]))
        facts = zip(keys, zip(fields, fields, fields, fields, strict=True), strict=True)
        return [self._described(key, *fact) for key, fact in facts if fact[0] != b"none"]

    def _described(self, key: bytes, kind: bytes, ttl_ms: int, size: int, value: bytes | None) -> StoredKey:
        named = self._keys.structure_of(key)
        if named is None:
            return StoredKey(key, Structure.STRAY, b"", kind.decode(), True, ttl_ms, size, None)
        structure = _STRUCTURES.get(named[0], Structure.OTHER)
        sound = structure is Structure.MISFIT or kind == self._keys.type_of(key)
        untrusted = size if size > self._limit else value
        return StoredKey(key, structure, named[1], kind.decode(), sound, ttl_ms, size, untrusted)

    async def _run(self, script: str, keys: Sequence[bytes], args: Sequence[Argument]) -> Any:
        """The reply, or nothing where a key has turned into another type since it was surveyed."""
        try:
            reply: Reply = await self._link.run(load(script), keys, args, STEP_DEADLINE_S)
        except WrongType:
            return None
        return reply
