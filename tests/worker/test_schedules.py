"""Schedules fire: from code and stored ones, once however many workers, in their zone, until they are removed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from secure_queue import BrokenTask, ConfigurationError, Cron, Every, Router, TaskStatus, Worker
from secure_queue.plans import rule_id
from secure_queue.schedule_records import firing_id
from secure_queue.testing import StoppedClock, TestWorker
from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio

EVERY_SECOND = "* * * * * *"
START = datetime(2030, 1, 1, tzinfo=UTC)


class Tally:
    """Notes what ran, and lets a test wait for the next run."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self._next = anyio.Event()

    def note(self, what: Any) -> None:
        self.runs.append(what)
        self._next.set()

    async def wait_for(self, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.runs) < count:
                self._next = anyio.Event()
                await self._next.wait()


def tallied(worker: Worker[Any], tally: Tally) -> Any:
    @worker.task(name="note")
    async def note(*args: Any) -> None:
        context = note.context
        tally.note((context.fire_time, args, context.task_id))

    return note


def beating(worker: Worker[Any]) -> Tally:
    """A schedule that fires for the first time after all others have been looked at once."""
    tally = Tally()

    @worker.every(1, schedule_id="beat")
    async def beat() -> None:
        tally.note(None)

    return tally


@pytest.mark.crossed
async def test_a_function_runs_whenever_its_schedule_fires(place: Place) -> None:
    worker, tally = place.worker(), Tally()

    @worker.cron(EVERY_SECOND, args=("a",), kwargs={"b": 2})
    async def tick(a: str, *, b: int) -> None:
        tally.note((tick.context.fire_time, a, b, tick.context.task_id))

    async with running(worker):
        await tally.wait_for(2)
    times = [run[0] for run in tally.runs[:2]]
    assert times == [times[0], times[0] + timedelta(seconds=1)]
    assert all(run[1:3] == ("a", 2) for run in tally.runs)
    assert tally.runs[0][3] == firing_id(tick.fn_name, round(times[0].timestamp() * 1000))


@pytest.mark.crossed
async def test_each_firing_runs_once_however_many_workers(place: Place) -> None:
    tally = Tally()

    def one() -> Worker[Any]:
        worker = place.worker()
        worker.every(1)(tallied(worker, tally))
        return worker

    async with running(one()), running(one()), running(one()):
        await tally.wait_for(3)
    assert len({run[0] for run in tally.runs}) == len(tally.runs)


@pytest.mark.crossed
async def test_one_await_stores_a_schedule_and_one_removes_it(place: Place) -> None:
    worker, tally = place.worker(), Tally()
    note = tallied(worker, tally)
    async with running(worker):
        task = await note.enqueue("x").start(schedule=EVERY_SECOND)
        assert await task.status() is TaskStatus.SCHEDULED
        await tally.wait_for(2)
        assert [run[1] for run in tally.runs] == [("x",)] * len(tally.runs)
        assert await task.unschedule()
        assert not await task.unschedule()
        assert not await worker.unschedule_by_id(task.id)
        assert await task.status() is TaskStatus.NOT_FOUND
        assert await worker.schedules() == []


@pytest.mark.crossed
async def test_a_worker_that_found_none_at_first_learns_of_a_schedule(place: Place) -> None:
    worker, tally = place.worker(), Tally()
    note, beat = tallied(worker, tally), beating(worker)
    async with running(worker):
        await beat.wait_for(1)
        await note.enqueue("late").start(schedule=EVERY_SECOND)
        await tally.wait_for(1)


@pytest.mark.crossed
async def test_stored_schedules_outlive_the_workers_and_are_replaced_by_id(place: Place) -> None:
    producer, tally = place.worker(), Tally()
    async with producer:
        note = tallied(producer, Tally())
        await producer.schedule(note.enqueue("old"), "0 0 1 1 *", schedule_id="customer-7")
        await producer.schedule(note.enqueue("new"), Every(1), schedule_id="customer-7")
        [row] = await producer.schedules()
        assert (row.schedule_id, row.rule, row.last, row.in_code) == ("customer-7", "every 1 s", None, False)  # type: ignore[union-attr]
    worker = place.worker()
    tallied(worker, tally)
    async with running(worker):
        await tally.wait_for(1)
        assert tally.runs[0][1] == ("new",)

        async def is_listed() -> bool:
            [row] = await worker.schedules()
            return row.last is not None and row.last_task_id == tally.runs[-1][2]  # type: ignore[union-attr]

        await eventually(is_listed)


@pytest.mark.crossed
async def test_a_run_that_goes_on_is_not_overlapped_unless_it_may(place: Place) -> None:
    worker, strict, loose = place.worker(), Tally(), Tally()
    proceed = anyio.Event()

    @worker.every(1)
    async def alone() -> None:
        strict.note(None)
        await proceed.wait()

    @worker.every(1, unique=False)
    async def together() -> None:
        loose.note(None)
        await proceed.wait()

    async with running(worker):
        await loose.wait_for(3)
        assert len(strict.runs) == 1
        await eventually(lambda: _counted(worker, "overlap"))
        proceed.set()
        await strict.wait_for(2)


async def _counted(worker: Worker[Any], what: str) -> bool:
    return bool(worker.counters[what])


@pytest.mark.crossed
@pytest.mark.parametrize("misfire", ["skip", "once", "catch_up"])
async def test_firings_that_nobody_was_there_for_follow_the_policy(place: Place, misfire: str) -> None:
    worker, tally = place.worker(), Tally()
    note = tallied(worker, tally)
    worker.every(3600, misfire=misfire, max_schedule_drift=0, unique=False)(note)
    beat, hours = beating(worker), 4
    await place.link.command("HSET", place.keys.fired, "note", f"{_an_hour(-hours)}:0:")
    async with running(worker):
        await beat.wait_for(1)
        await tally.wait_for({"skip": 0, "once": 1, "catch_up": hours}[misfire])
    moments = [round(run[0].timestamp() * 1000) for run in tally.runs]
    expected = {"skip": [], "once": [_an_hour(0)], "catch_up": [_an_hour(-back) for back in (3, 2, 1, 0)]}
    assert sorted(moments) == expected[misfire]


async def test_what_is_caught_up_runs_one_after_the_other_and_all_of_it() -> None:
    worker, tally = Worker("memory://catching-up", signing_secret=SECRET), Tally()

    @worker.every(60, misfire="catch_up", max_tries=3, retry_policy=lambda tries: 60, silent=True)
    async def note() -> None:
        if note.context.fire_time == START + timedelta(minutes=3) and note.context.tries < 3:
            raise ConnectionError
        tally.note(note.context.fire_time)

    async with TestWorker(worker, now=START, patience=60) as queue:
        await queue.advance(minutes=1)
        queue.clock.move(minutes=4)
        await queue.drain()
        assert tally.runs == [START + timedelta(minutes=minute) for minute in (1, 2)], "the third one is to be repeated"
        await queue.advance(minutes=2)
    assert tally.runs == [START + timedelta(minutes=minute) for minute in range(1, 8)]


async def test_a_run_that_failed_for_good_keeps_no_later_one_away() -> None:
    worker, tally = Worker("memory://failing", signing_secret=SECRET), Tally()

    @worker.every(60, max_tries=1, silent=True)
    async def fail() -> None:
        tally.note(fail.context.fire_time)
        raise ConnectionError

    async with TestWorker(worker, now=START) as queue:
        assert await queue.advance(minutes=3) == {"failed": 3}
        assert len(await worker.dead_letters()) == 3
    assert tally.runs == [START + timedelta(minutes=minute) for minute in (1, 2, 3)]


@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_a_schedule_whose_rule_was_changed_begins_anew(place: Place) -> None:
    worker, tally = place.worker(), Tally()
    worker.every(3600, misfire="catch_up")(tallied(worker, tally))
    beat = beating(worker)
    await place.link.command("HSET", place.keys.fired, "note", f"{_an_hour(-40)}:0::{rule_id(Every(1800))}")
    async with running(worker):
        await beat.wait_for(1)
    assert tally.runs == []
    assert (await place.link.command("HGET", place.keys.fired, "note")).endswith(rule_id(Every(3600)).encode())  # type: ignore[union-attr]


async def test_while_workers_of_the_old_rule_run_both_rules_fire_and_each_moment_once() -> None:
    tally, clock = Tally(), StoppedClock(START)
    old, new = (Worker("memory://rolling", signing_secret=SECRET) for _ in range(2))
    for worker, rule in ((old, "*/2 * * * *"), (new, "*/3 * * * *")):
        worker.cron(rule)(tallied(worker, tally))
    async with TestWorker(old, clock=clock) as before, TestWorker(new, clock=clock) as after:
        await before.advance(timedelta(minutes=2))
        assert len(tally.runs) == 1
        for _ in range(10):
            await after.advance(timedelta(minutes=1))
            await before.drain()
    minutes = [run[0].minute for run in tally.runs]
    assert minutes == [2, 3, 4, 6, 8, 9, 10, 12]


async def test_what_fires_seldom_is_not_forgotten_when_others_read_the_schedules() -> None:
    tally, clock = Tally(), StoppedClock(datetime(2031, 1, 1, tzinfo=UTC))
    worker, other = (Worker("memory://seldom", signing_secret=SECRET) for _ in range(2))
    worker.cron("0 0 29 2 *")(tallied(worker, tally))
    async with TestWorker(worker, clock=clock) as queue, TestWorker(other, clock=clock):
        await queue.advance_to(datetime(2032, 2, 20, tzinfo=UTC))
        assert await other.schedules() == []
        await queue.advance(timedelta(days=9))
    assert [run[0] for run in tally.runs] == [datetime(2032, 2, 29, tzinfo=UTC)]


@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_what_is_declared_while_the_worker_runs_is_run(place: Place) -> None:
    worker, tally, router = place.worker(), Tally(), Router()

    async def note(what: str) -> None:
        tally.note(what)

    router.every(1, name="of a router", args=("router",))(note)
    async with running(worker):
        later = worker.task(name="later")(note)
        await later.enqueue("task")
        await tally.wait_for(1)
        worker.every(1, schedule_id="late", args=("schedule",))(later)
        worker.include(router)
        squared = await worker.add("tests.worker.process_tasks.square", process=False).enqueue(3)
        assert (await squared.result(timeout=PATIENCE)).result[0] == 9
        with pytest.raises(ConfigurationError, match="cannot be imported"):
            worker.add("tests.worker.no_such_module.task")
        while len(set(tally.runs)) < 3:
            await tally.wait_for(len(tally.runs) + 1)
    assert set(tally.runs) == {"task", "schedule", "router"}


@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_a_schedule_whose_arguments_cannot_be_sealed_stops_no_other(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker, tally = place.worker(), Tally()
    note = tallied(worker, tally)
    worker.every(1, schedule_id="bad", args=(object(),))(note)
    worker.every(1, schedule_id="good", args=("good",))(note)
    async with running(worker):
        await tally.wait_for(1)
    assert tally.runs[0][1] == ("good",)
    assert "the schedule bad cannot fire" in caplog.text


def _an_hour(ahead: int) -> int:
    return (int(time.time()) // 3600 + ahead) * 3_600_000


@pytest.mark.crossed
async def test_a_start_runs_what_should_run_at_a_start(place: Place) -> None:
    worker, tally = place.worker(), Tally()
    worker.cron("0 0 29 2 *", run_at_startup=True, max_schedule_drift=60)(tallied(worker, tally))
    beat = beating(worker)
    async with running(worker):
        await tally.wait_for(1)
        await beat.wait_for(1)
    async with running(worker):
        await beat.wait_for(len(beat.runs) + 2)
    assert len(tally.runs) == 1, "two starts within the drift count as one"


@pytest.mark.crossed
async def test_forged_and_moved_records_never_fire_and_end_nothing(place: Place) -> None:
    worker, tally = place.worker(), Tally()
    note = tallied(worker, tally)
    keys, link = place.keys, place.link
    async with running(worker):
        genuine = await worker.schedule(note.enqueue("genuine"), Every(1), schedule_id="genuine")
        sealed: Any = await link.command("HGET", keys.schedules, "genuine")
        flipped = sealed[:-1] + bytes((sealed[-1] ^ 1,))
        task = await note.enqueue("a task").start(delay=3600)
        as_task: Any = await link.command("HGET", keys.bucket(task.id.encode()), task.id)
        forged = {"moved": sealed, "flipped": flipped, "text": b"* * * * * *", b"\xff": sealed, task.id: as_task}
        await link.command("HSET", keys.schedules, *(part for pair in forged.items() for part in pair))
        await link.command("HSET", keys.meta, "timetable", "forged")
        await link.command("HSET", keys.fired, "moved", "1:0:")
        await tally.wait_for(2)
        rows = await worker.schedules()
        reasons = {row.task_id: row.reason for row in rows if isinstance(row, BrokenTask)}
        assert reasons == {
            "moved": "wrong-task",
            "flipped": "bad-signature",
            "text": "too-short",
            "\\xff": "bad-id",
            task.id: "wrong-purpose",
        }
        assert await genuine.unschedule()
    assert {run[1] for run in tally.runs} == {("genuine",)}


async def test_a_forged_mark_stops_no_schedule(place: Place) -> None:
    worker, tallies = place.worker(), dict[bytes, Tally]()

    def declare(mark: bytes) -> None:
        tally = tallies[mark] = Tally()

        @worker.every(1, name=f"schedule-{len(tallies)}")
        async def note() -> None:
            tally.note(None)

    for number, mark in enumerate((b"99999999999999:0:", b"junk", b"\xff" * 10, b"-5:-5:x"), 1):
        declare(mark)
        await place.link.command("HSET", place.keys.fired, f"schedule-{number}", mark)
    async with running(worker):
        for tally in tallies.values():
            await tally.wait_for(1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_declarations_that_cannot_work_are_refused_at_once(place: Place) -> None:
    worker = place.worker(tz="Europe/Berlin")

    @worker.cron("0 3 * * *")
    async def nightly() -> None: ...

    assert str(worker.declared_schedules[nightly.fn_name].repeated.plan.rule) == "0 3 * * * (Europe/Berlin)"
    with pytest.raises(ConfigurationError, match="schedule_id"):
        worker.cron("0 4 * * *")(nightly)
    worker.cron(Cron("0 4 * * *").expression, schedule_id="again")(nightly)
    with pytest.raises(ConfigurationError, match="its options to task"):
        worker.cron("0 5 * * *", schedule_id="third", timeout=5)(nightly)
    with pytest.raises(ConfigurationError, match="crontab"):
        worker.cron("when I like")(nightly)
    with pytest.raises(ConfigurationError, match="misfire"):
        worker.cron("0 3 * * *", misfire="never")(nightly)
    with pytest.raises(ConfigurationError, match="another worker"):
        place.worker().cron("0 3 * * *")(nightly)
    with pytest.raises(ConfigurationError, match="IANA"):
        place.worker(tz="Mars")
    async with worker:
        with pytest.raises(ConfigurationError, match="declared in code"):
            await worker.schedule(nightly.enqueue(), Every(5), schedule_id="again")
        with pytest.raises(ConfigurationError, match="either delay= or schedule="):
            nightly.enqueue().start(delay=1, schedule="* * * * *")


async def test_nothing_can_follow_a_schedule_and_none_has_the_id_of_one_in_code(place: Place) -> None:
    worker = place.worker()
    note = worker.task(name="note")(lambda: None)
    worker.cron("0 3 * * *", name="nightly")(lambda: None)
    async with worker:
        stored = await note.enqueue().start(schedule="0 5 * * *")
        for parent in (stored, note.enqueue().start(schedule="0 6 * * *")):
            for child in (note.enqueue().start(after=parent), parent | note):
                with pytest.raises(ConfigurationError, match="a schedule never ends"):
                    await child
        with pytest.raises(ConfigurationError, match="'nightly' is declared in code already"):
            await note.enqueue().start(schedule="0 5 * * *", id="nightly")
        assert [row.schedule_id for row in await worker.schedules()] == ["nightly", stored.id]
