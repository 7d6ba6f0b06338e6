"""The audit log: security events as a chain of sealed records, one chain for each process.

Each record is sealed (purpose audit), counts on from the one before and names its digest, so that an edit, a gap or
another order shows. With the public key of an auditor the chain is forward secure besides: a MAC is made with a key that
moves on with every record and is forgotten, and only the auditor can open the first one. Whoever breaks in later, and has
the signing key, cannot make past records again. They can make a whole chain anew, from a first record of their own; that
shows where the list can only be appended to, or where one checkpoint from before is known.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import anyio

from secure_queue.clock import now_ms
from secure_queue.errors import SecureQueueError
from secure_queue.evidence import Evidence
from secure_queue.names import printable
from secure_queue.payload.codec import NO_EXPIRY, Codec, Purpose
from secure_queue.payload.escrow import read_public, seal_to
from secure_queue.payload.serializers import MSGPACK_ID, pack_plain

FUNCTION: Final = "secure_queue.audit_log"
SEQ, PREVIOUS, EVENT, MAC, ESCROW = 1, 2, 3, 4, 5
KEY_BYTES: Final = 32
EVOLVE: Final = b"evolve"
NOTHING_BEFORE: Final = bytes(32)
MOST_WAITING: Final = 10_000
MOST_RECORDS: Final = 100_000
BATCH: Final = 200
CHECKPOINT_EVERY_MS: Final = 60_000
_LONGEST_TEXT: Final = 200

_log = logging.getLogger("secure_queue.audit")


def evolved(key: bytes) -> bytes:
    """The key of the next record; from it nobody comes back to this one."""
    return hmac.digest(key, EVOLVE, "sha256")


def mac_of(key: bytes, previous_mac: bytes, seq: int, event: dict[str, Any]) -> bytes:
    """What proves that a record was made when its key was still there."""
    return hmac.digest(key, previous_mac + pack_plain([seq, event]), "sha256")


class Chain:
    """The records of one process; making one forgets the key that it was made with."""

    def __init__(self, codec: Codec, auditor: str | None = None) -> None:
        self._codec = codec
        self.name = os.urandom(16).hex()
        self.seq = 0
        self.head = NOTHING_BEFORE
        self._key = os.urandom(KEY_BYTES) if auditor is not None else b""
        self._mac = b""
        self._escrow = seal_to(read_public(auditor), self._key) if auditor is not None else b""

    def record(self, event: dict[str, Any]) -> bytes:
        """The next record, sealed."""
        body: dict[int, Any] = {SEQ: self.seq, PREVIOUS: self.head, EVENT: event}
        if self._key:
            body[MAC] = mac_of(self._key, self._mac, self.seq, event)
            if self.seq == 0:
                body[ESCROW] = self._escrow
        sealed = self._codec.seal(
            Purpose.AUDIT,
            self.name,
            FUNCTION,
            b"",
            pack_plain(body),
            now_ms=now_ms(),
            jti=os.urandom(16),
            lifetime_s=NO_EXPIRY,
            serializer_id=MSGPACK_ID,
        )
        if self._key:
            self._mac, self._key = body[MAC], evolved(self._key)
        self.head = hashlib.sha256(sealed).digest()
        self.seq += 1
        return sealed

    @property
    def checkpoint(self) -> str:
        """How far the chain has come: its name, how many records it has, and the digest of the last one."""
        return f"{self.name}:{self.seq}:{self.head.hex()}"


class Journal:
    """Takes events as they happen, and appends them to the log; ``flush`` belongs into a loop."""

    def __init__(self, evidence: Evidence, codec: Codec, *, process: str, auditor: str | None = None) -> None:
        self._evidence = evidence
        self._chain = Chain(codec, auditor)
        self._process = process
        self._waiting: deque[bytes] = deque()
        self._one_at_a_time = anyio.Lock()
        self._lost = 0
        self._checkpoint_ms = 0
        self._held_until_ms = 0
        self._cannot_seal = False

    def note(self, event: str, **facts: str | bytes | int) -> None:
        """Note an event; texts are escaped and cut, so that none brings a line or a payload into the log."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1  # the next record says how many
            return
        try:
            self._note(event, facts)
            self._cannot_seal = False
        except SecureQueueError as error:  # a key that may not sign this must not end what is going on
            self._lost += 1
            if not self._cannot_seal:
                _log.error(
                    "security events cannot be sealed for the audit log, from now on they are counted: %s", error
                )
            self._cannot_seal = True

    def _note(self, event: str, facts: Mapping[str, str | bytes | int]) -> None:
        if self._chain.seq == 0:
            self._add({"event": "start", "process": self._process})
        if self._lost:
            self._add({"event": "records-lost", "count": self._lost})
            self._lost = 0
        told = {name: fact if isinstance(fact, int) else printable(fact, _LONGEST_TEXT) for name, fact in facts.items()}
        self._add({"event": event, **told})

    def _add(self, event: dict[str, Any]) -> None:
        self._waiting.append(self._chain.record({"ms": now_ms(), **event}))

    def _hold_back(self) -> None:
        """The log in the queue is full: append no more than one batch a minute, until somebody has exported it."""
        _log.error("the audit log has %d records; `secure-queue audit log export --clear` it", MOST_RECORDS)
        self._held_until_ms = now_ms() + CHECKPOINT_EVERY_MS

    async def flush(self) -> None:
        """Append what waits; after an error it is tried again next time, and a record may then stand there twice."""
        async with self._one_at_a_time:  # the last flush of a worker may meet one that is under way
            await self._append()

    async def _append(self) -> None:
        if now_ms() < self._held_until_ms:
            return
        while self._waiting:
            some = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
            try:
                length = await self._evidence.note(some)
            except SecureQueueError as error:
                _log.error("security events wait to be appended to the audit log: %s", error)
                self._held_until_ms = now_ms() + CHECKPOINT_EVERY_MS
                return
            for _ in some:
                self._waiting.popleft()
            if length >= MOST_RECORDS:
                self._hold_back()
                return
        if self._chain.seq and now_ms() - self._checkpoint_ms >= CHECKPOINT_EVERY_MS:
            self._checkpoint_ms = now_ms()
            _log.info("audit log checkpoint %s", self._chain.checkpoint)
