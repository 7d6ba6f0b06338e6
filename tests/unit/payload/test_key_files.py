"""Keys come from an argument, a variable or a private file, in this order, and the file is changed in one step."""

import os
import secrets
from pathlib import Path

import pytest

from secure_queue.errors import KeyRingError
from secure_queue.payload.key_files import (
    StoredKey,
    add_key,
    load_key_ring,
    own_key_ring,
    read_key_file,
    set_key_state,
    write_key_file,
)
from secure_queue.payload.keys import KeyEntry, KeyRing, KeyState, encode_field, format_key, generate_key


def text(name: str, state: KeyState = KeyState.ACTIVE) -> str:
    return format_key(generate_key(name, state))


def states(ring: KeyRing) -> dict[str, str]:
    return {key.name: key.state.value for key in ring.keys}


def load(signing_secret=None, environment_keys: str | None = None, keys_file: str | None = None) -> KeyRing:
    return load_key_ring(signing_secret, environment_keys=environment_keys, keys_file=keys_file)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    add_key(path, generate_key("one"))
    return path


def test_the_argument_wins_over_the_variable_and_the_variable_over_the_file(key_file: Path) -> None:
    assert states(load(text("a"), text("b"), str(key_file))) == {"a": "active"}
    assert states(load(None, text("b"), str(key_file))) == {"b": "active"}
    assert states(load(None, None, str(key_file))) == {"one": "active"}


@pytest.mark.attack(42)
def test_no_source_at_all_says_what_to_do() -> None:
    with pytest.raises(KeyRingError, match=r"keys generate.*SECURE_QUEUE_KEYS.*SECURE_QUEUE_KEYS_FILE.*signing_secret"):
        load()


@pytest.mark.attack(42)
@pytest.mark.parametrize("empty", ["", "  ", b"", [], [""], (), ["", ""]])
def test_an_empty_argument_never_means_unsigned(empty) -> None:
    with pytest.raises(KeyRingError, match="empty"):
        load(empty, text("b"))


@pytest.mark.attack(42)
@pytest.mark.parametrize("empty", ["", " ", ","])
def test_an_empty_variable_never_means_unsigned(empty: str) -> None:
    with pytest.raises(KeyRingError, match="empty"):
        load(None, empty)


def test_in_a_sequence_the_first_key_signs_and_the_rest_verify() -> None:
    raw = [secrets.token_bytes(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32).encode()]
    ring = load(raw)
    assert [key.state.value for key in ring.keys] == ["active", "verify", "verify"]
    assert states(load([text("new"), text("old")])) == {"new": "active", "old": "verify"}


def test_states_in_a_sequence_are_kept_where_they_agree() -> None:
    parts = [text("next", KeyState.VERIFY), text("now"), text("gone", KeyState.REVOKED)]
    assert states(load(parts)) == {"next": "verify", "now": "active", "gone": "revoked"}
    assert states(load(None, ",".join(parts))) == {"next": "verify", "now": "active", "gone": "revoked"}


def test_two_keys_that_call_themselves_active_in_a_variable_are_refused() -> None:
    with pytest.raises(KeyRingError, match="more than one key is active"):
        load(None, f"{text('a')},{text('b')}")


def test_a_single_key_that_only_verifies_is_refused() -> None:
    with pytest.raises(KeyRingError, match="no key is active"):
        load(text("a", KeyState.VERIFY))


def test_a_new_file_is_readable_by_its_owner_only(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_keys_can_be_added_promoted_and_revoked(key_file: Path) -> None:
    add_key(key_file, generate_key("two", KeyState.VERIFY))
    set_key_state(key_file, "two", KeyState.ACTIVE)
    assert [stored.entry.state.value for stored in read_key_file(key_file)] == ["verify", "active"]
    set_key_state(key_file, "one", KeyState.REVOKED)
    assert states(load(keys_file=str(key_file))) == {"one": "revoked", "two": "active"}
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == ["keys.toml"]


def test_a_change_that_leaves_no_signing_key_is_refused_and_changes_nothing(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(KeyRingError, match="no key is active"):
        set_key_state(key_file, "one", KeyState.VERIFY)
    with pytest.raises(KeyRingError, match="more than one key is active"):
        add_key(key_file, generate_key("two"))
    with pytest.raises(KeyRingError, match="no key of that name"):
        set_key_state(key_file, "nobody", KeyState.REVOKED)
    assert key_file.read_bytes() == before


def test_the_first_key_of_a_file_must_sign(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match="no key is active"):
        add_key(tmp_path / "keys.toml", generate_key("one", KeyState.VERIFY))


def test_a_secret_may_lie_in_a_file_of_its_own(key_file: Path) -> None:
    entry = generate_key("two", KeyState.VERIFY)
    for name, content in (("plain", encode_field(entry)), ("line", format_key(entry))):
        secret_file = key_file.parent / name
        secret_file.write_text(content + "\n")
        secret_file.chmod(0o600)
    add_key(key_file, generate_key("three", KeyState.VERIFY))
    write_key_file(key_file, [*read_key_file(key_file), StoredKey(entry, "plain")])
    assert 'secret_file = "plain"' in key_file.read_text()
    assert read_key_file(key_file)[-1].entry == entry
    key_file.write_text(key_file.read_text().replace('"plain"', '"line"'))
    assert read_key_file(key_file)[-1].entry == entry


def test_a_readable_secret_file_is_refused(key_file: Path) -> None:
    secret_file = key_file.parent / "open"
    secret_file.write_text(secrets.token_urlsafe(32))
    secret_file.chmod(0o640)
    key_file.write_text('[[key]]\nname = "a"\nstate = "active"\nsecret_file = "open"\n')
    with pytest.raises(KeyRingError, match="open to group or world"):
        read_key_file(key_file)


@pytest.mark.attack(42)
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o644, 0o601])
def test_a_file_that_others_can_open_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(KeyRingError, match=r"open to group or world; run: chmod 600"):
        load(keys_file=str(key_file))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(key_file: Path) -> None:
    os.chown(key_file, 12345, -1)
    with pytest.raises(KeyRingError, match="belongs to another user"):
        load(keys_file=str(key_file))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match="cannot be read"):
        load(keys_file=str(tmp_path / "nothing"))
    with pytest.raises(KeyRingError, match="cannot be read"):
        load(keys_file=str(tmp_path))


GOOD = 'name = "a"\nstate = "active"\n'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[[key]", "no valid TOML"),
        ("", "must hold"),
        ("key = 1", "must hold"),
        ("key = [1]", "needs name, state"),
        ("[other]\n", "must hold"),
        (f"[[key]]\n{GOOD}", "needs name, state"),
        (f'[[key]]\n{GOOD}secret = "SECRET"\nsecret_file = "x"', "and nothing else"),
        (f'[[key]]\n{GOOD}secret = "SECRET"\npurposes = ["task"]', "only Ed25519 keys"),
        ('[[key]]\nname = "a b"\nstate = "active"\nsecret = "SECRET"', "key name"),
        ('[[key]]\nname = "a"\nstate = "primary"\nsecret = "SECRET"', "key state"),
        (f'[[key]]\n{GOOD}secret = "MY-SECRET-KEY"', "43 characters"),
    ],
)
def test_a_file_with_anything_unexpected_is_refused(key_file: Path, content: str, problem: str) -> None:
    key_file.write_text(content.replace("SECRET", secrets.token_urlsafe(32)) if "MY-" not in content else content)
    with pytest.raises(KeyRingError, match=problem):
        read_key_file(key_file)


def test_a_path_that_would_need_quoting_is_not_written(key_file: Path) -> None:
    stored = StoredKey(generate_key("two", KeyState.VERIFY), 'a"\nstate = "active')
    with pytest.raises(KeyRingError, match="cannot be written back"):
        write_key_file(key_file, [*read_key_file(key_file), stored])


def test_a_private_server_makes_its_key_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.toml"
    assert own_key_ring(path).active.key_id == own_key_ring(path).active.key_id
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_message_contains_the_key_text(key_file: Path) -> None:
    damaged = text("a")[:-1] + "x"
    with pytest.raises(KeyRingError) as caught:
        load(damaged)
    assert damaged.split(":")[4] not in str(caught.value)


def test_an_entry_with_a_bad_name_is_not_written(key_file: Path) -> None:
    bad = KeyEntry('x"\n', KeyState.VERIFY, generate_key("x").material)
    with pytest.raises(KeyRingError, match="key name"):
        add_key(key_file, bad)
