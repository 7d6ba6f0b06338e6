"""Verifies an audit log: every record is sealed, none is missing in the middle, none was altered or moved.

What was cut off at the end shows only by a checkpoint, which is written to the log of the process and not to the queue.
Records of a key that is revoked or unknown here can be neither believed nor called forged; they are counted apart.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from secure_queue.audit.log import (
    ESCROW,
    EVENT,
    FUNCTION,
    KEY_BYTES,
    MAC,
    NOTHING_BEFORE,
    PREVIOUS,
    SEQ,
    evolved,
    mac_of,
)
from secure_queue.clock import now_ms
from secure_queue.errors import ConfigurationError, Rejected
from secure_queue.names import printable, stored_task_id
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.envelope import parse_envelope
from secure_queue.payload.escrow import open_with, read_private
from secure_queue.payload.serializers import unpack_plain

_NOT_HERE: Final = ("unknown-key", "revoked-key")


@dataclass(slots=True)
class Problem:
    """Something that is wrong with the log: where, and what."""

    place: int
    chain: str
    seq: int | None
    reason: str


@dataclass(slots=True)
class Event:
    """A record that is genuine."""

    chain: str
    seq: int
    facts: dict[str, Any]


@dataclass(slots=True)
class LogReport:
    """What a verification has found; ``unverifiable`` counts records of keys that are not accepted here."""

    records: int = 0
    repeated: int = 0
    unverifiable: int = 0
    forward_secure: int = 0
    events: list[Event] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    chains: dict[str, str] = field(default_factory=dict)
    """The checkpoint of each chain as it stands here."""


@dataclass(slots=True)
class _Progress:
    seq: int = 0
    head: bytes = NOTHING_BEFORE
    mac: bytes = b""
    key: bytes = b""
    heads: dict[int, bytes] = field(default_factory=dict)


class LogCheck:
    """Takes records in the order of the log; ``finish`` compares with checkpoints."""

    def __init__(self, codec: Codec, auditor: str | None = None) -> None:
        self._codec = codec
        self._private = read_private(auditor) if auditor is not None else None
        self._chains: dict[str, _Progress] = {}
        self._seen: set[bytes] = set()
        self.report = LogReport()

    def add(self, records: Iterable[bytes]) -> None:
        """Look at the next records."""
        for untrusted in records:
            self._add(untrusted)

    def _add(self, untrusted: bytes) -> None:
        place = self.report.records
        self.report.records += 1
        digest = hashlib.sha256(untrusted).digest()
        if digest in self._seen:
            self.report.repeated += 1  # the same bytes twice say nothing new: an append was repeated
            return
        chain, seq = "", None
        try:
            chain, body = self._opened(untrusted)
            seq = body[SEQ]
            self._check(self._chains.setdefault(chain, _Progress()), body, digest)
        except Rejected as error:
            if error.reason in _NOT_HERE:
                self.report.unverifiable += 1
            else:
                self.report.problems.append(Problem(place, chain, seq, error.reason))
            return
        self._seen.add(digest)
        self.report.events.append(Event(chain, body[SEQ], body[EVENT]))

    def _opened(self, untrusted: bytes) -> tuple[str, dict[int, Any]]:
        chain = stored_task_id(parse_envelope(untrusted).task_id)
        if chain is None:
            raise Rejected("bad-id")
        value = self._codec.verify(untrusted, Purpose.AUDIT, chain, now_ms=now_ms(), function=FUNCTION).value
        body = unpack_plain(value)
        match body:
            case {1: int(), 2: bytes(), 3: dict()} if all(type(body.get(key, b"")) is bytes for key in (MAC, ESCROW)):
                return chain, body
        raise Rejected("malformed")

    def _check(self, progress: _Progress, body: dict[int, Any], digest: bytes) -> None:
        """One record after the one before; after a gap the rest of the chain is followed from where it goes on."""
        expected = progress.seq, progress.head
        seq = body[SEQ]
        fault = "" if seq == expected[0] else "out-of-order" if seq < expected[0] else "gap"
        if not fault and not hmac.compare_digest(body[PREVIOUS], expected[1]):
            fault = "not-the-next"
        if fault == "out-of-order":
            raise Rejected(fault)
        forward = self._check_mac(progress, body, gap=seq - expected[0])
        progress.seq, progress.head = seq + 1, digest
        progress.heads[progress.seq] = digest
        if fault:
            raise Rejected(fault)
        self.report.forward_secure += forward

    def _check_mac(self, progress: _Progress, body: dict[int, Any], *, gap: int) -> bool:
        """Whether the MAC was checked: it is where there is one and the auditor is here. None may leave it out later."""
        if MAC not in body:
            if progress.mac:
                raise Rejected("bad-mac")
            return False
        if self._private is None:
            progress.mac = body[MAC]
            return False
        if ESCROW in body and body[SEQ] == 0:
            progress.key = open_with(self._private, body[ESCROW])
        if len(progress.key) != KEY_BYTES:
            raise Rejected("no-escrow")
        if not gap and not hmac.compare_digest(mac_of(progress.key, progress.mac, body[SEQ], body[EVENT]), body[MAC]):
            raise Rejected("bad-mac")
        for _ in range(min(gap, 1_000_000) + 1):
            progress.key = evolved(progress.key)
        progress.mac = body[MAC]
        return not gap

    def finish(self, checkpoints: Iterable[str] = ()) -> LogReport:
        """Compare with *checkpoints* (``chain:count:digest``) and return the report."""
        for name, progress in self._chains.items():
            self.report.chains[name] = f"{name}:{progress.seq}:{progress.head.hex()}"
        for checkpoint in checkpoints:
            self._compare(checkpoint)
        return self.report

    def _compare(self, checkpoint: str) -> None:
        name, _, rest = checkpoint.strip().partition(":")
        count, _, head = rest.partition(":")
        if not count.isdecimal() or len(head) != 2 * len(NOTHING_BEFORE):
            raise ConfigurationError(f"{printable(checkpoint, 40)!r} is no checkpoint; it is chain:count:digest")
        progress = self._chains.get(name)
        if progress is None or progress.heads.get(int(count), b"").hex() != head:
            self.report.problems.append(Problem(self.report.records, printable(name), int(count), "missing-tail"))
