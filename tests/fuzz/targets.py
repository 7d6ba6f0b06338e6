"""What is fuzzed: each target takes any bytes, and raises ``Rejected`` or nothing.

The first byte of an input chooses one case of its target, so that an input is one thing that is read. What a case can have
ready is made once: sealing for every input would take most of the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from secure_queue import names
from secure_queue.audit.classify import Classifier, Stored
from secure_queue.audit.findings import Kind
from secure_queue.audit.log import ESCROW, EVENT, FUNCTION, KEY_BYTES, MAC, NOTHING_BEFORE, PREVIOUS, SEQ, mac_of
from secure_queue.audit.log_check import LogCheck
from secure_queue.clock import now_ms
from secure_queue.cron import Every
from secure_queue.edges import read_children
from secure_queue.errors import KeyRingError, Rejected
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.escrow import read_public, seal_to
from secure_queue.payload.failures import describe, from_plain, rebuild
from secure_queue.payload.keys import (
    Key,
    KeyEntry,
    KeyKind,
    KeyRing,
    KeyState,
    encode_field,
    format_key,
    parse_key,
    public_key,
)
from secure_queue.payload.layout import parse_envelope
from secure_queue.payload.pickle_scan import scan_pickle
from secure_queue.payload.records import Outcome, PartHead, ResultHead, TaskHead
from secure_queue.payload.restricted_pickle import RestrictedPickle
from secure_queue.payload.serializers import JsonSerializer, MsgpackSerializer, pack_plain, unpack_plain
from secure_queue.plans import plan, read_mark
from secure_queue.presence import _FUNCTION as PRESENCE
from secure_queue.presence import _process
from secure_queue.schedule_records import _pack as schedule_head
from secure_queue.schedule_records import open_schedule
from secure_queue.secret import Secret

NOW_MS = 1_800_000_000_000
JTI = bytes(16)
AUDITOR = (
    "sqa1:private:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
    "sqa1:public:j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8",
)
VALUE = b"\x92\x91\x01\x80"


class Colour(Enum):
    """An enum of the application."""

    RED = 1


@dataclass
class Point:
    """A dataclass of the application."""

    x: int
    y: Any = None


def _key(first: int, kind: KeyKind, state: KeyState = KeyState.ACTIVE) -> KeyEntry:
    return KeyEntry(f"k{first}", state, Secret(bytes(range(first, first + 32))), kind)


def _msgpack() -> MsgpackSerializer:
    serializer = MsgpackSerializer()
    for cls in (Colour, Point):
        serializer.register(cls)
    return serializer


_ROOT, _PAIR = _key(100, KeyKind.ROOT), _key(150, KeyKind.SEED)
_WRITER = Codec(KeyRing([Key(_ROOT)]), "emails", MsgpackSerializer())
_SIGNER = Codec(KeyRing([Key(_PAIR)]), "emails", MsgpackSerializer())
_RING = KeyRing([Key(_ROOT), Key(public_key(_PAIR))])
_READER = Codec(_RING, "emails", _msgpack())
_PICKLES = Codec(_RING, "emails", RestrictedPickle([Point], static_scan=True))
_CLASSIFIER = Classifier(_RING, "emails", RestrictedPickle())


def _seal(writer: Codec, value: bytes, serializer_id: int = 1, *, encrypt: bool | None = None) -> bytes:
    return writer.seal(
        Purpose.TASK, "t1", "send", b"", value, now_ms=NOW_MS, jti=JTI, serializer_id=serializer_id, encrypt=encrypt
    )


_GENUINE = (_seal(_WRITER, VALUE), _seal(_WRITER, VALUE, encrypt=True), _seal(_SIGNER, VALUE))


def envelope(case: int, data: bytes) -> None:
    """The bytes as they are, and laid over or behind the beginning of a genuine envelope of each suite."""
    genuine, how = _GENUINE[case % 3], case // 3 % 4
    if how < 2:
        _READER.open(data, (Purpose.TASK, Purpose.RESULT)[how], "t1", now_ms=NOW_MS)
        return
    at = int.from_bytes(data[:1], "big") % (len(genuine) + 1)
    rest = genuine[at + len(data) - 1 :] if how == 2 else b""
    _READER.open(genuine[:at] + data[1:] + rest, Purpose.TASK, "t1", now_ms=NOW_MS)


def body(case: int, data: bytes) -> None:
    """The bytes as the value or the whole body of a genuine message, whose holder of the key is hostile."""
    how = case % 6
    if how < 4:
        reader = (_READER, _PICKLES)[how % 2]
        serializer_id = (1, 3)[how // 2] if reader is _READER else (1, 2)[how // 2]
        reader.open(_seal(_WRITER, data, serializer_id), Purpose.TASK, "t1", now_ms=NOW_MS)
        return
    place = (1, "t1", "send", NOW_MS, JTI, b"", 0, 60, how - 4)  # flags: as it is, and compressed
    _READER.open(_WRITER._seal.seal(Purpose.TASK, data, *place), Purpose.TASK, "t1", now_ms=NOW_MS)


def values(case: int, data: bytes) -> None:
    """Each serializer, and what is read of heads and failures."""
    _READS[case % len(_READS)](data)


_READS: tuple[Callable[[bytes], object], ...] = (
    _msgpack().loads,
    JsonSerializer().loads,
    RestrictedPickle([Point], static_scan=True).loads,
    lambda packed: scan_pickle(packed, frozenset()),
    TaskHead.unpack,
    ResultHead.unpack,
    PartHead.unpack,
    read_children,
    lambda packed: rebuild(from_plain(unpack_plain(packed)), {"ValueError": ValueError}),
)


def records(case: int, data: bytes) -> None:
    """What the library seals for itself, as the holder of a key could seal it: schedules, presence, the audit log."""
    how = case % 6
    if how == 0:
        open_schedule(_READER, b"t1", _sealed(Purpose.SCHEDULE, "send", data, VALUE))
    elif how == 1:
        open_schedule(_READER, data[:20], data)
    elif how == 2:
        _process(_READER, b"t1", _sealed(Purpose.STATE, PRESENCE, b"", data))
        _process(_READER, data[:20], data)
    elif how == 3:
        read_mark(data, NOW_MS)
    else:
        check = LogCheck(_READER, AUDITOR[0])
        first, second = (_sealed(Purpose.AUDIT, FUNCTION, b"", record) for record in (_FIRST, data))
        check.add([first, second, data] if how == 4 else [second, first])
        check.finish()


def _sealed(purpose: Purpose, function: str, head: bytes, value: bytes) -> bytes:
    return _WRITER.seal(purpose, "t1", function, head, value, now_ms=_STARTED_MS, jti=JTI, lifetime_s=_A_YEAR_S)


_STARTED_MS, _A_YEAR_S = now_ms(), 365 * 86_400  # what reads these looks at the clock itself
_MAC_KEY = bytes(KEY_BYTES)
_FIRST = pack_plain(
    {
        SEQ: 0,
        PREVIOUS: NOTHING_BEFORE,
        EVENT: {"event": "start"},
        MAC: mac_of(_MAC_KEY, b"", 0, {"event": "start"}),
        ESCROW: seal_to(read_public(AUDITOR[1]), _MAC_KEY),
    }
)
_SECOND = {
    SEQ: 1,
    PREVIOUS: hashlib.sha256(_sealed(Purpose.AUDIT, FUNCTION, b"", _FIRST)).digest(),
    EVENT: {"event": "released"},
    MAC: bytes(32),
}


def audit(case: int, data: bytes) -> None:
    """An audit never raises, whatever is stored wherever."""
    kind = _KINDS[case % len(_KINDS)]
    for untrusted_id in (b"t1", data[:20]):
        stored = Stored(kind, untrusted_id, data)
        if kind is Kind.QUARANTINED:
            _CLASSIFIER.put_aside(stored, reason=data[:9], whole_size=len(data) + case % 2, now_ms=NOW_MS)
        _CLASSIFIER.classify(stored, now_ms=NOW_MS)
    names.stored_task_id(data)
    assert names.printable(data).isprintable()
    parse_envelope(data)


_KINDS = (
    Kind.TASK,
    Kind.RESULT,
    Kind.DEATH,
    Kind.ABORT_MARK,
    Kind.PRESENCE,
    Kind.PART,
    Kind.SCHEDULE,
    Kind.QUARANTINED,
)


def key_texts(case: int, data: bytes) -> None:
    """What somebody puts into a variable, also with right check digits."""
    text = data.decode("utf-8", "replace") if case % 3 == 0 else "sqk1:" + data.decode("latin-1")
    if case % 3 == 2:
        text += f":{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    with suppress(KeyRingError):
        parse_key(text)


TARGETS: dict[str, Callable[[int, bytes], None]] = {
    target.__name__: target for target in (envelope, body, values, records, audit, key_texts)
}


def try_one(name: str, data: bytes) -> None:
    """Give *data* to a target; its first byte chooses the case."""
    with suppress(Rejected):
        TARGETS[name](data[0] if data else 0, data[1:])


_ANSWER = ResultHead(Outcome.DONE, 1, NOW_MS, NOW_MS + 5, NOW_MS, "worker")
_HEAD = schedule_head(plan(Every(timedelta(seconds=60))), "high", 3600, TaskHead(max_tries=2, headers={"trace": "x"}))
_VALUES = (
    _msgpack().dumps([[1, "two", 3.0, {4}, (5,), Colour.RED, Point(1, [None])], {"six": timedelta(7)}]),
    b'[[1, "two", {"three": null}], {}]',
    RestrictedPickle([Point]).dumps([[Point(1, (2,))], {}]),
    TaskHead(priority="high", max_tries=3, timeout_ms=9).pack(),
    _ANSWER.pack(),
    pack_plain(describe(ValueError("no")).to_plain()),
)
SEEDS: dict[str, tuple[bytes, ...]] = {
    "envelope": tuple(bytes((case,)) + genuine for genuine in _GENUINE for case in range(3)),
    "body": (*(bytes((case,)) + value for value in _VALUES for case in range(4)), b"\x04\x00\x00" + VALUE),
    "values": (
        *(bytes((case,)) + value for case, value in enumerate(_VALUES)),
        b"\x05" + _ANSWER._replace(kept=False).pack(),
    ),
    "records": (
        b"\x00" + _HEAD,
        b"\x02" + pack_plain({1: "worker", 2: NOW_MS, 3: [["00" * 8, "active"]]}),
        b"\x03%d:%d:t1" % (NOW_MS, NOW_MS),
        b"\x04" + pack_plain(_SECOND),
        b"\x05" + _FIRST,
    ),
    "audit": tuple(bytes((case,)) + genuine for genuine in (*_GENUINE, *_VALUES) for case in range(7)),
    "key_texts": tuple(
        bytes((case,)) + text.encode().removeprefix(b"sqk1:" * (case > 0))
        for text in (format_key(_ROOT), format_key(public_key(_PAIR)), encode_field(_ROOT))
        for case in range(3)
    ),
}
"""Where the search begins: something genuine for each case."""
