"""Keys for sides that trust each other less, made by the commands of ``docs/keys.md`` and used as that page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_queue.errors import KeyRingError, Rejected
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.key_files import load_key_ring
from secure_queue.payload.serializers import MsgpackSerializer
from tests.system.shell import Shell
from tests.unit.payload.samples import NOW_MS, seal_task

pytestmark = pytest.mark.slow


@pytest.fixture
def plain(shell: Shell) -> Shell:
    """A shell without keys in its environment."""
    del shell.environment["SECURE_QUEUE_KEYS"]
    return shell


def codec(source: Path | str, queue: str = "emails") -> Codec:
    file, text = (str(source), None) if isinstance(source, Path) else (None, source)
    return Codec(load_key_ring(None, environment_keys=text, keys_file=file), queue, MsgpackSerializer())


def test_a_scoped_key_enqueues_in_its_queue_and_does_nothing_else(plain: Shell) -> None:
    root = plain.folder / "root.toml"
    plain.run("keys", "generate", "--name", "root", "--file", str(root))
    options = ("--file", str(root), "--queue", "emails", "--purpose", "task", "--as", "web")
    line = plain.run("keys", "scope", "root", *options).stdout
    assert line.startswith("export SECURE_QUEUE_KEYS=sqk1:web:active:hu:")
    producer = codec(line.strip().partition("=")[2])
    assert codec(root).open(seal_task(producer), Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]
    with pytest.raises(KeyRingError):
        seal_task(producer, purpose=Purpose.RESULT)
    hidden = plain.run("keys", "scope", *options, "--encrypt", "--raw").stdout.strip()
    assert codec(root).open(seal_task(codec(hidden)), Purpose.TASK, "t1", now_ms=NOW_MS).is_encrypted
    whole = plain.run("keys", "scope", "--file", str(root), "--queue", "{emails}", "--raw").stdout.strip()
    assert ":hq:" in whole and codec(whole).check_answers() is None


def test_pairs_and_their_public_halves_let_one_side_enqueue_and_the_other_answer(plain: Shell) -> None:
    web, crew = plain.folder / "web.toml", plain.folder / "crew.toml"
    for file, purpose in ((web, "task"), (crew, "result")):
        words = ("--kind", "ed25519", "--name", file.stem, "--purpose", purpose, "--file", str(file))
        plain.run("keys", "generate", *words)
    granted = ("--purpose", "task", "--queue", "emails", "--function", "send_*")
    for of, to, words in ((web, crew, granted), (crew, web, ("--purpose", "result"))):
        table = plain.run("keys", "public", "--file", str(of), *words).stdout
        to.write_text(to.read_text() + table)
    producer, worker = codec(web), codec(crew)
    worker.check_answers()
    task = seal_task(producer, function="send_mail")
    assert worker.open(task, Purpose.TASK, "t1", now_ms=NOW_MS).value == [1, 2, 3]
    result = seal_task(worker, purpose=Purpose.RESULT)
    assert producer.open(result, Purpose.RESULT, "t1", now_ms=NOW_MS).value == [1, 2, 3]
    with pytest.raises(Rejected, match="key-not-authorised"):
        worker.open(seal_task(producer, function="pay"), Purpose.TASK, "t1", now_ms=NOW_MS)
    with pytest.raises(KeyRingError):
        seal_task(worker)
    listed = plain.run("keys", "list", "--file", str(crew)).stdout
    assert "es" in listed and "ep" in listed


def test_a_pair_is_followed_by_a_pair_with_the_same_grants(plain: Shell) -> None:
    file = plain.folder / "web.toml"
    plain.run("keys", "generate", "--kind", "ed25519", "--name", "old", "--file", str(file))
    plain.run("keys", "rotate", "distribute", "--name", "new", "--file", str(file))
    plain.run("keys", "rotate", "promote", "new", "--file", str(file))
    assert file.read_text().count('kind = "es"') == file.read_text().count('purposes = ["task"]') == 2
    with pytest.raises(KeyRingError, match="may sign a result"):
        codec(file).check_answers()


def test_what_makes_no_sense_is_one_line(plain: Shell) -> None:
    root, pair = plain.folder / "root.toml", plain.folder / "pair.toml"
    plain.run("keys", "generate", "--file", str(root))
    plain.run("keys", "generate", "--kind", "ed25519", "--file", str(pair))
    for words, problem in (
        (("public", "--file", str(root)), "--kind ed25519"),
        (("public", "--file", str(pair), "--queue", "emails"), "--purpose"),
        (("scope", "--file", str(pair), "--queue", "emails"), "a symmetric root key"),
        (("scope", "--file", str(root), "--queue", "emails", "--encrypt"), "--encrypt goes with --purpose"),
    ):
        assert problem in plain.refuse("keys", *words)
