"""Keys are parsed, named, derived and kept in a ring that signs with exactly one."""

import gc
import secrets

import pytest

from secure_queue.errors import KeyRingError
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.keys import (
    Key,
    KeyEntry,
    KeyKind,
    KeyRing,
    KeyState,
    format_key,
    generate_key,
    parse_key,
    public_key,
    raw_entry,
    scoped_key,
)
from secure_queue.payload.purposes import Purpose
from tests.unit.payload.samples import VECTOR_ROOT, vector_ring


def key(name: str, state: KeyState = KeyState.VERIFY) -> Key:
    return Key(generate_key(name, state))


def entry_of(kind: KeyKind, state: KeyState = KeyState.VERIFY) -> KeyEntry:
    """A key of any kind; the derived ones are of one root."""
    root = generate_key("root", state)
    match kind:
        case KeyKind.QUEUE:
            return scoped_key(root, "q", "emails.eu-1")
        case KeyKind.USE:
            return scoped_key(root, "u", "emails.eu-1", Suite.AES_256_GCM, Purpose.TASK)
        case KeyKind.PUBLIC:
            return public_key(generate_key("pair", state, KeyKind.SEED))
    return generate_key("one", state, kind)


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_of_every_kind_survives_being_written_and_read(kind: KeyKind) -> None:
    entry = entry_of(kind)
    written = format_key(entry)
    assert parse_key(written) == entry
    assert f":verify:{kind.value}:" in written
    assert parse_key(written).key_id == entry.key_id


@pytest.mark.parametrize("state", KeyState)
def test_a_key_survives_being_written_and_read(state: KeyState) -> None:
    entry = generate_key("2026-12", state)
    assert parse_key(format_key(entry)) == entry


def test_a_written_key_has_the_documented_form() -> None:
    prefix, name, state, kind, encoded, check = format_key(generate_key("a.b_c-1")).split(":")
    assert (prefix, name, state, kind, len(encoded), len(check)) == ("sqk1", "a.b_c-1", "active", "hs", 43, 8)


def test_what_token_urlsafe_returns_is_a_key_named_by_its_id() -> None:
    text = secrets.token_urlsafe(32)
    entry = parse_key(f" {text}\n")
    assert entry.name == entry.key_id.hex()[:8]
    assert entry.state is KeyState.ACTIVE
    assert parse_key(text).key_id == entry.key_id


def test_raw_bytes_are_a_key() -> None:
    root = secrets.token_bytes(32)
    assert raw_entry(root).material.reveal() == root


def test_the_published_key_has_the_published_id() -> None:
    assert vector_ring().active.key_id.hex() == "fe6eefada229b8c3"
    assert KeyEntry("vector", KeyState.ACTIVE, VECTOR_ROOT).key_id.hex() == "fe6eefada229b8c3"


def test_subkeys_differ_by_queue_suite_and_purpose() -> None:
    one = key("one", KeyState.ACTIVE)
    places = [("a", 1, 1), ("b", 1, 1), ("a", 2, 1), ("a", 1, 2)]
    sealers = [one.sealer(*place) for place in places]
    assert all(sealers)
    assert len({sealer.seal(b"headerbody", b"body") for sealer in sealers if sealer}) == len(places)


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_holds_no_bytes_of_its_secret(kind: KeyKind) -> None:
    entry = entry_of(kind)
    material = entry.material.reveal()
    one = Key(entry)
    reachable: list[object] = [one]
    del entry
    for _ in range(4):
        reachable += [referent for holder in list(reachable) for referent in gc.get_referents(holder)]
    assert all(item != material for item in reachable if isinstance(item, bytes))


def test_neither_keys_nor_rings_print_a_secret() -> None:
    entry = generate_key("one")
    ring = KeyRing([Key(entry)])
    encoded = format_key(entry).split(":")[4]
    for shown in (repr(entry), repr(ring), repr(ring.active), str(vars(KeyState.ACTIVE))):
        assert encoded not in shown
        assert repr(entry.material.reveal()) not in shown


def test_a_ring_signs_with_the_active_key_and_finds_all() -> None:
    active, old, gone = key("new", KeyState.ACTIVE), key("old"), key("gone", KeyState.REVOKED)
    ring = KeyRing([old, active, gone])
    assert ring.active is active
    assert [ring.find(each.key_id) for each in ring.keys] == [old, active, gone]
    assert ring.find(bytes(8)) is None


def test_a_revoked_key_derives_nothing_and_one_that_verifies_does_not_sign() -> None:
    gone, old = key("gone", KeyState.REVOKED), key("old")
    assert gone.sealer("queue", 1, 1) is None and gone.opener(b"queue", 1, 1) is None
    assert old.sealer("queue", 1, 1) is None and old.opener(b"queue", 1, 1) is not None


def test_a_ring_without_an_active_key_is_refused() -> None:
    with pytest.raises(KeyRingError, match="no key is active"):
        KeyRing([key("old")])


def test_a_ring_with_two_active_keys_is_refused() -> None:
    with pytest.raises(KeyRingError, match="more than one key is active"):
        KeyRing([key("a", KeyState.ACTIVE), key("b", KeyState.ACTIVE)])


def test_the_same_key_twice_is_refused() -> None:
    entry = generate_key("a")
    again = KeyEntry("b", KeyState.VERIFY, entry.material)
    with pytest.raises(KeyRingError, match="same key is given twice"):
        KeyRing([Key(entry), Key(again)])


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(KeyRingError, match="same name"):
        KeyRing([key("a", KeyState.ACTIVE), key("a")])
