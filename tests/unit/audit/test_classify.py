"""Every code of an audit, from bytes alone, and the rule that no deserializer is ever asked."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_queue.audit.classify import Classifier, Stored
from secure_queue.audit.findings import Code, Finding, Kind, Severity
from secure_queue.payload.codec import NO_EXPIRY, Codec, Limits, Purpose
from secure_queue.payload.keys import Key, KeyEntry, KeyRing, KeyState, generate_key
from secure_queue.payload.protocol import CALLABLE_ID, JSON_ID, MSGPACK_ID, PICKLE_ID, Serializer
from secure_queue.payload.restricted_pickle import RestrictedPickle
from secure_queue.payload.serializers import MsgpackSerializer

NOW = 1_800_000_000_000
ACTIVE, REVOKED, FOREIGN = (generate_key(name) for name in ("2026-12", "2025-01", "foreign"))
RING = KeyRing([Key(ACTIVE), Key(KeyEntry(REVOKED.name, KeyState.REVOKED, REVOKED.material))])


class Trap:
    """A serializer that fails the test when it is asked to read."""

    id = CALLABLE_ID
    name = "trap"
    is_async = False

    def dumps(self, value: Any) -> bytes:
        raise AssertionError("an audit writes nothing")

    def loads(self, data: bytes) -> NoReturn:
        raise AssertionError("an audit deserializes nothing")


@pytest.fixture(autouse=True)
def no_deserializer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("an audit deserializes nothing")

    for module in (pickle, __import__("secure_queue.payload.serializers", fromlist=["_"])):
        for name in ("loads", "load", "Unpickler", "unpackb", "unpack_plain"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, refuse)
    for reader in (MsgpackSerializer, RestrictedPickle):
        monkeypatch.setattr(reader, "loads", refuse)


def sealed(
    *,
    key: KeyEntry = ACTIVE,
    queue: str = "emails",
    task_id: str = "t1",
    purpose: Purpose = Purpose.TASK,
    serializer_id: int = MSGPACK_ID,
    value: bytes = b"\x92\x90\x80",
    now_ms: int = NOW,
    lifetime_s: int = 3600,
) -> bytes:
    codec = Codec(KeyRing([Key(key)]), queue, MsgpackSerializer())
    return codec.seal(
        purpose,
        task_id,
        "send",
        b"",
        value,
        now_ms=now_ms,
        jti=bytes(16),
        lifetime_s=lifetime_s,
        serializer_id=serializer_id,
    )


def look(
    untrusted: bytes | int,
    *,
    kind: Kind = Kind.TASK,
    task_id: bytes = b"t1",
    ttl_ms: int | None = None,
    serializer: Serializer | None = None,
) -> Finding:
    classifier = Classifier(RING, "emails", serializer or Trap(), Limits(stored_bytes=4096))
    return classifier.classify(Stored(kind, task_id, untrusted, ttl_ms), now_ms=NOW)


class Attack:
    """What a forger would like to have unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/never",)


@dataclass
class Allowed:
    number: int


def test_a_genuine_payload_in_its_place_is_valid_and_described() -> None:
    payload = sealed()
    found = look(payload)
    assert (found.code, found.severity, found.kind, found.id) == (Code.VALID, Severity.OK, Kind.TASK, "t1")
    assert (found.key_name, found.key_id) == ("2026-12", ACTIVE.key_id.hex())
    assert (found.serializer, found.function, found.size) == ("msgpack", "send", len(payload))
    assert (found.issued_ms, found.expires_ms) == (NOW, NOW + 3_600_000)
    assert len(found.sha256) == 64
    assert found.genuine


@pytest.mark.parametrize(
    ("kind", "purpose"),
    [
        (Kind.TASK, Purpose.TASK),
        (Kind.RESULT, Purpose.RESULT),
        (Kind.DEATH, Purpose.RESULT),
        (Kind.ABORT_MARK, Purpose.CONTROL),
        (Kind.QUARANTINED, Purpose.TASK),
    ],
)
def test_each_place_has_its_purpose(kind: Kind, purpose: Purpose) -> None:
    for wrong in Purpose:
        found = look(sealed(purpose=wrong), kind=kind)
        assert found.code is (Code.VALID if wrong is purpose else Code.MOVED)


FLIPPED = bytearray(sealed())
FLIPPED[-40] ^= 1


@pytest.mark.parametrize(
    ("untrusted", "code", "severity"),
    [
        (b"", Code.UNSIGNED, Severity.CRITICAL),
        (b'{"fn": "send"}', Code.UNSIGNED, Severity.CRITICAL),
        (pickle.dumps(Attack()), Code.UNSIGNED, Severity.CRITICAL),
        (bytes(FLIPPED), Code.BAD_SIGNATURE, Severity.CRITICAL),
        (sealed(key=FOREIGN), Code.UNKNOWN_KEY, Severity.WARNING),
        (sealed(key=REVOKED), Code.REVOKED_KEY, Severity.WARNING),
        (sealed(now_ms=NOW - 7_200_000), Code.EXPIRED, Severity.NOTICE),
        (sealed(now_ms=NOW + 7_200_000), Code.FROM_THE_FUTURE, Severity.WARNING),
        (sealed(lifetime_s=NO_EXPIRY), Code.NO_EXPIRY, Severity.WARNING),
        (sealed(task_id="t2"), Code.MOVED, Severity.CRITICAL),
        (sealed(queue="orders"), Code.MOVED, Severity.CRITICAL),
        (sealed(purpose=Purpose.RESULT), Code.MOVED, Severity.CRITICAL),
        (sealed()[:40], Code.MALFORMED, Severity.WARNING),
        (sealed()[:3] + b"\x01" + sealed()[4:], Code.MALFORMED, Severity.WARNING),
        (sealed()[:4] + b"\x02" + sealed()[5:], Code.MALFORMED, Severity.WARNING),
        (bytes(4097), Code.OVERSIZED, Severity.WARNING),
        (100_000_000, Code.OVERSIZED, Severity.WARNING),
        (sealed(serializer_id=JSON_ID), Code.WRONG_SERIALIZER, Severity.WARNING),
        (sealed(serializer_id=77), Code.WRONG_SERIALIZER, Severity.WARNING),
        (sealed(serializer_id=PICKLE_ID, value=pickle.dumps(Attack())), Code.DANGEROUS_PICKLE, Severity.CRITICAL),
        (sealed(serializer_id=PICKLE_ID, value=pickle.dumps([1])), Code.WRONG_SERIALIZER, Severity.WARNING),
        (sealed(serializer_id=CALLABLE_ID), Code.VALID, Severity.OK),
    ],
)
def test_each_fault_has_its_code(untrusted: bytes | int, code: Code, severity: Severity) -> None:
    found = look(untrusted)
    assert (found.code, found.severity) == (code, severity)


def test_a_moved_payload_is_told_with_both_names() -> None:
    found = look(sealed(task_id="t2", queue="orders"))
    assert found.detail == "wrong-queue: sealed as task t2 of queue orders, found as task t1 of queue emails"
    assert look(sealed(task_id="t2")).detail.startswith("wrong-task: sealed as task t2 of queue emails")
    assert look(sealed(purpose=Purpose.RESULT)).detail.startswith("wrong-purpose: sealed as result t1")


def test_a_pickle_is_judged_by_the_allowlist_of_the_queue() -> None:
    payload = sealed(serializer_id=PICKLE_ID, value=pickle.dumps(Allowed(1)))
    found = look(payload)
    assert found.code is Code.DANGEROUS_PICKLE
    assert found.detail == f"global-not-allowed: {Allowed.__module__}.Allowed by BUILD, NEWOBJ"
    assert look(payload, serializer=RestrictedPickle(allow=[Allowed])).code is Code.VALID
    attack = sealed(serializer_id=PICKLE_ID, value=pickle.dumps(Attack()))
    assert "system" in look(attack, serializer=RestrictedPickle(allow=[Allowed])).detail


def test_an_unsigned_pickle_tells_what_it_would_have_called() -> None:
    assert look(pickle.dumps(Attack())).detail == f"a bare pickle: global-not-allowed: {os.name}.system by REDUCE"


def test_the_key_that_a_payload_names_is_shown_even_if_it_is_revoked() -> None:
    found = look(sealed(key=REVOKED))
    assert (found.key_name, found.genuine) == ("2025-01", False)
    assert look(sealed(key=FOREIGN)).key_name == ""


def test_a_key_that_never_expires_is_told_unless_its_payload_says_so() -> None:
    result = sealed(purpose=Purpose.RESULT)
    assert look(result, kind=Kind.RESULT, ttl_ms=5).code is Code.VALID
    assert look(result, kind=Kind.RESULT, ttl_ms=-1).code is Code.NO_EXPIRY
    for_ever = sealed(purpose=Purpose.RESULT, lifetime_s=NO_EXPIRY)
    assert look(for_ever, kind=Kind.RESULT, ttl_ms=-1).code is Code.VALID


def test_nothing_can_be_stored_under_a_bad_id() -> None:
    found = look(sealed(), task_id=b"t1\n\x1b[31mfake log line")
    assert found.code is Code.BAD_ID
    assert found.id == "t1\\x0a\\x1b[31mfake log line"


def test_the_size_of_a_value_that_was_not_read_is_told_without_a_hash() -> None:
    found = look(100_000_000)
    assert (found.size, found.sha256) == (100_000_000, "")


@pytest.mark.parametrize(
    ("untrusted", "reason", "whole", "code", "severity", "detail"),
    [
        (sealed(key=FOREIGN), b"unknown-key", 0, Code.UNKNOWN_KEY, Severity.WARNING, "put aside as unknown-key"),
        (
            sealed(),
            b"unknown-key",
            0,
            Code.VALID,
            Severity.NOTICE,
            "put aside as unknown-key; it would be accepted now",
        ),
        (b"forged", b"x\n", 0, Code.UNSIGNED, Severity.WARNING, "put aside as x\\x0a; no envelope of this library"),
        (b"", b"missing-payload", 0, Code.ORPHAN_ID, Severity.WARNING, "put aside as missing-payload; an entry"),
        (sealed(), b"too-large", 9999, Code.OVERSIZED, Severity.WARNING, "put aside as too-large; the limit"),
    ],
)
def test_what_was_put_aside_is_never_worse_than_a_warning(
    untrusted: bytes, reason: bytes, whole: int, code: Code, severity: Severity, detail: str
) -> None:
    classifier = Classifier(RING, "emails", Trap(), Limits(stored_bytes=4096))
    stored = Stored(Kind.QUARANTINED, b"t1", untrusted)
    found = classifier.put_aside(stored, reason=reason, whole_size=whole, now_ms=NOW)
    assert (found.code, found.severity) == (code, severity)
    assert found.detail.startswith(detail)


GENUINE = sealed()


@settings(deadline=None)  # a busy machine is no fault
@given(st.data())
def test_no_bytes_raise_and_no_altered_payload_is_valid(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GENUINE) - 1))
    tail = data.draw(st.binary(max_size=80))
    untrusted = data.draw(st.sampled_from([GENUINE[:place] + tail, tail, GENUINE + tail, tail + GENUINE]))
    task_id = data.draw(st.sampled_from([b"t1", b"", b"\xff", b"{x}"]))
    found = look(untrusted, task_id=task_id)
    assert (found.code is Code.VALID) == (untrusted == GENUINE and task_id == b"t1")
    assert found.id.isprintable() and found.function.isprintable() and found.detail.isprintable()
