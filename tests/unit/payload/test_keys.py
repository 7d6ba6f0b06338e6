"""Keys are parsed, named, derived and kept in a ring that signs with exactly one."""

import gc
import secrets

import pytest

from secure_queue.errors import KeyRingError
from secure_queue.payload.keys import (
    Key,
    KeyEntry,
    KeyRing,
    KeyState,
    format_key,
    generate_key,
    parse_key,
    raw_entry,
)
from secure_queue.secret import Secret
from tests.unit.payload.samples import VECTOR_ROOT, vector_ring


def key(name: str, state: KeyState = KeyState.VERIFY) -> Key:
    return Key(generate_key(name, state))


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
    assert raw_entry(root).root.reveal() == root


def test_the_published_key_has_the_published_id() -> None:
    assert vector_ring().active.key_id.hex() == "fe6eefada229b8c3"
    assert KeyEntry("vector", KeyState.ACTIVE, VECTOR_ROOT).key_id.hex() == "fe6eefada229b8c3"


def test_subkeys_differ_by_queue_suite_and_purpose() -> None:
    from secure_queue.payload.ciphers import tag

    one = key("one")
    places = [(b"a", 1, 1), (b"b", 1, 1), (b"a", 2, 1), (b"a", 1, 2)]
    assert len({tag(one.subkey(*place), b"message") for place in places}) == len(places)


def test_names_from_unverified_envelopes_do_not_make_the_cache_grow() -> None:
    one = key("one")
    one.subkey(b"expected", 1, 1)
    for number in range(5000):
        one.unkept_subkey(str(number).encode(), 1, 1)
    assert len(one._subkeys) == 1


def test_a_key_holds_no_root_bytes() -> None:
    root = secrets.token_bytes(32)
    one = Key(KeyEntry("one", KeyState.ACTIVE, Secret(root)))
    reachable = [one]
    for _ in range(3):
        reachable += [referent for holder in list(reachable) for referent in gc.get_referents(holder)]
    assert all(item != root for item in reachable if isinstance(item, bytes))


def test_neither_keys_nor_rings_print_a_secret() -> None:
    entry = generate_key("one")
    ring = KeyRing([Key(entry)])
    encoded = format_key(entry).split(":")[4]
    for shown in (repr(entry), repr(ring), repr(ring.active), str(vars(KeyState.ACTIVE))):
        assert encoded not in shown
        assert repr(entry.root.reveal()) not in shown


def test_a_ring_signs_with_the_active_key_and_finds_all() -> None:
    active, old, gone = key("new", KeyState.ACTIVE), key("old"), key("gone", KeyState.REVOKED)
    ring = KeyRing([old, active, gone])
    assert ring.active is active
    assert [ring.find(each.key_id) for each in ring.keys] == [old, active, gone]
    assert ring.find(bytes(8)) is None


def test_a_revoked_key_derives_nothing() -> None:
    with pytest.raises(KeyRingError, match="revoked"):
        key("gone", KeyState.REVOKED).subkey(b"queue", 1, 1)


def test_a_ring_without_an_active_key_is_refused() -> None:
    with pytest.raises(KeyRingError, match="no key is active"):
        KeyRing([key("old")])


def test_a_ring_with_two_active_keys_is_refused() -> None:
    with pytest.raises(KeyRingError, match="more than one key is active"):
        KeyRing([key("a", KeyState.ACTIVE), key("b", KeyState.ACTIVE)])


def test_the_same_key_twice_is_refused() -> None:
    entry = generate_key("a")
    again = KeyEntry("b", KeyState.VERIFY, entry.root)
    with pytest.raises(KeyRingError, match="same key is given twice"):
        KeyRing([Key(entry), Key(again)])


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(KeyRingError, match="same name"):
        KeyRing([key("a", KeyState.ACTIVE), key("a")])
