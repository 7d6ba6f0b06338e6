"""enqueue: new tasks are stored once, in order, at their time."""

from __future__ import annotations

import anyio
import pytest

from secure_queue.clock import now_ms
from secure_queue.errors import Backpressure
from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import UNKNOWN, NewTask, Standing
from tests.servers import PATIENCE, Server, eventually
from tests.storage.conftest import KEYS
from tests.storage.verbs import (
    LONG,
    MARK,
    RESULT,
    SEALED,
    TOKEN,
    back,
    created,
    dead,
    end,
    everything,
    ids_of,
    put,
    put_and_take,
    standing,
    take,
    take_marker,
    tick,
)

pytestmark = pytest.mark.anyio


async def test_a_new_task_is_queued(storage: RedisStorage) -> None:
    assert await created(storage, [NewTask(b"a", b"sealed", 0, "low")]) == [True]
    record = await storage.look_up(b"a")
    assert (record.standing, record.untrusted_task, record.tries) == (Standing.QUEUED, b"sealed", 0)


async def test_no_tasks_are_no_call(storage: RedisStorage) -> None:
    assert await created(storage, []) == []


async def test_a_repeated_enqueue_changes_nothing(storage: RedisStorage) -> None:
    await put(storage, b"a")
    assert await created(storage, [NewTask(b"a", b"other", 0, "high")]) == [False]
    assert (await storage.look_up(b"a")).untrusted_task == b"sealed task"
    assert ids_of(await take(storage)) == [b"a"]


async def test_a_call_that_is_repeated_says_the_same_again(storage: RedisStorage) -> None:
    tasks = [NewTask(b"a", b"sealed", 0, "low"), NewTask(b"b", b"sealed", -LONG, "low")]
    assert await created(storage, tasks) == [True, True]
    before = await everything(storage)
    assert await created(storage, tasks) == [True, True]
    assert await everything(storage) == before
    assert ids_of(await take(storage)) == [b"a"]


async def test_large_tasks_go_in_several_calls_and_come_in_several_claims(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.redis.storage.BATCH_BYTES", 2500)
    ids = [b"%d" % number for number in range(10)]
    tasks = [NewTask(task_id, bytes(1000), 0, "low") for task_id in ids]
    assert await created(storage, tasks) == [True] * 10
    assert ids_of(await take(storage, count=10)) == ids


async def test_one_claim_hands_out_about_four_megabytes(real_server: Server) -> None:
    async with open_link(real_server.topology) as link:
        await link.command("FLUSHALL")
        storage = RedisStorage(link, KEYS)
        ids = [b"%02d" % number for number in range(12)]
        await storage.enqueue([NewTask(task_id, bytes(1 << 20), 0, "low") for task_id in ids], PATIENCE)
        claims = [await storage.claim("w", b"w.%d" % number, 12, LONG) for number in range(4)]
        assert [(more, len(some)) for more, some in claims] == [(True, 4), (True, 4), (False, 4), (False, 0)]
        assert [claim.untrusted_id for _, some in claims for claim in some] == ids
        await link.command("FLUSHALL")


async def test_an_id_twice_in_one_call_is_stored_once(storage: RedisStorage) -> None:
    twice = [NewTask(b"a", b"first", 0, "low"), NewTask(b"a", b"second", 0, "low")]
    assert await created(storage, twice) == [True, False]
    assert [claim.untrusted for claim in await take(storage)] == [b"first"]


async def test_a_late_repetition_is_known_when_the_task_is_done_and_its_result_gone(
    storage: RedisStorage, link: Link
) -> None:
    await put_and_take(storage, b"a")
    assert await storage.complete([end(b"a", TOKEN, 1)]) == [True]
    await eventually(lambda: _is_gone(link, storage.keys.result(b"a")))
    assert await created(storage, [NewTask(b"a", SEALED, 0, "low")]) == [True]  # it was this call that stored it
    assert await standing(storage, b"a") is Standing.NOT_FOUND
    assert await created(storage, [NewTask(b"a", b"another task of this id", 0, "low")]) == [True]
    left = await link.command("PTTL", storage.keys.finished)
    assert isinstance(left, int) and 0 < left <= 100_000


async def _is_gone(link: Link, key: bytes) -> bool:
    return await link.command("EXISTS", key) == 0


async def test_a_running_task_is_known(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert await created(storage, [NewTask(b"a", b"other", 0, "low")]) == [False]
    assert await take(storage, token=b"w.2") == []


async def test_a_finished_task_is_known_while_its_result_is_kept(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.complete([end(b"a")])
    assert await created(storage, [NewTask(b"a", b"other", 0, "low")]) == [False]
    assert (await storage.look_up(b"a")).untrusted_result == RESULT


async def test_a_finished_task_without_a_result_leaves_a_mark_that_makes_it_known(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.complete([end(b"a", keep=MARK)])
    assert await created(storage, [NewTask(b"a", b"other", 0, "low")]) == [False]
    assert await take(storage, token=b"w.2") == []


async def test_a_dead_letter_is_known(storage: RedisStorage) -> None:
    await dead(storage, b"a")
    assert await created(storage, [NewTask(b"a", b"other", 0, "low")]) == [False]
    assert await standing(storage, b"a") is Standing.DEAD


async def test_tasks_keep_their_order_over_the_limit_of_one_call(storage: RedisStorage) -> None:
    ids = [b"%04d" % number for number in range(1100)]
    await put(storage, *ids)
    assert ids_of(await take(storage, 2000)) == ids


async def test_the_answers_stand_in_the_order_of_the_tasks_whatever_their_priorities(storage: RedisStorage) -> None:
    await put(storage, b"known", priority="high")
    names = [(b"a", "low"), (b"known", "high"), (b"b", "high"), (b"c", "low")]
    assert await created(storage, [NewTask(i, b"sealed", 0, name) for i, name in names]) == [
        True,
        False,
        True,
        True,
    ]
    assert ids_of(await take(storage)) == [b"known", b"b", b"a", b"c"]


async def test_a_delayed_task_is_scheduled_by_the_clock_of_the_server(storage: RedisStorage) -> None:
    await put(storage, b"a", at_ms=-LONG)
    record = await storage.look_up(b"a")
    assert record.standing is Standing.SCHEDULED
    found = await tick(storage)
    assert found.promoted == 0 and found.next_due_ms is not None and 0 < found.next_due_ms <= LONG
    assert await take(storage) == []


async def test_a_task_for_a_moment_is_due_then(storage: RedisStorage) -> None:
    await put(storage, b"a", at_ms=4_000_000_000_000)
    assert (await storage.look_up(b"a")).due_ms == 4_000_000_000_000


async def test_a_ready_task_wakes_a_worker_and_a_scheduled_one_does_not(storage: RedisStorage) -> None:
    await put(storage, b"later", at_ms=-LONG)
    assert await take_marker(storage) is False
    await put(storage, b"now")
    assert await take_marker(storage) is True


async def test_who_is_told_that_a_task_is_due_soon_knows_it_whatever_is_claimed(
    storage: RedisStorage, link: Link
) -> None:
    assert await take(storage) == []  # the server knows the script from now on

    async def wait(number: int, patience: float) -> tuple[list[bytes], bool] | None:
        woken = await storage.claim_when_woken("w", b"w.%d" % number, 10, LONG, patience)
        return None if woken is None else (ids_of(woken[1]), woken[2])

    await put(storage, b"now")
    await put(storage, b"soon", at_ms=-300)
    await link.command("ZREM", storage.keys.wake, "0")  # as if it had come a moment later, when the worker was woken
    assert await wait(1, PATIENCE) == ([b"now"], True)
    await put(storage, b"now too")
    assert await wait(2, PATIENCE) == ([b"now too"], False)
    assert await wait(3, 0.05) == ([], False)


async def test_of_tasks_that_are_due_soon_a_worker_is_told_the_earliest(storage: RedisStorage, link: Link) -> None:
    ahead = now_ms() + LONG // 2
    await link.command("HSET", storage.keys.meta, "clock", ahead)  # the queue's clock stands still until then
    await put(storage, b"soon", at_ms=-300)
    await link.command("ZADD", storage.keys.wake, 9, "junk")
    await put(storage, b"now")
    assert ids_of(await take(storage)) == [b"now"]
    assert await link.command("ZRANGE", storage.keys.wake, 0, -1) == [b"soon"]
    assert await take_marker(storage) is True
    await put(storage, b"not before it", at_ms=-300)
    await put(storage, b"behind it", at_ms=ahead + 400, priority="high")
    assert await take_marker(storage) is False
    await put(storage, b"before it", at_ms=ahead + 100)
    assert await take_marker(storage) is True
    await put(storage, b"due", at_ms=1)
    assert await take_marker(storage) is True


async def test_ids_of_any_bytes_are_kept_apart(storage: RedisStorage) -> None:
    ids = [b"", b"\xff", b"\xff\xff", b"a\nb", b"\0", b"x" * 10_000]
    await put(storage, *ids)
    assert ids_of(await take(storage)) == ids


async def test_a_full_server_refuses_new_tasks_and_lets_workers_finish(server: Server) -> None:
    async with open_link(server.topology) as link:
        storage = RedisStorage(link, KEYS)
        await put_and_take(storage, b"a", b"b", b"c")
        await link.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Backpressure):
            await storage.enqueue([NewTask(b"d", b"sealed", 0, "low")], PATIENCE)
        assert await storage.complete([end(b"a")]) == [True]
        assert await storage.bury([end(b"b")]) == [True]
        assert await storage.renew(LONG, [back(b"c")]) == [True]
        assert await storage.watch("client", [b"c", b"unknown"]) == [None, UNKNOWN]
        await tick(storage)
        await link.command("CONFIG", "SET", "maxmemory", "0")
        assert await standing(storage, b"d") is Standing.NOT_FOUND


async def test_a_script_that_the_server_has_forgotten_is_loaded_again(server: Server) -> None:
    async with open_link(server.topology) as link:
        storage = RedisStorage(link, KEYS)
        await put(storage, b"a")
        await anyio.to_thread.run_sync(server.flush_scripts)
        await put(storage, b"b")
        await anyio.to_thread.run_sync(server.flush_scripts)
        assert ids_of(await take(storage)) == [b"a", b"b"]
