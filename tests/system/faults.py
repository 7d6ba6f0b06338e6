"""Plants one fault of each sort into a queue, as somebody who writes to Redis, or an accident, would."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

from secure_queue.audit.findings import Code
from secure_queue.clock import now_ms
from secure_queue.payload.codec import NO_EXPIRY, Codec, Purpose
from secure_queue.payload.keys import Key, KeyEntry, KeyRing, KeyState
from secure_queue.payload.protocol import JSON_ID, PICKLE_ID
from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.redis.keys import QueueKeys
from tests.servers import Server

Found = tuple[str, str, str]
"""Code, kind and id, as a report tells them."""
LIMIT = 1 << 20
_READ = {
    "string": "GET key",
    "hash": "HGETALL key",
    "list": "LRANGE key 0 -1",
    "zset": "ZRANGE key 0 -1",
    "stream": "XRANGE key - +",
}


class Attack:
    """What a forger would like to have unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


class Planter:
    """Writes into one queue of a server; *active*, *revoked* and *foreign* are keys, the last in nobody's ring."""

    def __init__(self, server: Server, queue: str, active: KeyEntry, revoked: KeyEntry, foreign: KeyEntry) -> None:
        self._server = server
        self._queue = queue
        self.keys = QueueKeys(queue, ["normal"])
        self._active, self._revoked, self._foreign = active, revoked, foreign

    def seal(self, task_id: str, *, key: KeyEntry | None = None, queue: str = "", **other: Any) -> bytes:
        ring = KeyRing([Key(KeyEntry("any", KeyState.ACTIVE, (key or self._active).material))])
        purpose = other.pop("purpose", Purpose.TASK)
        options: dict[str, Any] = {"now_ms": now_ms(), "jti": os.urandom(16), "lifetime_s": 3600} | other
        value = options.pop("value", b"\x92\x91\x01\x80")
        codec = Codec(ring, queue or self._queue, MsgpackSerializer())
        return codec.seal(purpose, task_id, "note", b"", value, **options)

    def store(self, task_id: str, payload: bytes, mark: bytes = b"") -> None:
        name = task_id.encode()
        self._server.command("HSET", self.keys.bucket(name), mark + name, payload)

    def snapshot(self) -> dict[bytes, object]:
        """Everything that the queue holds, in an order that reading does not change."""
        return {key: self._content(key) for key in self._server.command("KEYS", self.keys.prefix + b"*")}

    def _content(self, key: bytes) -> object:
        kind = self._server.command("TYPE", key).decode()
        return self._server.command(*[key if word == "key" else word for word in _READ[kind].split()])

    def plant(self) -> set[Found]:
        """Plant them all; say how each must be found."""
        return {*self._unreadable(), *self._not_genuine(), *self._moved(), *self._wrong_time(), *self._values()} | {
            *self._entries(),
            *self._keys(),
            *self._elsewhere(),
        }

    def _unreadable(self) -> Iterator[Found]:
        for task_id, payload, code in (
            ("text", b'{"fn": "note"}', Code.UNSIGNED),
            ("bare-pickle", pickle.dumps(Attack()), Code.UNSIGNED),
            ("cut", self.seal("cut")[:40], Code.MALFORMED),
            ("version", b"\xc1SQ\x09" + self.seal("version")[4:], Code.MALFORMED),
            ("large", bytes(LIMIT + 1), Code.OVERSIZED),
        ):
            self.store(task_id, payload)
            yield code.value, "task", task_id

    def _not_genuine(self) -> Iterator[Found]:
        flipped = bytearray(self.seal("flipped"))
        flipped[-33] ^= 1
        for task_id, payload, code in (
            ("flipped", bytes(flipped), Code.BAD_SIGNATURE),
            ("foreign", self.seal("foreign", key=self._foreign), Code.UNKNOWN_KEY),
            ("revoked", self.seal("revoked", key=self._revoked), Code.REVOKED_KEY),
        ):
            self.store(task_id, payload)
            yield code.value, "task", task_id

    def _moved(self) -> Iterator[Found]:
        for task_id, payload in (
            ("swapped", self.seal("another")),
            ("other-queue", self.seal("other-queue", queue="elsewhere")),
            ("a-result", self.seal("a-result", purpose=Purpose.RESULT)),
        ):
            self.store(task_id, payload)
            yield Code.MOVED.value, "task", task_id

    def _wrong_time(self) -> Iterator[Found]:
        for task_id, payload, code in (
            ("late", self.seal("late", now_ms=now_ms() - 86_400_000), Code.EXPIRED),
            ("early", self.seal("early", now_ms=now_ms() + 86_400_000), Code.FROM_THE_FUTURE),
            ("for-ever", self.seal("for-ever", lifetime_s=NO_EXPIRY), Code.NO_EXPIRY),
        ):
            self.store(task_id, payload)
            yield code.value, "task", task_id

    def _values(self) -> Iterator[Found]:
        attack = self.seal("attack", serializer_id=PICKLE_ID, value=pickle.dumps(Attack()))
        for task_id, payload, code in (
            ("attack", attack, Code.DANGEROUS_PICKLE),
            ("json", self.seal("json", serializer_id=JSON_ID, value=b"[]"), Code.WRONG_SERIALIZER),
        ):
            self.store(task_id, payload)
            yield code.value, "task", task_id

    def _entries(self) -> Iterator[Found]:
        command, keys = self._server.command, self.keys
        command("RPUSH", keys.ready["normal"], "ready-orphan", "a\n[red]log line")
        command("RPUSH", keys.ready["normal"].replace(b"normal", b"urgent"), "urgent-orphan")
        command("ZADD", keys.due["normal"], 1, "due-orphan")
        command("ZADD", keys.dead, 1, "dead-orphan")
        command("ZADD", keys.results, now_ms() + 600_000, "lost-result")
        command("HSET", keys.bucket(b"run-orphan"), "!rrun-orphan", "1:normal:x")
        for task_id in ("ready-orphan", "urgent-orphan", "due-orphan", "dead-orphan", "lost-result", "run-orphan"):
            yield Code.ORPHAN_ID.value, "entry", task_id
        yield Code.BAD_ID.value, "entry", "a\\x0a[red]log line"

    def _keys(self) -> Iterator[Found]:
        command, keys = self._server.command, self.keys
        command("SET", keys.prefix + b"backdoor", "x")
        command("SET", keys.leases, "not a zset")
        command("SET", keys.misfit(keys.wake, b"00"), "moved aside", "EX", 600)
        yield Code.STRAY_KEY.value, "key", (keys.prefix + b"backdoor").decode()
        yield Code.WRONG_TYPE.value, "key", keys.leases.decode()
        yield Code.WRONG_TYPE.value, "key", keys.misfit(keys.wake, b"00").decode()

    def _elsewhere(self) -> Iterator[Found]:
        command, keys = self._server.command, self.keys
        lasting = self.seal("lasting", purpose=Purpose.RESULT)
        command("SET", keys.result(b"lasting"), lasting)
        command("SET", keys.result(b"forged-result"), b"forged", "EX", 600)
        command("HSET", keys.aborts, "forged-abort", "forged")
        command("EXPIRE", keys.aborts, 600)
        self.store("grave", self.seal("grave"))
        self.store("grave", self.seal("elsewhere", purpose=Purpose.RESULT), b"!d")
        command("XADD", keys.quarantine, "*", "id", "put-aside", "reason", "not-an-envelope", "payload", "forged")
        yield Code.NO_EXPIRY.value, "result", "lasting"
        yield Code.UNSIGNED.value, "result", "forged-result"
        yield Code.UNSIGNED.value, "abort-mark", "forged-abort"
        yield Code.MOVED.value, "death", "grave"
        yield Code.UNSIGNED.value, "quarantined", "put-aside"
