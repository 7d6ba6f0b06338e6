"""Plays the attacker: everything that can be written with a connection to Redis, and not one key.

The layout of a queue is no secret (``docs``), so the attacker knows where things stand and what an id looks like.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Link

PICKLE_ID = b"70696b6c65000000000000000000beef"
FROM_THE_END = 40  # the last 32 bytes are the signature; a few before them stand the arguments


@dataclass(frozen=True, slots=True)
class Forgery:
    """What was written, into which tasks, and the reason word with which each must be refused."""

    name: str
    written: str
    task_ids: tuple[str, ...]
    reason: str


class Attacker:
    """Writes forgeries into one queue of *priority* tasks."""

    def __init__(self, link: Link, keys: QueueKeys) -> None:
        self._link = link
        self._keys = keys
        self._ready = keys.ready[keys.priorities[-1]]

    async def queued(self) -> list[bytes]:
        """The ids that wait to be run, next one first."""
        return cast("list[bytes]", await self._link.command("LRANGE", self._ready, 0, -1))

    async def forge_pickle(self, marker: Path) -> Forgery:
        """Put a task into the queue whose payload runs a shell command in whoever unpickles it."""
        await self._write(PICKLE_ID, malicious_pickle(f"touch {shlex.quote(str(marker))}"))
        await self._link.command("RPUSH", self._ready, PICKLE_ID)
        await self._link.command("ZADD", self._keys.wake, 0, b"0")
        written = 'a new task: a pickle that calls os.system("touch ...")'
        return Forgery("forged pickle", written, (PICKLE_ID.decode(),), "not-an-envelope")

    async def flip_bit(self, task_id: bytes) -> Forgery:
        """Change one bit in the arguments of a genuine task."""
        sealed = bytearray(await self._read(task_id))
        sealed[-FROM_THE_END] ^= 1
        await self._write(task_id, bytes(sealed))
        written = "a genuine task with 1 bit of its arguments changed"
        return Forgery("flipped bit", written, (task_id.decode(),), "bad-signature")

    async def swap(self, one: bytes, other: bytes) -> Forgery:
        """Exchange the payloads of two genuine tasks; every byte and both signatures stay genuine."""
        first, second = await self._read(one), await self._read(other)
        await self._write(one, second)
        await self._write(other, first)
        written = "the untouched payloads of 2 genuine tasks, exchanged"
        return Forgery("swapped payload", written, (one.decode(), other.decode()), "wrong-task")

    async def _read(self, task_id: bytes) -> bytes:
        return cast("bytes", await self._link.command("HGET", self._keys.bucket(task_id), task_id))

    async def _write(self, task_id: bytes, payload: bytes) -> None:
        await self._link.command("HSET", self._keys.bucket(task_id), task_id, payload)


def malicious_pickle(command: str) -> bytes:
    """The pickle of an object whose ``__reduce__`` returns ``(os.system, (command,))``, written opcode by opcode."""
    text = command.encode()
    return b"".join(
        (
            b"\x80\x02",  # PROTO 2
            b"cos\nsystem\n",  # GLOBAL: push the function os.system
            b"X" + len(text).to_bytes(4, "little") + text,  # BINUNICODE: push the command
            b"\x85",  # TUPLE1: the command alone as the arguments
            b"R",  # REDUCE: call the function with them
            b".",  # STOP
        )
    )


async def quarantined(link: Link, keys: QueueKeys) -> dict[str, str]:
    """The ids in quarantine, each with its reason word."""
    entries = cast("list[list[list[bytes]]]", await link.command("XRANGE", keys.quarantine, "-", "+"))
    found = [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in entries]
    return {entry[b"id"].decode("ascii", "replace"): entry[b"reason"].decode() for entry in found}
