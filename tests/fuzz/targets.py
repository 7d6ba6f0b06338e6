"""What is fuzzed: each target takes any bytes, and raises ``Rejected`` or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from secure_queue import names
from secure_queue.audit.classify import Classifier, Stored
from secure_queue.audit.findings import Kind
from secure_queue.edges import read_children
from secure_queue.errors import KeyRingError, Rejected
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.failures import from_plain, rebuild
from secure_queue.payload.keys import Key, KeyEntry, KeyKind, KeyRing, KeyState, parse_key, public_key
from secure_queue.payload.layout import parse_envelope
from secure_queue.payload.pickle_scan import scan_pickle
from secure_queue.payload.records import ResultHead, TaskHead
from secure_queue.payload.restricted_pickle import RestrictedPickle
from secure_queue.payload.serializers import JsonSerializer, MsgpackSerializer, unpack_plain
from secure_queue.secret import Secret

NOW_MS = 1_800_000_000_000
JTI = bytes(16)


def _key(first: int, kind: KeyKind, state: KeyState = KeyState.ACTIVE) -> KeyEntry:
    return KeyEntry(f"k{first}", state, Secret(bytes(range(first, first + 32))), kind)


_ROOT, _PAIR = _key(100, KeyKind.ROOT), _key(150, KeyKind.SEED)
_WRITERS = [
    Codec(KeyRing([Key(_ROOT)]), "emails", MsgpackSerializer()),
    Codec(KeyRing([Key(_PAIR)]), "emails", MsgpackSerializer()),
]
_RING = KeyRing([Key(_ROOT), Key(public_key(_PAIR))])
_READER = Codec(_RING, "emails", MsgpackSerializer())
_PICKLES = Codec(_RING, "emails", RestrictedPickle(static_scan=True))
_CLASSIFIER = Classifier(_RING, "emails", RestrictedPickle())


def envelope(data: bytes) -> None:
    """The bytes as they are, and laid over a genuine envelope of each suite."""
    for place in (Purpose.TASK, Purpose.RESULT):
        with suppress(Rejected):
            _READER.open(data, place, "t1", now_ms=NOW_MS)
    for suite in range(3):
        writer = _WRITERS[suite == 2]
        genuine = _seal(writer, b"\x93\x01\x02\x03", encrypt=suite == 1)
        at = int.from_bytes(data[:2], "big") % (len(genuine) + 1)
        with suppress(Rejected):
            _READER.open(genuine[:at] + data[2:], Purpose.TASK, "t1", now_ms=NOW_MS)
        with suppress(Rejected):
            _READER.open(genuine[:at] + data[2:] + genuine[at + len(data) - 2 :], Purpose.TASK, "t1", now_ms=NOW_MS)


def body(data: bytes) -> None:
    """The bytes as the value or the whole body of a genuine message, whose holder of the key is hostile."""
    for serializer_id in (1, 2, 3):
        sealed = _seal(_WRITERS[0], data, serializer_id=serializer_id)
        for reader in (_READER, _PICKLES):
            with suppress(Rejected):
                reader.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS)
    for flags in (0, 1):
        place = (1, "t1", "send", NOW_MS, JTI, b"", 0, 60, flags)
        with suppress(Rejected):
            _READER.open(_WRITERS[0]._seal.seal(Purpose.TASK, data, *place), Purpose.TASK, "t1", now_ms=NOW_MS)


def values(data: bytes) -> None:
    """Each serializer, and what is read of heads and failures."""
    for read in (
        MsgpackSerializer().loads,
        JsonSerializer().loads,
        TaskHead.unpack,
        ResultHead.unpack,
        read_children,
        lambda packed: rebuild(from_plain(unpack_plain(packed)), {"ValueError": ValueError}),
        RestrictedPickle(static_scan=True).loads,
    ):
        with suppress(Rejected):
            read(data)
    scan_pickle(data, frozenset())


def audit(data: bytes) -> None:
    """An audit never raises, whatever is stored wherever."""
    for kind in (Kind.TASK, Kind.RESULT, Kind.ABORT_MARK):
        _CLASSIFIER.classify(Stored(kind, data[:20], data), now_ms=NOW_MS)
        _CLASSIFIER.classify(Stored(kind, b"t1", data), now_ms=NOW_MS)
    with suppress(Rejected):
        parse_envelope(data)
    names.stored_task_id(data)
    assert names.printable(data).isprintable()


def key_texts(data: bytes) -> None:
    """What somebody puts into a variable."""
    with suppress(KeyRingError):
        parse_key(data.decode("utf-8", "replace"))
    with suppress(KeyRingError):
        parse_key("sqk1:" + data.decode("latin-1"))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (envelope, body, values, audit, key_texts)
}


def try_one(chosen: Sequence[str], data: bytes) -> None:
    """Give *data* to the target that its first byte names."""
    if data:
        TARGETS[chosen[data[0] % len(chosen)]](data[1:])


def _seal(writer: Codec, value: bytes, serializer_id: int = 1, *, encrypt: bool | None = None) -> bytes:
    return writer.seal(
        Purpose.TASK, "t1", "send", b"", value, now_ms=NOW_MS, jti=JTI, serializer_id=serializer_id, encrypt=encrypt
    )
