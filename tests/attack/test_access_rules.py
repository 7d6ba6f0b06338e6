"""Each role with exactly the rights that ``secure-queue acl`` prints: it does its own work, and fails at the others'."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from secure_queue import ConcurrencyLimit, ConfigurationError, RateLimit, TaskStatus, Worker
from secure_queue.presence import WORKER
from secure_queue.reasons import Why
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Link
from secure_queue.redis.roles import Dialect, Role
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Standalone
from secure_queue.scheduling import ScheduleInfo
from secure_queue.secret import Secret
from secure_queue.storage import NewTask
from tests.servers import PATIENCE, Server, dialect_of, eventually, happens
from tests.worker.places import PRIORITY, QUEUE, SECRET, running

pytestmark = [pytest.mark.anyio, pytest.mark.attack(61)]

PASSWORD = "a-password-for-tests"
KEYS = QueueKeys(QUEUE, (PRIORITY,))


@pytest.fixture(scope="module")
def guarded(no_server_left: None) -> Iterator[Server]:
    """A server that knows the five roles."""
    with Server(appendonly="no") as server:
        worker: Worker[None] = Worker("memory://", queue_name=QUEUE)
        for words in users_for(worker, dialect_of(server.binary)):
            server.command(*words)
        yield server


def users_for(worker: Worker[Any], dialect: Dialect) -> list[list[str]]:
    """The commands that make a user for each role; a selector in parentheses is one word."""
    rules = [worker.access_rule(role, user=role.value, password=f">{PASSWORD}", dialect=dialect) for role in Role]
    return [["ACL", "SETUSER", *re.findall(r"\([^)]*\)|\S+", rule)] for rule in rules]


def worker_of(server: Server, role: Role) -> Worker[Any]:
    url = f"unix://{role.value}:{PASSWORD}@{server.unix_path}"
    waits = {"durability": "replicated", "replicas": 1, "degrade_after": 0.05} if role is Role.PRODUCER else {}
    return worker_at(url, role, QUEUE, **waits)


def worker_at(url: str, role: Role, queue: str, **options: Any) -> Worker[Any]:
    """A worker object for one role at its work."""
    worker: Worker[Any] = Worker(
        url,
        queue_name=queue,
        signing_secret=SECRET,
        handle_signals=False,
        concurrency=2,
        partitions=2,
        **options,
    )
    worker.announces = role in (Role.PRODUCER, Role.WORKER)

    @worker.task(name="double", ttl=60)
    async def double(number: int) -> int:
        return 2 * number

    @worker.task(name="fail", max_tries=1, silent=True)
    async def fail() -> None:
        raise ValueError

    @worker.task(name="limited", limits=[ConcurrencyLimit(1), RateLimit(2, per=0.05)])
    async def limited() -> None: ...

    @worker.task(name="alone", unique=True)
    async def alone() -> None: ...

    @worker.task(name="hang")
    async def hang() -> None:
        await anyio.sleep_forever()

    return worker


def link_of(server: Server, role: Role) -> Any:
    topology = Standalone(unix_path=str(server.unix_path), username=role.value, password=Secret(PASSWORD.encode()))
    return open_link(topology, deadline=5)


def denials(server: Server) -> list[str]:
    return [str(entry) for entry in server.command("ACL", "LOG")]


Raw = Callable[..., Awaitable[object]]
"""Sends a command to the server of partition 0, with all rights."""


@asynccontextmanager
async def everybody(workers: dict[Role, Worker[Any]]) -> AsyncIterator[dict[Role, Worker[Any]]]:
    """All roles at work."""
    async with AsyncExitStack() as stack:
        for role, worker in workers.items():
            await stack.enter_async_context(running(worker) if role is Role.WORKER else worker)
        yield workers


async def test_each_role_can_do_all_of_its_work(guarded: Server) -> None:
    async def raw(*words: Any) -> object:
        return guarded.command(*words)

    guarded.command("FLUSHALL")
    guarded.command("ACL", "LOG", "RESET")
    async with everybody({role: worker_of(guarded, role) for role in Role}) as workers:
        await do_all_work(workers, KEYS, raw)
        for role in (Role.WORKER, Role.DASHBOARD):  # whose users health checks have
            assert WORKER in [process.role for process in await workers[role].processes()]
    assert denials(guarded) == []


async def test_a_producer_finds_out_that_a_partition_is_well_again(guarded: Server) -> None:
    guarded.command("ACL", "LOG", "RESET")
    async with worker_of(guarded, Role.PRODUCER) as producer:
        route = producer._client().routes.at(1)
        route.storage._link.in_trouble = True  # type: ignore[attr-defined]
        assert route.is_in_trouble()
        await happens(lambda: not route.storage.in_trouble)
    assert denials(guarded) == []


async def do_all_work(workers: dict[Role, Worker[Any]], keys: QueueKeys, raw: Raw) -> None:
    """What each role is for, once."""
    producer, operator, auditor = workers[Role.PRODUCER], workers[Role.OPERATOR], workers[Role.AUDITOR]
    double, fail, hang = (producer.registry[name] for name in ("double", "fail", "hang"))
    elsewhere = double.enqueue(5)
    elsewhere.id = "1." + "a" * 32
    assert (await (await elsewhere).result(PATIENCE)).result == 10
    assert len(await auditor.audit_task("an-id-of-ones-own")) == 0
    await producer.schedule(double.enqueue(1), timedelta(days=1), schedule_id="daily")
    assert [schedule.schedule_id for schedule in await operator.schedules() if isinstance(schedule, ScheduleInfo)] == [
        "daily"
    ]
    assert [finding.code for finding in await auditor.audit_task("daily")] == ["valid"]
    assert await operator.unschedule_by_id("daily")
    tasks = [double.enqueue(number) for number in range(3)] + [double.enqueue(9).start(delay=0.2)]
    await producer.enqueue_many(tasks)
    assert [(await task.result(PATIENCE)).result for task in tasks] == [0, 2, 4, 18]

    lined = [double.enqueue(number).start(order_by="key") for number in range(3)]
    await producer.enqueue_many(lined)
    assert [(await task.result(PATIENCE)).result for task in lined] == [0, 2, 4]
    for number in (7, 8):
        last = await double.enqueue(number).start(unique_key="key", on_conflict="replace", delay=0.2)
    assert (await last.result(PATIENCE)).result == 16
    assert (await (await producer.registry["alone"].enqueue()).result(PATIENCE)).success

    chain = await (double.enqueue(1) | double).start(after=[tasks[0], tasks[1].id])
    assert (await chain.result(PATIENCE)).result == 4
    later = await (double.enqueue(1).start(delay=600) | double)
    assert len((await operator.workflow(later.id)).tasks) == 2
    assert len(await operator.abort_workflow(later.id, PATIENCE)) == 2

    dead = await fail.enqueue()
    assert (await dead.result(PATIENCE)).status is TaskStatus.FAILED
    await operator.retry_dead_letter(dead.id)

    running_task = await hang.enqueue()
    await eventually(lambda: _runs(operator, running_task.id))
    assert await operator.abort_by_id(running_task.id, PATIENCE)

    limited = [producer.registry["limited"].enqueue() for _ in range(3)]
    await producer.enqueue_many(limited)
    assert [(await task.result(PATIENCE)).success for task in limited] == [True] * 3
    await operator.pause(task="double")
    assert len(await workers[Role.DASHBOARD].paused()) == len(await auditor.paused()) == 1
    await eventually(lambda: _knows_of_a_pause(workers[Role.WORKER]))
    waiting = await double.enqueue(1)
    await eventually(lambda: _is_shelved(workers[Role.WORKER]))
    assert (await auditor.explain(waiting.id)).reasons[0].why is Why.PAUSED
    assert await operator.resume(task="double")
    assert (await waiting.result(PATIENCE)).result == 2
    assert (await operator.explain("an-id-of-ones-own")).status is TaskStatus.NOT_FOUND
    stored = await double.enqueue(1).start(schedule="0 3 1 1 *")
    assert (await auditor.explain(stored.id)).reasons[0].why is Why.SCHEDULE
    assert await operator.unschedule_by_id(stored.id)

    await raw("HSET", keys.bucket(b"evil"), "evil", b"no envelope")
    await raw("RPUSH", keys.ready[PRIORITY], "evil")
    await raw("ZADD", keys.wake, 0, "0")
    await eventually(lambda: _quarantined(workers[Role.DASHBOARD]))
    report = await auditor.audit()
    assert report.codes["unsigned"] == 1
    assert {process.role for process in await workers[Role.DASHBOARD].processes()} == {"producer", "worker"}


async def _runs(worker: Worker[Any], task_id: str) -> bool:
    return await worker.status_by_id(task_id) is TaskStatus.RUNNING


async def _knows_of_a_pause(worker: Worker[Any]) -> bool:
    return worker._engine is not None and worker._engine._admission.watches


async def _is_shelved(worker: Worker[Any]) -> bool:
    return worker.counters["shelved"] > 0


async def _quarantined(worker: Worker[Any]) -> bool:
    return (await worker.counts()).quarantined == 1


Work = Callable[[RedisStorage], Awaitable[object]]
CLAIM: Work = lambda storage: storage.claim("w", b"t", 1, 1000)  # noqa: E731
ENQUEUE: Work = lambda storage: storage.enqueue([NewTask(b"x", b"sealed", 0, PRIORITY)], 5)  # noqa: E731
READ: Work = lambda storage: storage.look_up(b"x")  # noqa: E731
LOOK_AROUND: Work = lambda storage: storage.scannable().fields(KEYS.buckets[0], b"0")  # noqa: E731
DELETE: Work = lambda storage: storage.forget(b"x")  # noqa: E731
TIDY: Work = lambda storage: storage.tick("w", gone_after_ms=1, keep_dead_ms=1, keep_dead=1)  # noqa: E731
DENIED: list[tuple[Role, str, Work]] = [
    (Role.PRODUCER, "claim", CLAIM),
    (Role.PRODUCER, "look-around", LOOK_AROUND),
    (Role.PRODUCER, "delete", DELETE),
    (Role.PRODUCER, "pause", lambda storage: storage.pause({"*": 0})),
    (Role.DASHBOARD, "resume", lambda storage: storage.resume("*")),
    (Role.PRODUCER, "tidy", TIDY),
    (Role.PRODUCER, "look-who-works", lambda storage: storage.untrusted_workers()),
    (Role.WORKER, "look-around", LOOK_AROUND),
    (Role.AUDITOR, "enqueue", ENQUEUE),
    (Role.AUDITOR, "claim", CLAIM),
    (Role.AUDITOR, "delete", DELETE),
    (Role.DASHBOARD, "enqueue", ENQUEUE),
    (Role.DASHBOARD, "claim", CLAIM),
    (Role.DASHBOARD, "read", READ),
    (Role.DASHBOARD, "delete", DELETE),
    (Role.OPERATOR, "claim", CLAIM),
    (Role.OPERATOR, "tidy", TIDY),
]


@pytest.mark.parametrize(("role", "work"), [(r, w) for r, _, w in DENIED], ids=[f"{r}-{name}" for r, name, _ in DENIED])
async def test_no_role_can_do_the_work_of_another(guarded: Server, role: Role, work: Work) -> None:
    guarded.command("FLUSHALL")
    guarded.command("RPUSH", KEYS.ready[PRIORITY], "x")  # so that a claim has something to take
    guarded.command("HSET", KEYS.bucket(b"x"), "x", "sealed")
    guarded.command("ZADD", KEYS.dead, 1, "x")
    async with link_of(guarded, role) as link:
        with pytest.raises(ConfigurationError, match="ACL rules"):
            await work(RedisStorage(link, KEYS))
    assert guarded.command("LRANGE", KEYS.ready[PRIORITY], 0, -1) == [b"x"]
    assert guarded.command("HGET", KEYS.bucket(b"x"), "x") == b"sealed"


@pytest.mark.parametrize("name", ["leases", "results", "dead"])
async def test_a_producer_learns_of_the_indexes_only_whether_they_are_there(guarded: Server, name: str) -> None:
    if not dialect_of(guarded.binary).has_selectors:
        pytest.skip("Redis 6.2 cannot give a command on some keys only; docs/acl.md says so")
    guarded.command("FLUSHALL")
    index = getattr(KEYS, name)
    guarded.command("ZADD", index, 1, "x")
    async with link_of(guarded, Role.PRODUCER) as link:
        assert await link.command("EXISTS", index) == 1
        for words in (("ZADD", index, 2, "x"), ("PEXPIRE", index, 1), ("ZSCORE", index, "x")):
            await _denied(link, *words)
    assert guarded.command("ZSCORE", index, "x") == 1


OUTSIDE = [
    ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("ACL", "LIST"), ("SHUTDOWN", "NOSAVE"), ("MONITOR",),
    ("EVAL", "return 1", 0), ("SCRIPT", "FLUSH"), ("REPLICAOF", "h", 1), ("CLIENT", "LIST"), ("MIGRATE", "h", 1, "k", 0, 1),
    ("GET", "sq:{other/0}:result:x"), ("HGETALL", "sq:{other/0}:tasks:0"), ("GET", "session:4711"),
]  # fmt: skip


@pytest.mark.parametrize("role", Role)
async def test_no_role_gets_beyond_its_queue_or_at_the_server(guarded: Server, role: Role) -> None:
    async with link_of(guarded, role) as link:
        for words in OUTSIDE:
            await _denied(link, *words)


@pytest.mark.parametrize("role", [Role.WORKER, Role.PRODUCER, Role.DASHBOARD, Role.AUDITOR])
async def test_nobody_who_runs_tasks_or_looks_can_cut_the_audit_log(guarded: Server, role: Role) -> None:
    if role is Role.WORKER and not dialect_of(guarded.binary).has_selectors:
        pytest.skip("Redis 6.2 cannot say that a key may only be appended to; docs/acl.md says so")
    guarded.command("DEL", KEYS.audit)
    guarded.command("RPUSH", KEYS.audit, "record")
    async with link_of(guarded, role) as link:
        if role is Role.WORKER:
            await link.command("RPUSH", KEYS.audit, "more")
        for words in (
            ("LTRIM", KEYS.audit, 1, 0),
            ("DEL", KEYS.audit),
            ("PEXPIRE", KEYS.audit, 1),
            ("RENAME", KEYS.audit, "x"),
        ):
            await _denied(link, *words)
    assert guarded.command("LINDEX", KEYS.audit, 0) == b"record"


async def _denied(link: Link, *words: Any) -> None:
    with pytest.raises(ConfigurationError, match="ACL rules"):
        await link.command(*words)
