"""The wire format, byte for byte, and what the structure parser makes of it."""

import struct

import pytest

from secure_queue.errors import PayloadError, Rejected
from secure_queue.payload.envelope import (
    NO_EXPIRY,
    Limits,
    Purpose,
    QueueSeal,
    compress_body,
    parse_envelope,
)
from tests.unit.payload.samples import JTI, NOW_MS, REF, VECTOR, vector_ring


def vector_seal(limits: Limits | None = None) -> QueueSeal:
    return QueueSeal(vector_ring(), "emails", limits or Limits())


def seal(body: bytes = b"\x93\x01\x02\x03", **changes) -> bytes:
    arguments = {
        "serializer_id": 1,
        "task_id": "t1",
        "function": "send",
        "issued_ms": NOW_MS,
        "jti": bytes(16),
        "ref": b"",
        "delay_s": 0,
        "lifetime_s": 604800,
    }
    purpose = changes.pop("purpose", Purpose.TASK)
    return vector_seal().seal(purpose, body, **(arguments | changes))


def test_the_published_vector_is_reproduced() -> None:
    assert seal() == VECTOR


def test_the_published_vector_opens() -> None:
    function, *_, body = vector_seal().open(VECTOR, Purpose.TASK, "t1", "send", b"", NOW_MS)
    assert (function, body) == ("send", b"\x93\x01\x02\x03")


def test_the_header_has_the_documented_layout() -> None:
    sealed = seal(jti=JTI, ref=REF, delay_s=5, lifetime_s=60, serializer_id=3)
    assert sealed[:8] == b"\xc1SQ\x02\x01\x01\x03\x02"
    assert sealed[8:16] == vector_ring().active.key_id
    assert int.from_bytes(sealed[16:22], "big") == NOW_MS
    assert struct.unpack(">II", sealed[22:30]) == (5, 60)
    assert sealed[30:46] == JTI
    assert sealed[46:62] == REF
    assert sealed[62:-32] == b"\x06emails\x02t1\x04send\x93\x01\x02\x03"


def test_parsing_returns_every_field_unbelieved() -> None:
    parsed = parse_envelope(seal(jti=JTI, ref=REF, delay_s=5, lifetime_s=60))
    assert (parsed.queue, parsed.task_id, parsed.function) == (b"emails", b"t1", b"send")
    assert (parsed.issued_ms, parsed.not_before_ms, parsed.expires_ms) == (NOW_MS, NOW_MS + 5000, NOW_MS + 65000)
    assert (parsed.jti, parsed.ref, parsed.purpose, parsed.serializer_id) == (JTI, REF, 1, 1)
    assert repr(parsed) == "<Parsed purpose=1 key=fe6eefad>"


def test_an_envelope_without_expiry_says_so() -> None:
    assert parse_envelope(seal(lifetime_s=NO_EXPIRY)).expires_ms is None


@pytest.mark.parametrize(
    ("untrusted", "reason"),
    [
        ("text", "not-bytes"),
        (bytearray(VECTOR), "not-bytes"),
        (None, "not-bytes"),
        (bytes(1 << 20) + b"x", "too-large"),
        (b"", "too-short"),
        (VECTOR[:45], "too-short"),
        (bytes(100), "not-an-envelope"),
        (VECTOR[:3] + b"\x01" + VECTOR[4:], "unknown-version"),
        (VECTOR[:4] + b"\x00" + VECTOR[5:], "suite-not-allowed"),
        (VECTOR[:4] + b"\x04" + VECTOR[5:], "suite-not-allowed"),
        (VECTOR[:7] + b"\x04" + VECTOR[8:], "unknown-flag"),
        (VECTOR[:46], "malformed"),
        (VECTOR[:46] + b"\xff" + VECTOR[47:], "malformed"),
        (VECTOR[:80], "malformed"),
    ],
)
def test_the_first_structural_fault_is_named(untrusted: object, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_envelope(untrusted)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"task_id": "x" * 256},
        {"function": "x" * 256},
        {"function": "\ud800"},
        {"jti": b"short"},
        {"ref": b"short"},
        {"delay_s": 1 << 32},
        {"lifetime_s": -1},
        {"issued_ms": 1 << 48},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_does_not_fit_the_format_is_not_sealed(changes: dict) -> None:
    with pytest.raises(PayloadError):
        seal(**changes)


def test_a_queue_name_of_256_bytes_is_refused() -> None:
    with pytest.raises(PayloadError, match="255"):
        QueueSeal(vector_ring(), "q" * 256, Limits())


def test_a_compressed_body_opens_as_the_original() -> None:
    body = b"abc" * 1000
    smaller, flags = compress_body(body)
    sealed = seal(smaller, flags=flags)
    assert len(sealed) < 300
    assert vector_seal().open(sealed, Purpose.TASK, "t1", None, None, NOW_MS)[-1] == body


def test_a_body_that_does_not_shrink_stays_as_it_is() -> None:
    assert compress_body(b"abc") == (b"abc", 0)
