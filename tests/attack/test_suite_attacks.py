"""Suites and keys against each other: what a message says about its suite decides nothing, and a key is for its use only."""

from __future__ import annotations

import gc
import random
from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from secure_queue.errors import KeyRingError, Rejected
from secure_queue.payload.ciphers import TAIL_BYTES, Ed25519Signer, HmacSha256, Suite
from secure_queue.payload.codec import Codec, Habits, Purpose
from secure_queue.payload.grants import Grants
from secure_queue.payload.key_files import load_key_ring
from secure_queue.payload.keys import Key, KeyEntry, KeyKind, KeyRing, KeyState, generate_key, public_key, scoped_key
from secure_queue.payload.restricted_pickle import RestrictedPickle
from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.secret import Secret
from tests.attack.test_envelope_attacks import REASONS
from tests.unit.payload.samples import JTI, NOW_MS, REF, new_codec, seal_task
from tests.unit.payload.test_suites import CODECS, ring_of

SEALED = {suite: seal_task(codec, ref=REF) for suite, codec in CODECS.items()}


def reason(codec: Codec, untrusted: bytes, purpose: Purpose = Purpose.TASK, **place: Any) -> str:
    with pytest.raises(Rejected) as caught:
        codec.open(untrusted, purpose, "t1", now_ms=NOW_MS, **place)
    assert caught.value.reason in REASONS
    return caught.value.reason


@pytest.mark.attack(4)
@pytest.mark.parametrize("suite", Suite)
def test_no_flipped_bit_opens(suite: Suite) -> None:
    sealed = SEALED[suite]
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        reason(CODECS[suite], bytes(flipped))


@pytest.mark.attack(5)
@pytest.mark.parametrize("suite", Suite)
def test_nothing_cut_off_or_added_opens(suite: Suite) -> None:
    sealed = SEALED[suite]
    for length in range(len(sealed)):
        reason(CODECS[suite], sealed[:length])
        reason(CODECS[suite], sealed[length + 1 :])
    for byte in range(256):
        assert reason(CODECS[suite], sealed + bytes((byte,))) == "bad-signature"


@pytest.mark.attack(6)
@pytest.mark.parametrize("suite", Suite)
def test_twenty_thousand_mutants_of_each_suite_are_rejected(suite: Suite) -> None:
    dice, sealed = random.Random(20_26), SEALED[suite]
    for _ in range(20_000):
        mutant = bytearray(sealed)
        for _ in range(dice.randint(1, 6)):
            start = dice.randrange(len(mutant))
            mutant[start : start + dice.randrange(5)] = dice.randbytes(dice.randrange(5))
        if mutant != sealed:
            reason(CODECS[suite], bytes(mutant))


@pytest.mark.attack(43)
@pytest.mark.parametrize("sealed_by", Suite)
@pytest.mark.parametrize("relabelled", Suite)
def test_the_suite_byte_is_believed_by_nobody(sealed_by: Suite, relabelled: Suite) -> None:
    """Also with a ring that knows all suites, and a body so long that the tail of any suite would fit."""
    root, pair = generate_key("root"), generate_key("pair", kind=KeyKind.SEED)
    writer = new_codec(ring_of(pair if sealed_by is Suite.ED25519 else root))
    reader = new_codec(ring_of(root, public_key(pair)))
    sealed = seal_task(writer, "x" * 100, encrypt=sealed_by is Suite.AES_256_GCM)
    changed = sealed[:4] + bytes((relabelled,)) + sealed[5:]
    if sealed_by is relabelled:
        reader.open(changed, Purpose.TASK, "t1", now_ms=NOW_MS)
        return
    mixed = Suite.ED25519 in (sealed_by, relabelled)
    assert reason(reader, changed) == ("suite-key-mismatch" if mixed else "bad-signature")


@pytest.mark.attack(43)
def test_a_public_key_is_no_hmac_key() -> None:
    """The mistake of many token libraries: verify by HMAC with the bytes of a key that everybody knows."""
    pair = generate_key("pair", kind=KeyKind.SEED)
    known = public_key(pair)
    reader = new_codec(ring_of(generate_key("own"), known))
    header = seal_task(new_codec(ring_of(pair)))[: -TAIL_BYTES[Suite.ED25519]]
    relabelled = header[:4] + b"\x01" + header[5:]
    root = Key.without_strength_check(KeyEntry("x", KeyState.ACTIVE, known.material))
    derived = root.sealer("emails", Suite.HMAC_SHA256, Purpose.TASK)
    assert derived is not None
    for forged in (HmacSha256(known.material.reveal()).seal(relabelled, b""), derived.seal(relabelled, b"")):
        assert reason(reader, forged) == "suite-key-mismatch"


@pytest.mark.attack(44)
def test_what_must_be_encrypted_is_refused_when_it_is_only_signed() -> None:
    ring = ring_of(generate_key("root"), public_key(generate_key("pair", kind=KeyKind.SEED)))
    strict = Codec(ring, "emails", MsgpackSerializer(), habits=Habits(require_encryption=True))
    for purpose in (Purpose.TASK, Purpose.RESULT, Purpose.STATE, Purpose.SCHEDULE):
        assert reason(strict, seal_task(new_codec(ring), purpose=purpose), purpose) == "suite-not-allowed"
    for sealed in SEALED.values():
        assert reason(strict, sealed[:4] + b"\x03" + sealed[5:]) == "suite-not-allowed"


FIELD = 2**255 - 19
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
ALSO_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
WEAK_Y = [0, 1, FIELD - 1, FIELD, FIELD + 1, *(int.from_bytes(bytes.fromhex(y), "little") for y in (ORDER_8, ALSO_8))]
WEAK = [(y | sign << 255).to_bytes(32, "little") for y in WEAK_Y for sign in (0, 1)]


@pytest.mark.attack(45)
@pytest.mark.parametrize("number", range(14))
def test_public_keys_of_small_order_or_of_a_second_spelling_are_refused(number: int) -> None:
    encoded = urlsafe_b64encode(WEAK[number]).decode().rstrip("=")
    body = f"sqk1:weak:verify:ep:{encoded}"
    text = f"{body}:{sha256(body.encode()).hexdigest()[:8]}"
    with pytest.raises(KeyRingError, match="small order"):
        load_key_ring([bytes(range(150, 182)), text], environment_keys=None, keys_file=None)
    with pytest.raises(KeyRingError, match="small order"):
        Key(KeyEntry("weak", KeyState.VERIFY, Secret(WEAK[number]), KeyKind.PUBLIC))


def test_the_points_that_are_refused_are_those_whose_order_divides_eight() -> None:
    """By arithmetic of our own: three doublings lead from each of them to the neutral element."""
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    for encoded in WEAK:
        y = (int.from_bytes(encoded, "little") & (2**255 - 1)) % FIELD
        x_squared = (y * y - 1) * pow(d * y * y + 1, -1, FIELD) % FIELD
        x = pow(x_squared, (FIELD + 3) // 8, FIELD)
        if x * x % FIELD != x_squared:
            x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
        assert x * x % FIELD == x_squared
        for _ in range(3):
            product = d * x * x * y * y
            x, y = (
                2 * x * y * pow(1 + product, -1, FIELD) % FIELD,
                (y * y + x * x) * pow(1 - product, -1, FIELD) % FIELD,
            )
        assert (x, y) == (0, 1)


@pytest.mark.attack(46)
def test_a_ciphertext_opens_under_one_of_two_keys_that_have_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = []
    for name in ("one", "two"):
        key = Key(generate_key(name))
        key.key_id = bytes(8)
        codecs.append(Codec(KeyRing([key]), "emails", MsgpackSerializer(), habits=Habits(encrypt=True)))
    for writer, reader in (codecs, codecs[::-1]):
        sealed = seal_task(writer)
        assert writer.open(sealed, Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]
        assert reason(reader, sealed) == "bad-signature"
        commitment = seal_task(reader)[-32:]
        assert reason(reader, sealed[:-32] + commitment) == "bad-signature"  # then the tag of GCM speaks


@pytest.mark.attack(46)
def test_two_keys_of_one_id_are_refused_in_a_ring() -> None:
    keys = [Key(generate_key("one")), Key(generate_key("two", KeyState.VERIFY))]
    for key in keys:
        key.key_id = bytes(8)
    with pytest.raises(KeyRingError, match="the same key is given twice"):
        KeyRing(keys)


@pytest.mark.attack(47)
@pytest.mark.parametrize("suite", [Suite.HMAC_SHA256, Suite.AES_256_GCM])
def test_the_holder_of_a_key_for_one_use_can_make_nothing_else(suite: Suite) -> None:
    root = generate_key("root")
    reader, elsewhere = new_codec(ring_of(root)), new_codec(ring_of(root), "invoices")
    scope = scoped_key(root, "web", "emails", suite, Purpose.TASK)
    held = Key(scope).sealer("emails", suite, Purpose.TASK)
    assert held is not None
    honest = seal_task(new_codec(ring_of(scope)), ref=REF)
    header = honest[: len(honest) - TAIL_BYTES[suite] - 6]
    body = b"\x00\x00\x93\x01\x02\x03"
    assert reader.open(held.seal(header + body, body), Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]
    for purpose in (Purpose.RESULT, Purpose.CONTROL, Purpose.SCHEDULE):
        forged = header[:5] + bytes((purpose,)) + header[6:]
        assert reason(reader, held.seal(forged + body, body), purpose) == "bad-signature"
    other_queue = header.replace(b"\x06emails", b"\x08invoices")
    assert reason(elsewhere, held.seal(other_queue + body, body)) == "bad-signature"


def test_the_holder_of_a_key_for_one_queue_can_make_nothing_for_another() -> None:
    root = generate_key("root")
    part = scoped_key(root, "web", "emails")
    assert Key(part).sealer("invoices", Suite.HMAC_SHA256, Purpose.TASK) is None
    reader = new_codec(ring_of(generate_key("own"), replace(part, state=KeyState.VERIFY)))
    assert reason(reader, seal_task(new_codec(ring_of(root), "invoices"))) == "unknown-key"
    assert reader.open(seal_task(new_codec(ring_of(root))), Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]


def granted(pair: KeyEntry, **grants: Any) -> Codec:
    """A reader that knows the public half of *pair*, with these grants; its deserializer may not be reached."""
    given = {"purposes": frozenset({Purpose.TASK})} | grants
    return new_codec(ring_of(generate_key("own"), public_key(pair, Grants(**given))))


@pytest.mark.attack(48)
@pytest.mark.parametrize(
    ("grants", "authorised"),
    [
        ({}, True),
        ({"functions": ("se*",)}, True),
        ({"functions": ("other", "send")}, True),
        ({"functions": ("sen",)}, False),
        ({"functions": ("send_*",)}, False),
        ({"functions": ("SEND",)}, False),
        ({"queues": ("e*s",)}, True),
        ({"queues": ("invoices",)}, False),
        ({"purposes": frozenset({Purpose.RESULT})}, False),
        ({"not_after_ms": NOW_MS}, True),
        ({"not_after_ms": NOW_MS - 1}, False),
    ],
    ids=range(11),
)
def test_a_producer_that_exceeds_its_grants_is_refused_before_anything_is_deserialized(
    grants: dict[str, Any], authorised: bool
) -> None:
    pair = generate_key("web", kind=KeyKind.SEED)
    writer = Codec(ring_of(pair), "emails", RestrictedPickle())
    sealed = writer.seal(Purpose.TASK, "t1", "send", b"", b"\x80\x05N.", now_ms=NOW_MS, jti=JTI)
    assert reason(granted(pair, **grants), sealed) == ("serializer-not-allowed" if authorised else "key-not-authorised")


@pytest.mark.attack(48)
def test_grants_are_compared_before_the_place() -> None:
    pair = generate_key("web", kind=KeyKind.SEED)
    reader = granted(pair, functions=("other",))
    assert reason(reader, seal_task(new_codec(ring_of(pair)), task_id="t2")) == "key-not-authorised"
    assert reason(granted(pair), seal_task(new_codec(ring_of(pair)), task_id="t2")) == "wrong-task"
    assert reason(granted(pair), seal_task(new_codec(ring_of(pair), "invoices"))) == "wrong-queue"


@pytest.mark.attack(49)
def test_a_worker_that_holds_public_keys_can_make_no_task() -> None:
    web, own = generate_key("web", kind=KeyKind.SEED), generate_key("worker", kind=KeyKind.SEED)
    results = KeyEntry("worker", KeyState.ACTIVE, own.material, own.kind, grants=Grants(frozenset({Purpose.RESULT})))
    worker = new_codec(ring_of(results, public_key(web, Grants(frozenset({Purpose.TASK})))))
    for purpose in (Purpose.TASK, Purpose.CONTROL, Purpose.SCHEDULE, Purpose.STATE):
        for encrypt in (None, False, True):
            with pytest.raises(KeyRingError, match="no active key"):
                seal_task(worker, purpose=purpose, encrypt=encrypt)
    colleague = new_codec(ring_of(generate_key("c"), public_key(own, Grants(frozenset({Purpose.RESULT})))))
    forged = seal_task(new_codec(ring_of(own)))  # what a break-in could do with the key that the worker does hold
    assert reason(colleague, forged) == "key-not-authorised"
    assert reason(worker, forged) == "key-not-authorised"
    signers = [item for item in _everything(worker) if isinstance(item, Ed25519Signer)]
    assert len(signers) == 1
    assert not [item for item in _everything(worker) if item == web.material.reveal()]


def _everything(root: object) -> list[object]:
    seen: dict[int, object] = {}
    front = [root]
    while front:
        held = [item for item in gc.get_referents(*front) if id(item) not in seen and not _is_code(item)]
        seen |= {id(item): item for item in held}
        front = held
    return list(seen.values())


def _is_code(item: object) -> bool:
    return isinstance(item, type) or type(item).__name__ in ("module", "function", "builtin_function_or_method")


@pytest.mark.attack(64)
def test_names_in_forged_envelopes_of_every_suite_make_nothing_grow() -> None:
    codec = new_codec(ring_of(generate_key("root"), public_key(generate_key("pair", kind=KeyKind.SEED))))
    before = len(_everything(codec))
    for suite, sealed in SEALED.items():
        known = codec._seal._ring.keys[suite is Suite.ED25519].key_id
        for number in range(500):
            forged = sealed[:8] + known + sealed[16:].replace(b"emails", f"{number:06d}".encode())
            assert reason(codec, forged) == "bad-signature"
    assert len(_everything(codec)) == before
