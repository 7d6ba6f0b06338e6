"""A ring that comes from a file follows it; whatever is wrong with the file, the ring that worked stays."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from secure_queue.errors import KeyRingError
from secure_queue.keyring import LiveKeys, auditor_of, keys_for
from secure_queue.payload.escrow import new_auditor
from secure_queue.payload.key_files import add_key, read_key_file, set_key_state
from secure_queue.payload.keys import KeyRing, KeyState, encode_field, format_key, generate_key
from secure_queue.redis.topology import Embedded, Standalone
from secure_queue.settings import Environment


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    add_key(path, generate_key("old"))
    return path


def live(file: Path) -> tuple[LiveKeys, list[KeyRing]]:
    keys = keys_for(Standalone(), None, Environment(None, None, str(file)))
    told: list[KeyRing] = []
    keys.tell(told.append)
    return keys, told


def states(keys: LiveKeys) -> dict[str, str]:
    return {key.name: key.state.value for key in keys.ring.keys}


def test_a_changed_file_is_read_once_and_told(file: Path) -> None:
    keys, told = live(file)
    assert not keys.look() and not keys.look()
    add_key(file, generate_key("new", KeyState.VERIFY))
    assert keys.look() and not keys.look()
    set_key_state(file, "new", KeyState.ACTIVE)
    assert keys.look()
    assert states(keys) == {"old": "verify", "new": "active"}
    assert told[-1] is keys.ring and len(told) == 2


def test_a_change_between_start_and_first_look_is_seen(file: Path) -> None:
    keys, _ = live(file)
    add_key(file, generate_key("new", KeyState.VERIFY))
    assert keys.look()


def test_a_file_that_cannot_be_used_changes_nothing_and_is_reported_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys, told = live(file)
    keys.look()
    good = file.read_text()
    for broken in ("[[key", good.replace("active", "verify"), ""):
        caplog.clear()
        file.write_text(broken)
        assert not keys.look() and not keys.look()
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        secret = encode_field(read_secret(good))
        assert secret not in caplog.text
    file.unlink()
    assert not keys.look()
    assert (states(keys), told) == ({"old": "active"}, [])
    file.write_text(good + good.replace('"old"', '"new"').replace("active", "revoked"))
    assert not keys.look()  # the same key twice
    assert states(keys) == {"old": "active"}


def read_secret(text: str):  # type: ignore[no-untyped-def]
    from secure_queue.payload.keys import decode_root

    return decode_root(text.split('secret = "')[1][:43])


def test_a_file_that_others_may_read_is_not_used(file: Path) -> None:
    keys, _ = live(file)
    add_key(file, generate_key("new", KeyState.VERIFY))
    file.chmod(0o644)
    assert not keys.look()
    file.chmod(0o600)
    assert keys.look()


def test_a_secret_in_a_file_of_its_own_is_followed_too(tmp_path: Path) -> None:
    first, second = generate_key("one"), generate_key("two")
    secret = tmp_path / "secret"
    secret.write_text(encode_field(first))
    secret.chmod(0o600)
    file = tmp_path / "keys.toml"
    file.write_text('[[key]]\nname = "one"\nstate = "active"\nsecret_file = "secret"\n')
    file.chmod(0o600)
    keys, _ = live(file)
    keys.look()
    assert keys.ring.active.key_id == first.key_id
    secret.write_text(encode_field(second) + "\n")
    assert keys.look()
    assert keys.ring.active.key_id == second.key_id


def test_the_key_of_an_auditor_is_checked_at_once() -> None:
    private, public = new_auditor()
    assert auditor_of(Environment(None, None, None, public)) == public
    assert auditor_of(Environment(None, None, None)) is None
    for text in (private, "", public[:-1], "sqa1:public:" + "!" * 43):
        with pytest.raises(KeyRingError, match="audit log keygen") as caught:
            auditor_of(Environment(None, None, None, text))
        assert private not in str(caught.value)


def test_only_a_key_file_is_followed(tmp_path: Path, file: Path) -> None:
    text = format_key(generate_key("x"))
    assert keys_for(Standalone(), text, Environment(None, None, str(file))).file is None
    assert keys_for(Standalone(), None, Environment(None, text, str(file))).file is None
    own = keys_for(Embedded(tmp_path / "server"), None, Environment(None, None, None))
    assert own.file is not None and [key.entry.name for key in read_key_file(own.file)] == ["own"]
