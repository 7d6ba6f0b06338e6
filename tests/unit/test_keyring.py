"""A ring that comes from a file follows it; whatever is wrong with the file, the ring that worked stays."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from secure_queue.errors import KeyRingError
from secure_queue.keyring import LiveKeys, auditor_of, codec_of, keys_for
from secure_queue.payload.codec import Habits, Purpose
from secure_queue.payload.escrow import new_auditor
from secure_queue.payload.grants import Grants
from secure_queue.payload.key_files import add_key, read_key_file, set_key_state
from secure_queue.payload.keys import Key, KeyKind, KeyRing, KeyState, encode_field, format_key, generate_key
from secure_queue.payload.text_serializers import JsonSerializer
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
        secret = good.split('secret = "')[1][:43]
        assert secret not in caplog.text
    file.unlink()
    assert not keys.look()
    assert (states(keys), told) == ({"old": "active"}, [])
    file.write_text(good + good.replace('"old"', '"new"').replace("active", "revoked"))
    assert not keys.look()  # the same key twice
    assert states(keys) == {"old": "active"}


def test_a_ring_whose_worker_could_not_answer_is_not_taken_while_it_runs(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys, _ = live(file)
    codec = codec_of(keys, "emails", JsonSerializer(), Habits())
    signs_tasks = replace(generate_key("web", kind=KeyKind.SEED), grants=Grants(frozenset({Purpose.TASK})))
    with pytest.raises(KeyRingError) as at_the_start:
        codec.check_answers(KeyRing([Key(signs_tasks)]))
    file.unlink()
    add_key(file, signs_tasks)
    with keys.that_pass(codec.check_answers), caplog.at_level(logging.ERROR, "secure_queue.audit"):
        assert not keys.look() and not keys.look()
        assert str(at_the_start.value) in caplog.text and len(caplog.records) == 1
        codec.check_answers()
    file.touch()
    assert keys.look()  # who only enqueues can use it


def test_a_ring_that_nothing_could_be_signed_with_is_not_taken(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys, _ = live(file)
    codec = codec_of(keys, "emails", JsonSerializer(), Habits())
    before = codec.key_id_for(Purpose.TASK)
    pair = generate_key("elsewhere", kind=KeyKind.SEED)
    file.unlink()
    add_key(file, replace(pair, grants=Grants(frozenset({Purpose.TASK}), ("shop",))))
    with caplog.at_level(logging.ERROR, "secure_queue.audit"):
        assert not keys.look() and not keys.look()
    assert "no active key may sign in the queue 'emails'" in caplog.text and len(caplog.records) == 1
    assert states(keys) == {"old": "active"} and codec.key_id_for(Purpose.TASK) == before


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
