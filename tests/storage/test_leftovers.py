"""Nothing grows: what 10,000 tasks leave behind is their results, and those expire."""

from __future__ import annotations

import pytest

from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import NewTask
from tests.conftest import lasting_keys
from tests.servers import Server
from tests.storage.conftest import KEYS
from tests.storage.verbs import LONG, MARK, created, dead, end, put, put_and_take, take, tick

pytestmark = pytest.mark.anyio

TASKS = 10_000


async def drain(storage: RedisStorage, keep: int | bytes) -> None:
    for number in range(TASKS // 500):
        claims = await take(storage, 500, token=b"w.%d" % number)
        assert all(await storage.complete([end(c.untrusted_id, c.token, keep) for c in claims]))
        await tick(storage)


async def keys_without_results(storage: RedisStorage, link: Link) -> list[bytes]:
    keys = await link.command("KEYS", "*")
    assert isinstance(keys, list)
    prefix = storage.keys.result(b"")
    return sorted(
        key.removeprefix(storage.keys.prefix) for key in keys if isinstance(key, bytes) and not key.startswith(prefix)
    )


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("keep", [MARK, LONG], ids=["not kept", "kept"])
async def test_after_ten_thousand_tasks_every_key_has_an_expiry(real_server: Server, keep: int | bytes) -> None:
    async with open_link(real_server.topology) as link:
        await link.command("FLUSHALL")
        storage = RedisStorage(link, KEYS)
        tasks = [NewTask(b"%032x" % number, b"sealed", 0, "low") for number in range(TASKS)]
        assert all(await created(storage, tasks))
        await drain(storage, keep)
        assert await lasting_keys(link) == []
        expected = [b"claim:w", b"meta", b"workers"] + ([b"results"] if keep == LONG else [])
        assert await keys_without_results(storage, link) == sorted(expected)
        assert await link.command("DBSIZE") == TASKS + len(expected)
        await link.command("FLUSHALL")


async def test_only_what_waits_and_what_was_asked_for_stays_for_ever(storage: RedisStorage, link: Link) -> None:
    """The whole list of keys that may lack an expiry, and who takes each away."""
    await dead(storage, b"dead")
    await put_and_take(storage, b"for ever", token=b"w.2")
    await storage.complete([end(b"for ever", b"w.2", -1)])
    await put_and_take(storage, b"running", token=b"w.3")
    await put(storage, b"due", at_ms=-LONG)
    await put(storage, b"ready")
    await tick(storage)
    reasons = {
        b"dead": "limited by number and age; tick trims it",
        b"due:low": "tasks that wait",
        b"ready:low": "tasks that wait",
        b"leases": "tasks that run",
        b"wake": "one marker while tasks are ready",
        b"result:for ever": "asked for by ttl=None",
        b"results": "holds the id of a result that is kept for ever",
    }
    records = {storage.keys.bucket(task_id) for task_id in (b"dead", b"running", b"due", b"ready")}
    assert set(await lasting_keys(link)) == records | {storage.keys.prefix + name for name in reasons}
