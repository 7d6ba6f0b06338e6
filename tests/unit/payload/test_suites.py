"""The three suites: the published vectors, who can seal and open what, and which of them a writer takes."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_queue.errors import KeyRingError, Rejected
from secure_queue.payload import ciphers
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.codec import VALUED, Codec, Habits, Limits, Purpose
from secure_queue.payload.envelope import QueueSeal
from secure_queue.payload.grants import Grants
from secure_queue.payload.keys import Key, KeyEntry, KeyKind, KeyRing, KeyState, generate_key, public_key, scoped_key
from secure_queue.payload.layout import parse_envelope
from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.secret import Secret
from tests.unit.payload.samples import JTI, NOW_MS, REF, new_codec, seal_task

HEADER = "01a3185c50000000000000093a800000000000000000000000000000000006656d61696c730274310473656e64"
VECTORS = {
    Suite.HMAC_SHA256: f"c153510201010100fe6eefada229b8c3{HEADER}93010203e56ec6d9334b44d0dbffce6750192e5094a364f05b2e316f"
    "338aa1acd1c04fda",
    Suite.AES_256_GCM: f"c153510202010100fe6eefada229b8c3{HEADER}30b1d4bbaba36a87f88c88de70254813eaf3029a0000000000000000"
    "000000000000000008ad36abb7fe9434d706ce4d76428906b9438e6cfcafccd14187c8a263872888",
    Suite.ED25519: f"c15351020301010037a25733a23599af{HEADER}9301020306577fe3751e3f6b09956e0dba0e59bd12334644806ac1f175ae"
    "f2527d4acc81999b9a4b3cc20fe662cfd22a13b810422643ccd3e35669d235f8ca4d8520f60d",
}


def vector_seal(suite: Suite) -> QueueSeal:
    kind = KeyKind.SEED if suite is Suite.ED25519 else KeyKind.ROOT
    entry = KeyEntry("vector", KeyState.ACTIVE, Secret(bytes(range(32))), kind)
    return QueueSeal(KeyRing([Key.without_strength_check(entry)]), "emails", Limits())


@pytest.mark.parametrize("suite", Suite)
def test_the_published_vectors_are_reproduced_and_open(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ciphers, "urandom", bytes)
    seal, vector = vector_seal(suite), bytes.fromhex(VECTORS[suite])
    encrypt = suite is Suite.AES_256_GCM
    place = (1, "t1", "send", NOW_MS, bytes(16), b"", 0, 604800)
    assert seal.seal(Purpose.TASK, b"\x93\x01\x02\x03", *place, encrypt=encrypt) == vector
    assert seal.open(vector, Purpose.TASK, "t1", "send", b"", NOW_MS)[-1] == b"\x93\x01\x02\x03"
    assert parse_envelope(vector).suite == suite


def ring_of(*entries: KeyEntry) -> KeyRing:
    return KeyRing(Key(entry) for entry in entries)


def reason(codec: Codec, sealed: bytes, purpose: Purpose = Purpose.TASK, task_id: str = "t1") -> str:
    with pytest.raises(Rejected) as caught:
        codec.open(sealed, purpose, task_id, now_ms=NOW_MS)
    return caught.value.reason


CODECS = {
    Suite.HMAC_SHA256: new_codec(),
    Suite.AES_256_GCM: Codec(KeyRing.of_new_key(), "emails", MsgpackSerializer(), habits=Habits(encrypt=True)),
    Suite.ED25519: new_codec(ring_of(generate_key("pair", kind=KeyKind.SEED))),
}


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    suite=st.sampled_from(Suite),
    purpose=st.sampled_from(sorted(VALUED)),
    task_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    function=st.text(st.characters(codec="utf-8"), max_size=60),
    value=st.binary(max_size=2000),
    head=st.binary(max_size=300),
    ref=st.sampled_from([b"", REF]),
    delay_ms=st.integers(0, 10**9),
    lifetime_s=st.integers(1, 10**9),
)
def test_what_is_sealed_opens_as_what_it_was_and_nowhere_else(
    suite: Suite, purpose: Purpose, task_id: str, function: str, value: bytes, head: bytes, ref: bytes,
    delay_ms: int, lifetime_s: int,
) -> None:  # fmt: skip
    codec = CODECS[suite]
    now = {"now_ms": NOW_MS}
    sealed = codec.seal(
        purpose, task_id, function, head, value, jti=JTI, ref=ref, delay_ms=delay_ms, lifetime_s=lifetime_s, **now
    )
    opened = codec.verify(sealed, purpose, task_id, function=function, ref=ref, **now)
    assert (opened.head, opened.value, opened.function, opened.suite) == (head, value, function, suite)
    assert opened.not_before_ms == NOW_MS + delay_ms // 1000 * 1000
    for other in ({"task_id": task_id + "x"}, {"function": function + "x"}, {"ref": JTI}):
        place = {"task_id": task_id, "function": function, "ref": ref} | other
        with pytest.raises(Rejected):
            codec.verify(sealed, purpose, **place, **now)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(suite=st.sampled_from(Suite), data=st.data())
def test_no_changed_byte_opens(suite: Suite, data: st.DataObject) -> None:
    codec = CODECS[suite]
    sealed = seal_task(codec, "a longer text that is hidden", ref=REF)
    start = data.draw(st.integers(0, len(sealed) - 1))
    stop = data.draw(st.integers(start, len(sealed)))
    changed = sealed[:start] + data.draw(st.binary(max_size=12)) + sealed[stop:]
    if changed != sealed:
        with pytest.raises(Rejected):
            codec.open(changed, Purpose.TASK, "t1", now_ms=NOW_MS)


def test_encryption_hides_the_value_and_nothing_else() -> None:
    codec = CODECS[Suite.AES_256_GCM]
    sealed = seal_task(codec, "canary", head=b"budgie", task_id="visible", function="seen")
    assert b"canary" not in sealed and b"budgie" not in sealed
    assert b"visible" in sealed and b"seen" in sealed
    assert codec.open(sealed, Purpose.TASK, "visible", now_ms=NOW_MS).value == "canary"


def test_one_header_that_is_sealed_again_is_encrypted_under_another_key() -> None:
    """Under one key and nonce, two messages would differ by just what their values differ in."""
    codec = CODECS[Suite.AES_256_GCM]
    values = [bytes(64), bytes([1]) * 64] * 25
    sealed = [seal_task(codec, value) for value in values]
    parsed = [parse_envelope(one) for one in sealed]
    assert len({one[: place.body_start] for one, place in zip(sealed, parsed, strict=True)}) == 1
    assert len({one[place.body_start : place.body_end] for one, place in zip(sealed, parsed, strict=True)}) == 50
    assert len({one[-32:] for one in sealed}) == 50  # the commitments, and so the keys
    assert [codec.open(one, Purpose.TASK, "t1", now_ms=NOW_MS).value for one in sealed] == values


def test_signed_and_encrypted_messages_of_one_key_are_read_by_one_reader() -> None:
    codec = new_codec()
    for encrypt in (False, True):
        sealed = seal_task(codec, encrypt=encrypt)
        opened = codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS)
        assert (opened.value, opened.is_encrypted) == ([1, 2, 3], encrypt)


def test_what_carries_no_value_of_the_application_is_not_encrypted() -> None:
    codec = CODECS[Suite.AES_256_GCM]
    for purpose in Purpose:
        assert parse_envelope(seal_task(codec, purpose=purpose)).suite == (2 if purpose in VALUED else 1)


def test_keys_of_all_suites_stand_in_one_ring() -> None:
    root, web = generate_key("root"), generate_key("web", kind=KeyKind.SEED)
    worker = new_codec(ring_of(root, public_key(web)))
    producer = new_codec(ring_of(web))
    for sealed in (seal_task(worker), seal_task(worker, encrypt=True), seal_task(producer)):
        assert worker.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]


@pytest.mark.parametrize("suite", [Suite.HMAC_SHA256, Suite.AES_256_GCM])
@pytest.mark.parametrize("narrow", [False, True])
def test_a_scoped_key_does_what_its_root_does_in_its_place(suite: Suite, narrow: bool) -> None:
    root = generate_key("root")
    where = (suite, Purpose.TASK) if narrow else ()
    producer = new_codec(ring_of(scoped_key(root, "web", "emails", *where)))
    encrypt = {} if narrow else {"encrypt": suite is Suite.AES_256_GCM}
    sealed = seal_task(producer, **encrypt)
    assert parse_envelope(sealed).suite == suite
    opened = new_codec(ring_of(root)).open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS)
    assert opened.value == [1, 2, 3]
    assert producer.open(seal_task(new_codec(ring_of(root)), encrypt=suite is Suite.AES_256_GCM),
                         Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]  # fmt: skip


def test_a_key_of_one_use_signs_that_alone_and_says_so() -> None:
    root = generate_key("root")
    producer = new_codec(ring_of(scoped_key(root, "web", "emails", Suite.HMAC_SHA256, Purpose.TASK)))
    with pytest.raises(KeyRingError, match="may sign a result"):
        seal_task(producer, purpose=Purpose.RESULT)
    with pytest.raises(KeyRingError, match="can encrypt a task"):
        seal_task(producer, encrypt=True)
    with pytest.raises(KeyRingError, match="no active key may sign in the queue 'invoices'"):
        new_codec(ring_of(scoped_key(root, "web", "emails")), "invoices")


def test_several_keys_of_one_root_may_each_sign_something_else() -> None:
    root = generate_key("root")
    parts = [
        scoped_key(root, "tasks", "emails", Suite.HMAC_SHA256, Purpose.TASK),
        scoped_key(root, "hidden", "emails", Suite.AES_256_GCM, Purpose.TASK),
        scoped_key(root, "orders", "emails", Suite.HMAC_SHA256, Purpose.CONTROL),
    ]
    producer, reader = new_codec(ring_of(*parts)), new_codec(ring_of(root))
    for sealed, purpose in (
        (seal_task(producer), Purpose.TASK),
        (seal_task(producer, encrypt=True), Purpose.TASK),
        (seal_task(producer, purpose=Purpose.CONTROL), Purpose.CONTROL),
    ):
        reader.open(sealed, purpose, "t1", now_ms=NOW_MS)
    with pytest.raises(KeyRingError, match="more than one key is active"):
        ring_of(parts[0], scoped_key(generate_key("other"), "two", "emails", Suite.HMAC_SHA256, Purpose.TASK))
    with pytest.raises(KeyRingError, match="the same key is given twice"):
        ring_of(root, KeyEntry("part", KeyState.VERIFY, parts[0].material, parts[0].kind, parts[0].scope))


def test_a_worker_must_be_able_to_answer_as_safely_as_it_is_asked() -> None:
    root = generate_key("root", KeyState.VERIFY)
    results = KeyEntry(
        "worker", KeyState.ACTIVE, generate_key("w").material, KeyKind.SEED,
        grants=Grants(frozenset({Purpose.RESULT})),
    )  # fmt: skip
    new_codec(ring_of(results)).check_answers()
    with pytest.raises(KeyRingError, match="can encrypt a result"):
        new_codec(ring_of(results, root)).check_answers()
    tasks = KeyEntry("t", KeyState.ACTIVE, results.material, KeyKind.SEED, grants=Grants(frozenset({Purpose.TASK})))
    with pytest.raises(KeyRingError, match="may sign a result"):
        new_codec(ring_of(tasks)).check_answers()


def test_a_reader_that_requires_encryption_takes_nothing_that_is_only_signed() -> None:
    ring = KeyRing.of_new_key()
    strict = Codec(ring, "emails", MsgpackSerializer(), habits=Habits(require_encryption=True))
    assert reason(strict, seal_task(new_codec(ring))) == "suite-not-allowed"
    assert strict.open(seal_task(strict), Purpose.TASK, "t1", now_ms=NOW_MS).is_encrypted
    mark = seal_task(new_codec(ring), purpose=Purpose.CONTROL)
    strict.verify(mark, Purpose.CONTROL, "t1", now_ms=NOW_MS)


def test_compression_is_for_what_becomes_smaller_and_is_not_encrypted() -> None:
    ring = KeyRing.of_new_key()
    codec = Codec(ring, "emails", MsgpackSerializer(), habits=Habits(compress=True))
    large = ["the same again"] * 500
    packed = seal_task(codec, large)
    assert len(packed) < 400 and parse_envelope(packed).flags == 1
    assert new_codec(ring).open(packed, Purpose.TASK, "t1", now_ms=NOW_MS).value == large
    assert parse_envelope(seal_task(codec, ["short"])).flags == 0
    assert parse_envelope(seal_task(codec, os.urandom(5000))).flags == 0
    hidden = seal_task(codec, large, encrypt=True)
    assert parse_envelope(hidden).flags == 0 and len(hidden) > 7000
    assert parse_envelope(seal_task(codec, large, compress=False)).flags == 0


def test_a_value_over_the_limit_may_be_sealed_if_its_compressed_form_is_not() -> None:
    codec = Codec(KeyRing.of_new_key(), "emails", MsgpackSerializer(), habits=Habits(compress=True))
    for size, opens in ((3 << 20, True), (5 << 20, False)):
        try:
            sealed = seal_task(codec, bytes(size))
        except Exception as error:
            assert not opens and "too large" in str(error)
        else:
            assert opens and len(codec.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS).value) == size
