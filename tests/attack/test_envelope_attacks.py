"""Whatever is done to a stored envelope, it is rejected by a fixed word and nothing else happens."""

import random
import struct
import tracemalloc
import zlib

import pytest

from secure_queue.errors import Rejected
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.envelope import parse_envelope
from secure_queue.payload.keys import Key, KeyEntry, KeyRing, KeyState
from secure_queue.payload.serializers import MsgpackSerializer
from tests.unit.payload.samples import JTI, NOW_MS, REF, VECTOR_ROOT, new_codec, seal_task

REASONS = frozenset(
    [
        "not-bytes",
        "too-large",
        "too-short",
        "not-an-envelope",
        "unknown-version",
        "suite-not-allowed",
        "unknown-flag",
        "malformed",
        "unknown-key",
        "revoked-key",
        "suite-key-mismatch",
        "key-not-authorised",
        "bad-signature",
        "wrong-purpose",
        "wrong-queue",
        "wrong-task",
        "wrong-function",
        "wrong-ref",
        "from-the-future",
        "expired",
        "no-expiry-not-allowed",
        "decompressed-too-large",
        "bad-compression",
        "serializer-not-allowed",
        "unknown-type",
        "too-deep",
        "undeserializable",
    ]
)

CODEC = new_codec()
SEALED = seal_task(CODEC, ref=REF, delay_ms=5_000)


def rejection(untrusted: object, codec: Codec = CODEC, **changes) -> str:
    """Open at the usual place; fail unless exactly ``Rejected`` is raised with a documented reason."""
    arguments = {"purpose": Purpose.TASK, "task_id": "t1", "now_ms": NOW_MS, "function": "send", "ref": REF} | changes
    with pytest.raises(Rejected) as caught:
        codec.open(untrusted, arguments.pop("purpose"), arguments.pop("task_id"), **arguments)
    assert type(caught.value) is Rejected
    assert caught.value.reason in REASONS
    assert caught.value.args == (caught.value.reason,)
    return caught.value.reason


def test_the_untouched_envelope_opens() -> None:
    opened = CODEC.open(SEALED, Purpose.TASK, "t1", now_ms=NOW_MS, function="send", ref=REF)
    assert opened.value == [1, 2, 3]


@pytest.mark.attack(4)
def test_every_single_bit_flip_is_rejected() -> None:
    for bit in range(len(SEALED) * 8):
        flipped = bytearray(SEALED)
        flipped[bit // 8] ^= 1 << bit % 8
        rejection(bytes(flipped))


@pytest.mark.attack(5)
def test_every_truncation_is_rejected() -> None:
    for length in range(len(SEALED)):
        rejection(SEALED[:length])
        rejection(SEALED[length + 1 :])


@pytest.mark.attack(5)
def test_every_appended_and_inserted_byte_is_rejected() -> None:
    for byte in range(256):
        assert rejection(SEALED + bytes((byte,))) == "bad-signature"
    for position in range(len(SEALED)):
        rejection(SEALED[:position] + b"\x00" + SEALED[position:])


@pytest.mark.attack(6)
def test_sixty_thousand_mutants_are_rejected() -> None:
    dice = random.Random(20_26)
    for _ in range(60_000):
        mutant = bytearray(SEALED)
        for _ in range(dice.randint(1, 6)):
            match dice.randrange(4):
                case 0:
                    mutant[dice.randrange(len(mutant))] = dice.randrange(256)
                case 1:
                    del mutant[dice.randrange(len(mutant)) :]
                    mutant += b"\x00"
                case 2:
                    mutant.insert(dice.randrange(len(mutant) + 1), dice.randrange(256))
                case 3:
                    start = dice.randrange(len(mutant))
                    mutant[start : start + 4] = dice.randbytes(4)
        if bytes(mutant) == SEALED:
            continue
        try:
            CODEC.open(bytes(mutant), Purpose.TASK, "t1", now_ms=NOW_MS)
        except Rejected as rejected:
            assert rejected.reason in REASONS
        else:
            pytest.fail("a mutant was opened")


@pytest.mark.attack(7)
@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 45])
def test_a_few_bytes_are_too_short(length: int) -> None:
    assert rejection(random.Random(1).randbytes(length)) == "too-short"


@pytest.mark.parametrize("untrusted", [None, "text", 5, bytearray(SEALED), memoryview(SEALED), [SEALED]], ids=type)
def test_only_bytes_are_looked_at(untrusted: object) -> None:
    assert rejection(untrusted) == "not-bytes"


def test_a_megabyte_too_much_is_refused_unread() -> None:
    assert rejection(SEALED[:8] + bytes(100 << 20)) == "too-large"


@pytest.mark.attack(40)
@pytest.mark.parametrize(
    "foreign",
    [
        b"\x80\x05cos\nsystem\n(S'touch /tmp/marker-of-an-attack'\ntR.",
        MsgpackSerializer().dumps(["x" * 60]),
        b'{"a":' * 20,
    ],
    ids=["pickle", "msgpack", "json"],
)
def test_unsigned_payloads_are_no_envelopes(foreign: bytes) -> None:
    assert rejection(foreign) == "not-an-envelope"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"purpose": Purpose.RESULT}, "wrong-purpose"),
        ({"task_id": "t2"}, "wrong-task"),
        ({"task_id": "t"}, "wrong-task"),
        ({"task_id": "t1\x04send"}, "wrong-task"),
        ({"task_id": "\ud800"}, "wrong-task"),
        ({"task_id": "x" * 300}, "wrong-task"),
        ({"function": "other"}, "wrong-function"),
        ({"ref": JTI}, "wrong-ref"),
        ({"ref": b""}, "wrong-ref"),
        ({"now_ms": NOW_MS - 60_001}, "from-the-future"),
        ({"now_ms": NOW_MS + 5_000 + 7 * 86_400_000 + 60_001}, "expired"),
    ],
)
def test_a_genuine_payload_in_the_wrong_place_is_named_as_such(changes: dict, reason: str) -> None:
    assert rejection(SEALED, **changes) == reason


@pytest.mark.parametrize("sealed_as", Purpose)
@pytest.mark.parametrize("read_as", Purpose)
def test_no_purpose_passes_for_another(sealed_as: Purpose, read_as: Purpose) -> None:
    sealed = seal_task(CODEC, purpose=sealed_as, ref=REF)
    if sealed_as is not read_as:
        assert rejection(sealed, purpose=read_as) == "wrong-purpose"


def test_another_queue_with_the_same_key_rejects_by_name() -> None:
    ring = KeyRing.of_new_key()
    sealed = seal_task(new_codec(ring, "emails"), ref=REF)
    assert rejection(sealed, new_codec(ring, "invoices")) == "wrong-queue"


def test_the_context_decides_before_the_clock() -> None:
    assert rejection(SEALED, task_id="t2", now_ms=NOW_MS * 2) == "wrong-task"


def test_a_stranger_with_a_key_of_his_own_is_unknown() -> None:
    assert rejection(seal_task(new_codec(), ref=REF)) == "unknown-key"


def test_a_stranger_who_writes_our_key_id_has_no_signature() -> None:
    forged = seal_task(new_codec(), ref=REF)
    assert rejection(forged[:8] + SEALED[8:16] + forged[16:]) == "bad-signature"


@pytest.mark.attack(43)
@pytest.mark.parametrize(
    ("suite", "reason"),
    [
        (0, "suite-not-allowed"),
        (2, "malformed"),  # its tail is longer
        (3, "malformed"),
        (4, "suite-not-allowed"),
        (255, "suite-not-allowed"),
    ],
)
def test_the_suite_is_not_chosen_by_the_message(suite: int, reason: str) -> None:
    assert rejection(SEALED[:4] + bytes((suite,)) + SEALED[5:]) == reason


def places_of(codec: Codec) -> int:
    return sum(len(by_key) for by_prefix in codec._seal._openers.values() for by_key in by_prefix.values())


@pytest.mark.attack(64)
def test_forged_queue_names_do_not_make_a_cache_grow() -> None:
    ring = KeyRing([Key.without_strength_check(KeyEntry("vector", KeyState.ACTIVE, VECTOR_ROOT))])
    codec = new_codec(ring)
    before, key = places_of(codec), ring.active
    slots = {name: getattr(key, name) for name in key.__slots__}
    for number in range(5_000):
        other = f"{number:06d}".encode()
        rejection(seal_task(codec, ref=REF).replace(b"emails", other), codec)
    assert places_of(codec) == before
    assert {name: getattr(key, name) for name in key.__slots__} == slots
    assert not hasattr(key._material, "__len__") and set(vars(key._material)) == {"_pseudorandom_key"}


def test_moved_payloads_do_not_make_a_cache_grow() -> None:
    ring = KeyRing.of_new_key()
    reader = new_codec(ring, "reader")
    before = places_of(reader)
    assert rejection(seal_task(new_codec(ring, "writer"), ref=REF), reader) == "wrong-queue"
    assert places_of(reader) == before


def seal_raw(body: bytes, flags: int) -> bytes:
    return CODEC._seal.seal(
        Purpose.TASK,
        body,
        serializer_id=1,
        task_id="t1",
        function="send",
        issued_ms=NOW_MS,
        jti=JTI,
        ref=REF,
        delay_s=0,
        lifetime_s=60,
        flags=flags,
    )


def bomb(declared: int, data: bytes = bytes(50 << 20)) -> bytes:
    return struct.pack(">I", declared) + zlib.compress(data, 9)


GOOD_BODY = b"\x00\x00\x91\x01"


@pytest.mark.attack(52)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (bomb(50 << 20), "decompressed-too-large"),
        (bomb((4 << 20) + 1, b"x"), "decompressed-too-large"),
        (bomb(0xFFFFFFFF), "decompressed-too-large"),
        (bomb(1000), "bad-compression"),
        (bomb(4, GOOD_BODY) + b"trailing", "bad-compression"),
        (bomb(4, GOOD_BODY)[:-1], "bad-compression"),
        (bomb(3, GOOD_BODY), "bad-compression"),
        (bomb(5, GOOD_BODY), "bad-compression"),
        (bomb(0, GOOD_BODY), "bad-compression"),
        (b"", "bad-compression"),
        (b"\x00\x00\x00", "bad-compression"),
        (b"\x00\x00\x00\x04not zlib at all", "bad-compression"),
    ],
    ids=range(12),
)
def test_compression_lies_are_refused_in_little_memory(body: bytes, reason: str) -> None:
    sealed = seal_raw(body, 1)
    tracemalloc.start()
    try:
        assert rejection(sealed) == reason
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_honest_compressed_body_opens() -> None:
    opened = CODEC.open(seal_raw(bomb(4, GOOD_BODY), 1), Purpose.TASK, "t1", now_ms=NOW_MS)
    assert opened.value == [1]


@pytest.mark.attack(41)
def test_no_other_reader_takes_an_envelope_for_its_own() -> None:
    import json
    import pickle

    import msgpack

    for reader in (pickle.loads, msgpack.unpackb, json.loads, bytes.decode):
        with pytest.raises(Exception):  # noqa: B017 -- which one is theirs to choose
            reader(SEALED)


def test_rejections_hold_no_bytes() -> None:
    sealed = seal_task(CODEC, ["canary" * 10])
    for untrusted in (sealed[:-1], sealed + b"x", sealed.replace(b"canary", b"kanary"), sealed[:60]):
        with pytest.raises(Rejected) as caught:
            CODEC.open(untrusted, Purpose.TASK, "t1", now_ms=NOW_MS)
        error: BaseException | None = caught.value
        while error is not None:
            assert "anary" not in f"{error!r} {error.args} {vars(error)}"
            error = error.__context__


def test_parsing_alone_never_raises_anything_else() -> None:
    dice = random.Random(7)
    for _ in range(20_000):
        head = SEALED[: dice.randrange(len(SEALED))]
        try:
            parse_envelope(head + dice.randbytes(dice.randrange(80)))
        except Rejected as rejected:
            assert rejected.reason in REASONS
