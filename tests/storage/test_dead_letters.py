"""revive and forget: the two ways out of the dead letters."""

from __future__ import annotations

import pytest

from secure_queue.evidence import Renewed
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Claim, Standing
from tests.storage.verbs import MARK, dead, everything, ids_of, put_and_take, standing, take, take_marker

pytestmark = pytest.mark.anyio


async def test_a_revived_task_runs_again_with_all_its_tries(storage: RedisStorage) -> None:
    await dead(storage, b"a")
    assert await storage.revive(Renewed(b"a", b"fresh", "high")) is True
    assert await take_marker(storage) is True
    record = await storage.look_up(b"a")
    assert (record.standing, record.tries, record.untrusted_death) == (Standing.QUEUED, 0, None)
    assert record.untrusted_result is None
    assert await take(storage, token=b"w.2") == [Claim(b"a", b"fresh", 1, "high", b"w.2")]
    counts = await storage.counts()
    assert (counts.dead, counts.results) == (0, 0)


async def test_reviving_again_with_the_same_seal_says_the_same_and_changes_nothing(storage: RedisStorage) -> None:
    await dead(storage, b"a")
    assert await storage.revive(Renewed(b"a", b"fresh", "low")) is True
    before = await everything(storage)
    assert await storage.revive(Renewed(b"a", b"fresh", "low")) is True
    assert await everything(storage) == before
    assert await storage.revive(Renewed(b"a", b"of somebody else", "low")) is False
    assert ids_of(await take(storage, token=b"w.2")) == [b"a"]


async def test_what_is_no_dead_letter_cannot_be_revived_or_forgotten(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    for task_id in (b"a", b"unknown"):
        assert await storage.revive(Renewed(task_id, b"fresh", "low")) is False
        assert await storage.forget(task_id) is False
    assert await standing(storage, b"a") is Standing.RUNNING


async def test_a_forgotten_dead_letter_is_gone(storage: RedisStorage, link: Link) -> None:
    await dead(storage, b"a", keep=MARK)
    assert await storage.forget(b"a") is True
    assert await link.command("EXISTS", storage.keys.bucket(b"a"), storage.keys.dead) == 0
    assert await storage.forget(b"a") is False
