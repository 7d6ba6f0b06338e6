"""Changing keys while producers and workers are busy, by the runbook and by mistake."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from secure_queue import TaskNotFound, Worker
from secure_queue.audit.reseal import CURRENT, RESEALED, YOUNG
from secure_queue.cli import rotate
from secure_queue.errors import Rejected
from secure_queue.payload.key_files import add_key
from secure_queue.payload.keys import KeyState, format_key, generate_key
from secure_queue.payload.layout import parse_envelope
from secure_queue.presence import Process
from secure_queue.rotation import not_ready
from secure_queue.scheduling import ScheduleInfo
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import Place, open_place, running

pytestmark = pytest.mark.anyio

TASKS, BATCH = 10_000, 100


@pytest.fixture(params=["memory", "server"])
async def place(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[Place]:
    server = request.getfixturevalue("real_server") if request.param == "server" else None
    async with open_place(request.param, server) as opened:
        yield opened


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at key files, and show oneself, more often than every 5 seconds."""
    monkeypatch.setattr("secure_queue.oversight.LOOK_S", 0.05)
    monkeypatch.setattr("secure_queue.oversight.INTERVAL_S", 0.1)


class Fleet:
    """Two producers and two workers, each with a copy of the key file of its own, as on hosts of their own."""

    def __init__(self, place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.master = folder / "master.toml"
        add_key(self.master, generate_key("old"))
        self.files = [folder / f"host-{number}.toml" for number in range(4)]
        self.ran: list[int] = []
        self.workers: list[Worker[Any]] = []
        for file in self.files:
            shutil.copy(self.master, file)
            monkeypatch.setenv("SECURE_QUEUE_KEYS_FILE", str(file))
            self.workers.append(self._worker(place))

    def _worker(self, place: Place) -> Worker[Any]:
        worker = place.worker(signing_secret=None, concurrency=8)

        @worker.task(name="note", ttl=0)
        async def note(number: int) -> None:
            self.ran.append(number)

        return worker

    async def roll_out(self) -> None:
        """Copy the file to one host after the other, with some work done between them."""
        for file in self.files:
            shutil.copy(self.master, file)
            before = len(self.ran)
            await eventually(lambda before=before: _true(len(self.ran) >= min(before + BATCH, TASKS)))  # type: ignore[misc]

    async def processes(self) -> list[Process]:
        return await self.workers[0].processes()


async def _true(condition: bool) -> bool:
    return condition


@pytest.mark.attack(22)
@pytest.mark.timeout(120)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_runbook_under_load_loses_and_rejects_nothing(
    real_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    async with open_place("server", real_server) as place, AsyncExitStack() as stack:
        fleet = Fleet(place, tmp_path, monkeypatch)
        producers, workers = fleet.workers[:2], fleet.workers[2:]
        for producer in producers:
            await stack.enter_async_context(producer)
        for worker in workers:
            await stack.enter_async_context(running(worker))

        async def produce(producer: Worker[Any], first: int) -> None:
            note = producer.registry["note"]
            for start in range(first, TASKS, 2 * BATCH):
                await producer.enqueue_many([note.enqueue(number) for number in range(start, start + BATCH)])
                while start - len(fleet.ran) > 4 * BATCH:  # the load lasts as long as the rotation
                    await anyio.sleep(0.002)
                await anyio.sleep(0.05)  # the pace of the load

        async with anyio.create_task_group() as load:
            for place_, producer in enumerate(producers):
                load.start_soon(produce, producer, place_ * BATCH)
            await _rotate(fleet)
        await eventually(lambda: _true(len(fleet.ran) >= TASKS))
        assert sorted(fleet.ran) == list(range(TASKS))
        assert await place.quarantine() == {}
        for worker in fleet.workers:
            assert {key.name: key.state for key in worker.key_ring.keys} == {
                "old": KeyState.REVOKED,
                "new": KeyState.ACTIVE,
            }


async def _rotate(fleet: Fleet) -> None:
    """The three steps, each run twice."""
    for _ in range(2):
        rotate.distribute(name="new", file=fleet.master)
    await fleet.roll_out()
    new_id = fleet_key_id(fleet, "new")
    await eventually(lambda: _nobody_is_late(fleet, new_id))
    for _ in range(2):
        rotate.promote("new", file=fleet.master)
    await fleet.roll_out()
    await eventually(lambda: _is_retirable(fleet))
    for _ in range(2):
        rotate.retire("old", file=fleet.master)
    await fleet.roll_out()


def fleet_key_id(fleet: Fleet, name: str) -> str:
    entries = rotate.read_key_file(fleet.master)
    return next(stored.entry.key_id.hex() for stored in entries if stored.entry.name == name)


async def _nobody_is_late(fleet: Fleet, key_id: str) -> bool:
    processes = await fleet.processes()
    return len(processes) >= 4 and not_ready(processes, key_id) == []


async def _is_retirable(fleet: Fleet) -> bool:
    return (await fleet.workers[0].audit()).keys["old"].retirable == "yes"


def keys(*states: tuple[Any, KeyState]) -> list[str]:
    """The text of some keys in other states than they were made in."""
    return [format_key(type(key)(key.name, state, key.material)) for key, state in states]


OLD, NEW = generate_key("old"), generate_key("new")


def declared(worker: Worker[Any], ran: list[int]) -> Worker[Any]:
    @worker.task(name="note", ttl=60)
    async def note(number: int) -> int:
        ran.append(number)
        return number

    return worker


def before_while_and_after(place: Place, ran: list[int]) -> list[Worker[Any]]:
    """Workers that know the old key, both, and the new one alone; none says which it holds."""
    rings = [(OLD, KeyState.ACTIVE)], [(NEW, KeyState.ACTIVE), (OLD, KeyState.VERIFY)], [(NEW, KeyState.ACTIVE)]
    workers = [declared(place.worker(signing_secret=keys(*ring)), ran) for ring in rings]
    for worker in workers:
        worker.announces = False
    return workers


@pytest.mark.attack(23)
async def test_a_key_promoted_before_it_was_distributed_loses_nothing(place: Place) -> None:
    ran: list[int] = []
    early = declared(place.worker(signing_secret=keys((NEW, KeyState.ACTIVE), (OLD, KeyState.VERIFY))), ran)
    async with early, running(declared(place.worker(signing_secret=keys((OLD, KeyState.ACTIVE))), ran)):
        await early.enqueue_many([early.registry["note"].enqueue(number).start() for number in range(5)])
        await eventually(lambda: _quarantined(place, 5))
        assert set((await place.quarantine()).values()) == {"unknown-key"}
    async with running(early):
        for kept in [kept async for kept in early.quarantined()]:
            task_id = await early.release(kept.entry)
            await early.result_by_id(task_id, PATIENCE)
        assert (sorted(ran), await place.quarantine()) == ([0, 1, 2, 3, 4], {})
        with pytest.raises(TaskNotFound):
            await early.release("1-1")


async def _quarantined(place: Place, count: int) -> bool:
    return len(await place.quarantine()) == count


@pytest.mark.attack(24)
async def test_of_a_revoked_key_only_what_is_attested_runs(place: Place) -> None:
    ran: list[int] = []
    before = declared(place.worker(signing_secret=keys((OLD, KeyState.ACTIVE))), ran)
    after = declared(place.worker(signing_secret=keys((NEW, KeyState.ACTIVE), (OLD, KeyState.REVOKED))), ran)
    async with before:
        await before.enqueue_many([before.registry["note"].enqueue(number) for number in range(2)])
    async with running(after):
        await eventually(lambda: _quarantined(place, 2))
        assert set((await place.quarantine()).values()) == {"revoked-key"}
        first, second = [kept async for kept in after.quarantined()]
        with pytest.raises(Rejected, match="revoked-key"):
            await after.release(first.entry)
        with pytest.raises(Rejected, match="wrong-digest"):
            await after.release(first.entry, attest=second.finding.sha256)
        task_id = await after.release(first.entry, attest=first.finding.sha256)
        value = (await after.result_by_id(task_id, PATIENCE)).result
        assert ran == [value]
        await after.destroy(second.entry)
        assert await place.quarantine() == {}
        await eventually(lambda: _logged(after, ["destroyed", "quarantined", "quarantined", "released"]))


async def _logged(worker: Worker[Any], events: list[str]) -> bool:
    report = worker.check_log(await worker.audit_log())
    assert report.problems == []
    return sorted(event.facts["event"] for event in report.events if event.facts["event"] != "start") == events


async def test_what_was_never_of_a_revoked_key_cannot_be_attested(place: Place) -> None:
    worker = declared(place.worker(), [])
    await place.put_raw(b"evil", b"no envelope of ours, but long enough to be one of them: " + bytes(64))
    async with running(worker):
        await eventually(lambda: _quarantined(place, 1))
        (kept,) = [kept async for kept in worker.quarantined()]
        with pytest.raises(Rejected, match="not-an-envelope"):
            await worker.release(kept.entry, attest=kept.finding.sha256)
        assert (await worker.quarantined_bytes(kept.entry))[1].startswith(b"no envelope")


@pytest.mark.attack(25)
async def test_an_audit_says_when_a_key_is_not_needed_any_more(place: Place) -> None:
    ran: list[int] = []
    old = declared(place.worker(signing_secret=keys((OLD, KeyState.ACTIVE))), ran)
    new = declared(place.worker(signing_secret=keys((NEW, KeyState.ACTIVE), (OLD, KeyState.VERIFY))), ran)
    new.announces = old.announces = False
    async with new:
        async with old:
            task = await old.registry["note"].enqueue(1).start(delay=3600)
            handle = await old.registry["note"].enqueue(2)
            announced = place.worker(signing_secret=keys((OLD, KeyState.ACTIVE)))
            async with announced:
                await eventually(lambda: _count(new, 1))
                use = (await new.audit()).keys["old"]
                assert (use.payloads, use.retirable, use.signing_processes) == (2, "no: 2 payloads", 1)
                assert use.gone_by_ms is not None and use.last_expires_ms is not None
                assert use.gone_by_ms > use.last_expires_ms
                assert await new.abort_by_id(task.id) and await new.abort_by_id(handle.id)
                assert (await new.audit()).keys["old"].retirable == "no: 1 processes sign with it"
        await place.link.command("DEL", place.keys.present)  # its 15 seconds are over
        assert (await new.audit()).keys["old"].retirable == "yes"
        assert (await new.audit(since_ms=1)).keys["old"].retirable.startswith("not judged")
        assert (await new.audit()).keys["new"].retirable == "no: it signs"


async def _count(worker: Worker[Any], count: int) -> bool:
    return len(await worker.processes()) == count


@pytest.mark.attack(26)
async def test_resealing_moves_what_is_stored_under_the_new_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiting task, a delayed one, a result and a dead letter; all are good afterwards, and the old key is not needed."""
    ran: list[int] = []
    old, new, only_new = before_while_and_after(place, ran)
    for worker in (old, new, only_new):

        @worker.task(name="fail", max_tries=1, silent=True)
        async def fail() -> None:
            raise ValueError

    note = old.registry["note"]
    async with old:
        done, dead = await note.enqueue(1), await old.registry["fail"].enqueue()
        old.burst = True
        await old.run_async()
        waiting = await note.enqueue(2)
        delayed = await note.enqueue(3).start(delay=3600)
    async with new:
        assert await new.reseal() == {YOUNG: 6}
        monkeypatch.setattr("secure_queue.audit.reseal.YOUNG_MS", 0)
        steps: list[int] = []
        assert await new.reseal(on_step=steps.append) == {RESEALED: 6}
        assert sum(steps) >= 6
        assert await new.reseal() == {CURRENT: 6}
        assert (await new.audit()).keys["old"].retirable == "yes"
        assert (await new.audit()).exit_code == 0
    only_new.burst = True
    async with only_new:
        await only_new.run_async()
        assert (await only_new.result_by_id(done.id, PATIENCE)).result == 1
        assert (await only_new.result_by_id(waiting.id, PATIENCE)).result == 2
        assert await place.link.command("PTTL", place.keys.result(done.id.encode())) > 0  # type: ignore[operator]
        info = await only_new.info_by_id(delayed.id)
        assert info is not None and info.scheduled is not None
        await only_new.retry_dead_letter(dead.id)
        assert sorted(ran) == [1, 2]


@pytest.mark.attack(26)
async def test_what_waits_in_a_workflow_takes_part_in_a_rotation(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one parent has handed over while the other is still waited for, and the description of the whole."""
    monkeypatch.setattr("secure_queue.audit.reseal.YOUNG_MS", 0)
    ran: list[int] = []
    old, new, only_new = before_while_and_after(place, ran)
    for worker in (old, new, only_new):

        @worker.task(name="collect")
        async def collect(ends: list[object]) -> list[int]:
            return [end for end in ends if isinstance(end, int)]

    note = old.registry["note"]
    async with old:
        early, late = note.enqueue(1), note.enqueue(2).start(delay=3600)
        child = await old.group([early, late], on="end").then(old.registry["collect"])
        old.burst = True
        await old.run_async()
    async with new:
        assert (await new.audit()).keys["old"].retirable == "no: 5 payloads"
        assert (await new.reseal())[RESEALED] == 5  # two tasks, a result, what it handed over, and the description
        assert (await new.audit()).keys["old"].retirable == "yes"
    async with running(only_new):
        assert await only_new.abort_by_id(late.id)
        assert (await only_new.result_by_id(child.id, PATIENCE)).result == [1]
        assert len((await only_new.workflow(child.id)).tasks) == 3


@pytest.mark.attack(26)
async def test_what_tasks_have_said_and_what_is_on_its_way_takes_part_in_a_rotation(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.audit.reseal.YOUNG_MS", 0)
    old = place.worker(signing_secret=keys((OLD, KeyState.ACTIVE)))
    new = place.worker(signing_secret=keys((NEW, KeyState.ACTIVE), (OLD, KeyState.VERIFY)))
    only_new = place.worker(signing_secret=keys((NEW, KeyState.ACTIVE)))
    for worker in (old, new, only_new):
        worker.announces = False

        @worker.task(name="say")
        async def say() -> AsyncIterator[str]:
            for word in ("one", "two"):
                yield word

    async with old:
        task = await old.registry["say"].enqueue()
        old.burst = True
        await old.run_async()
        result: Any = await place.link.command("GET", place.keys.result(task.id.encode()))
        await place.link.command("HSET", place.keys.outbox, task.id, b"0:child\0" + result)
    async with new:
        assert (await new.audit()).keys["old"].payloads == 4  # two parts, a result, and once more on its way
        assert await new.reseal() == {RESEALED: 4}
        assert (await new.audit()).keys["old"].retirable == "yes"
    [entry] = await place.storage.outgoing()
    assert entry.untrusted_children == b"0:child" and parse_envelope(entry.untrusted).key_id == NEW.key_id
    async with only_new:
        assert [word async for word in only_new.reports_of(task, True)] == ["one", "two"]


@pytest.mark.attack(26)
async def test_every_partition_and_the_schedules_take_part_in_a_rotation(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.audit.reseal.YOUNG_MS", 0)
    ran: list[int] = []
    old_keys, both = keys((OLD, KeyState.ACTIVE)), keys((NEW, KeyState.ACTIVE), (OLD, KeyState.VERIFY))
    old, new, only_new = (
        declared(place.worker(signing_secret=ring, partitions=3), ran)
        for ring in (old_keys, both, keys((NEW, KeyState.ACTIVE)))
    )
    old.announces = only_new.announces = False
    note = old.registry["note"]
    async with old, new, running(only_new):
        await old.enqueue_many([_in_partition(note.enqueue(number), number) for number in range(3)])
        await eventually(lambda: _all_put_aside(new, 3))
        entries = [kept.entry async for kept in new.quarantined()]
        assert [entry.rpartition("/")[0] for entry in entries] == ["", "1", "2"]
        for number, entry in enumerate(entries):
            task_id = await new.release(entry)
            assert (await only_new.result_by_id(task_id, PATIENCE)).result == number
        with pytest.raises(TaskNotFound):
            await new.release(f"3/{entries[0]}")

        await old.enqueue_many([_in_partition(note.enqueue(7).start(delay=3600), number, "f") for number in range(3)])
        await old.schedule(note.enqueue(8), timedelta(days=1), schedule_id="daily")
        assert await new.reseal() == {RESEALED: 4, CURRENT: 3}
        report = await only_new.audit()
        assert (report.exit_code, report.payloads, report.codes["valid"]) == (0, 7, 7)
        assert [
            schedule.schedule_id for schedule in await only_new.schedules() if isinstance(schedule, ScheduleInfo)
        ] == ["daily"]
        assert len(await new.audit_task(f"2.{'f' * 32}")) == 1


def _in_partition(task: Any, partition: int, digit: str = "a") -> Any:
    task.id = f"{partition}.{digit * 32}"
    return task


async def _all_put_aside(worker: Worker[Any], count: int) -> bool:
    return (await worker.counts()).quarantined == count
