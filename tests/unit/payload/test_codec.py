"""One door: what was sealed for a place opens there and then, and nowhere and never else."""

import asyncio
import base64
import json
import warnings
from collections import Counter

import pytest

from secure_queue.errors import PayloadError, Rejected, UnserializableValue
from secure_queue.payload.codec import NO_EXPIRY, Codec, Limits, Purpose
from secure_queue.payload.keys import Key, KeyRing, KeyState, generate_key
from secure_queue.payload.restricted_pickle import RestrictedPickle
from secure_queue.payload.serializers import CALLABLE_ID, CallableSerializer, JsonSerializer, MsgpackSerializer
from tests.unit.payload.samples import JTI, NOW_MS, REF, new_codec, seal_task

DAY_MS = 86_400_000


def reason(codec: Codec, sealed: bytes, **changes) -> str:
    arguments = {"purpose": Purpose.TASK, "task_id": "t1", "now_ms": NOW_MS} | changes
    with pytest.raises(Rejected) as caught:
        codec.open(sealed, arguments.pop("purpose"), arguments.pop("task_id"), **arguments)
    return caught.value.reason


def test_an_opened_task_has_what_was_sealed() -> None:
    codec = new_codec()
    sealed = seal_task(codec, head=b"head", ref=REF, delay_ms=2_999, lifetime_s=60)
    opened = codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS, function="send", ref=REF)
    assert (opened.task_id, opened.function, opened.head, opened.value) == ("t1", "send", b"head", [1, 2, 3])
    assert (opened.jti, opened.ref, opened.serializer_id) == (JTI, REF, 1)
    assert (opened.issued_ms, opened.not_before_ms, opened.expires_ms) == (NOW_MS, NOW_MS + 2000, NOW_MS + 62_000)
    assert opened.key_id == codec._seal._ring.active.key_id


def test_verifying_returns_the_bytes_of_the_value_and_calls_no_deserializer() -> None:
    def explode(data: object) -> object:
        raise AssertionError("deserialized")

    codec = Codec(KeyRing.of_new_key(), "emails", CallableSerializer(json.dumps, explode))
    sealed = codec.seal(Purpose.TASK, "t1", "send", b"head", b"\x01[1]", now_ms=NOW_MS, jti=JTI)
    verified = codec.verify(sealed, Purpose.TASK, "t1", now_ms=NOW_MS, function="send", ref=b"")
    assert (verified.head, verified.value, verified.serializer_id) == (b"head", b"\x01[1]", CALLABLE_ID)
    assert verified.purpose is Purpose.TASK


def test_neither_opened_nor_verified_payloads_print_their_content() -> None:
    codec = new_codec()
    sealed = seal_task(codec, ["canary"], task_id="canary", function="canary", head=b"canary")
    for payload in (
        codec.open(sealed, Purpose.TASK, "canary", now_ms=NOW_MS),
        codec.verify(sealed, Purpose.TASK, "canary", now_ms=NOW_MS),
    ):
        assert "canary" not in repr(payload) + str(payload) + f"{payload}"


def test_a_task_that_is_not_due_yet_is_returned_and_not_rejected() -> None:
    codec = new_codec()
    opened = codec.open(seal_task(codec, delay_ms=DAY_MS), Purpose.TASK, "t1", now_ms=NOW_MS)
    assert opened.not_before_ms == NOW_MS + DAY_MS


def test_a_delay_is_rounded_down_so_that_a_due_task_is_never_early() -> None:
    codec = new_codec()
    opened = codec.open(seal_task(codec, delay_ms=1_500), Purpose.TASK, "t1", now_ms=NOW_MS)
    assert opened.not_before_ms == NOW_MS + 1_000


@pytest.mark.attack(51)
@pytest.mark.parametrize(("ahead_ms", "accepted"), [(59_000, True), (60_000, True), (61_000, False)])
def test_a_clock_may_be_a_minute_ahead(ahead_ms: int, accepted: bool) -> None:
    codec = new_codec()
    sealed = seal_task(codec, now_ms=NOW_MS + ahead_ms)
    if accepted:
        codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS)
    else:
        assert reason(codec, sealed) == "from-the-future"


@pytest.mark.attack(51)
@pytest.mark.parametrize(("late_ms", "accepted"), [(0, True), (60_000, True), (60_001, False)])
def test_a_payload_expires_a_minute_after_its_lifetime(late_ms: int, accepted: bool) -> None:
    codec = new_codec()
    sealed = seal_task(codec, delay_ms=5_000, lifetime_s=10)
    now_ms = NOW_MS + 15_000 + late_ms
    if accepted:
        codec.open(sealed, Purpose.TASK, "t1", now_ms=now_ms)
    else:
        assert reason(codec, sealed, now_ms=now_ms) == "expired"


@pytest.mark.parametrize("purpose", Purpose)
def test_only_results_schedules_and_audit_records_may_last_for_ever(purpose: Purpose) -> None:
    codec = new_codec()
    sealed = seal_task(codec, purpose=purpose, lifetime_s=NO_EXPIRY)
    later_ms = NOW_MS + 200 * 365 * DAY_MS
    if purpose in (Purpose.RESULT, Purpose.SCHEDULE, Purpose.AUDIT):
        assert codec.open(sealed, purpose, "t1", now_ms=later_ms).expires_ms is None
    else:
        assert reason(codec, sealed, purpose=purpose) == "no-expiry-not-allowed"


def test_old_keys_verify_after_a_rotation_and_revoked_ones_do_not() -> None:
    old, new = generate_key("old"), generate_key("new")
    before = new_codec(KeyRing([Key(old)]))
    sealed = seal_task(before)

    def ring(old_state: KeyState) -> KeyRing:
        from dataclasses import replace

        return KeyRing([Key(new), Key(replace(old, state=old_state))])

    assert new_codec(ring(KeyState.VERIFY)).open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]
    assert reason(new_codec(ring(KeyState.REVOKED)), sealed) == "revoked-key"
    assert reason(new_codec(KeyRing([Key(new)])), sealed) == "unknown-key"


def test_a_payload_over_the_limit_is_not_sealed_and_the_message_says_how_large_it_is() -> None:
    codec = Codec(KeyRing.of_new_key(), "emails", MsgpackSerializer(), Limits(stored_bytes=1000))
    with pytest.raises(
        UnserializableValue, match=r"too large: \d{4} bytes, the limit is 1000; store the data elsewhere"
    ):
        codec.seal(Purpose.TASK, "t1", "send", b"", bytes(1000), now_ms=NOW_MS, jti=JTI)


def test_a_head_over_64_kib_is_not_sealed() -> None:
    with pytest.raises(PayloadError, match="head"):
        new_codec().seal(Purpose.TASK, "t1", "send", bytes(65_536), b"", now_ms=NOW_MS, jti=JTI)


def test_a_serializer_that_this_reader_does_not_use_is_refused_before_it_runs() -> None:
    ring = KeyRing.of_new_key()
    pickled = Codec(ring, "emails", RestrictedPickle()).seal(
        Purpose.TASK, "t1", "send", b"", b"\x80\x05N.", now_ms=NOW_MS, jti=JTI
    )
    assert reason(new_codec(ring), pickled) == "serializer-not-allowed"


def test_msgpack_is_understood_whatever_the_serializer_is() -> None:
    codec = Codec(KeyRing.of_new_key(), "emails", JsonSerializer())
    sealed = seal_task(codec, purpose=Purpose.RESULT, serializer_id=1)
    assert codec.open(sealed, Purpose.RESULT, "t1", now_ms=NOW_MS).value == [1, 2, 3]


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x05abc"])
def test_a_body_with_a_broken_frame_is_malformed(body: bytes) -> None:
    codec = new_codec()
    sealed = codec._seal.seal(
        Purpose.TASK,
        body,
        serializer_id=1,
        task_id="t1",
        function="send",
        issued_ms=NOW_MS,
        jti=JTI,
        ref=b"",
        delay_s=0,
        lifetime_s=60,
    )
    assert reason(codec, sealed) == "malformed"


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, SystemExit, KeyError])
def test_whatever_a_loader_raises_becomes_a_reason_without_a_context(error: type[BaseException]) -> None:
    def loads(data: object) -> object:
        raise error("canary")

    codec = Codec(KeyRing.of_new_key(), "emails", CallableSerializer(json.dumps, loads))
    sealed = codec.seal(Purpose.TASK, "t1", "send", b"", b"\x01[]", now_ms=NOW_MS, jti=JTI)
    with pytest.raises(Rejected) as caught:
        codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS)
    assert caught.value.reason == "undeserializable"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def async_codec(loads) -> tuple[Codec, bytes]:
    async def dumps(value: object) -> str:
        return json.dumps(value)

    serializer = CallableSerializer(dumps, loads)
    codec = Codec(KeyRing.of_new_key(), "emails", serializer)
    value = asyncio.run(serializer.dumps({"a": 1}))
    return codec, codec.seal(Purpose.TASK, "t1", "send", b"", value, now_ms=NOW_MS, jti=JTI)


def test_the_value_of_an_async_serializer_is_awaited_by_the_caller() -> None:
    async def loads(text: str) -> object:
        return json.loads(text)

    codec, sealed = async_codec(loads)

    async def main() -> object:
        return await codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS).value

    assert asyncio.run(main()) == {"a": 1}


def test_an_async_loader_that_fails_rejects_when_it_is_awaited() -> None:
    async def loads(text: str) -> object:
        raise ValueError(text)

    codec, sealed = async_codec(loads)

    async def main() -> object:
        return await codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS).value

    with pytest.raises(Rejected) as caught:
        asyncio.run(main())
    assert caught.value.reason == "undeserializable"
    assert caught.value.__context__ is None


def test_the_value_of_an_async_serializer_need_not_be_awaited() -> None:
    async def loads(text: str) -> object:
        return json.loads(text)

    codec, sealed = async_codec(loads)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS)


def test_messages_differ_only_where_they_must() -> None:
    codec = new_codec()
    assert seal_task(codec) == seal_task(codec)
    assert Counter(a == b for a, b in zip(seal_task(codec), seal_task(codec, jti=REF), strict=True))[False] <= 16 + 32
    assert base64.b64encode(seal_task(codec))


def test_ids_and_names_of_any_text_open_again() -> None:
    codec = new_codec()
    sealed = seal_task(codec, task_id="größe:1/ü", function="päckchen.senden")
    assert codec.open(sealed, Purpose.TASK, "größe:1/ü", now_ms=NOW_MS).function == "päckchen.senden"
