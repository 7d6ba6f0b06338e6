"""Schedules: what somebody without a key can do to them is to stop, delay or repeat; never to make, move or change one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.schedule_records import firing_id
from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

YEARLY, SECONDLY = "0 0 1 1 *", "* * * * * *"


class Scene:
    """A worker with a schedule that is not due for long, and one that fires every second."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.worker: Worker[Any] = place.worker()
        self.beats = 0
        self.runs: list[tuple[str, datetime | None, str]] = []

        @self.worker.cron(YEARLY, schedule_id="yearly", misfire="skip")
        async def yearly() -> None:
            context = yearly.context
            self.runs.append((context.task_id, context.fire_time, context.idempotency_key))

        @self.worker.every(1, schedule_id="beat")
        async def beat() -> None:
            self.beats += 1

        @self.worker.task(name="note")
        async def note(text: str) -> str:
            return text

        self.note = note

    async def beats_on(self, more: int = 2) -> None:
        """Wait until the schedule of every second has fired again."""
        wanted = self.beats + more

        async def has_beaten() -> bool:
            return self.beats >= wanted

        await eventually(has_beaten)


MARKS = [
    b"0:0:",
    b"1:1:yearly",
    b"1:0:\xff",
    b"1::x",
    b"1:%b:x" % (b"9" * 16),
    b"9" * 15 + b":0:",
    b"-5:-5:",
    b"x" * 100_000,
]


@pytest.mark.attack(32)
async def test_a_forged_mark_runs_nothing_outside_the_times_of_its_schedule_and_stops_none(place: Place) -> None:
    scene = Scene(place)
    beats = [0] * len(MARKS)

    def declare(number: int) -> None:
        @scene.worker.every(1, name=f"beat-{number}")
        async def one() -> None:
            beats[number] += 1

    for number in range(len(MARKS)):
        declare(number)

    async def all_have_beaten() -> bool:
        return min(beats) >= wanted

    async def forge(fields: dict[str, bytes]) -> None:
        await place.link.command("HSET", place.keys.fired, *(part for pair in fields.items() for part in pair))

    async with running(scene.worker):
        wanted = 1
        await eventually(all_have_beaten)
        for mark in MARKS:
            await forge({"yearly": mark, "nobody": mark})
        await forge({f"beat-{number}": mark for number, mark in enumerate(MARKS)})
        wanted = max(beats) + 1
        await eventually(all_have_beaten)
        await place.link.command("SET", place.keys.fired, "no hash")
        await scene.beats_on()
    assert scene.runs == []


@pytest.mark.attack(32)
async def test_a_rule_that_was_written_by_nobody_with_a_key_fires_never(place: Place) -> None:
    scene = Scene(place)
    forged = {b"yearly": SECONDLY.encode(), b"nobody": b"* * * * * *", b"\xff\n": b"x" * 200, b"beat": b""}
    async with running(scene.worker):
        await place.link.command("HSET", place.keys.schedules, *(part for pair in forged.items() for part in pair))
        await place.link.command("HSET", place.keys.meta, "timetable", "forged")
        await scene.beats_on(3)
        assert (await (await scene.note.enqueue("good")).result(timeout=PATIENCE)).result == "good"
    assert scene.runs == []


@pytest.mark.attack(33)
async def test_another_genuine_payload_in_the_place_of_a_schedule_fires_never_and_the_audit_names_it(
    place: Place,
) -> None:
    scene = Scene(place)
    worker, keys, link = scene.worker, place.keys, place.link
    async with running(worker):
        task = await scene.note.enqueue("canary").start(delay=3600)
        answered = await scene.note.enqueue("answer")
        await answered.result(timeout=PATIENCE)
        await worker.schedule(scene.note.enqueue("far"), YEARLY, schedule_id="far")
        stolen: dict[str, Any] = {
            "task": await link.command("HGET", keys.bucket(task.id.encode()), task.id),
            "result": await link.command("GET", keys.result(answered.id.encode())),
            "schedule of another id": await link.command("HGET", keys.schedules, "far"),
        }
        for kind, payload in stolen.items():
            await link.command("HSET", keys.schedules, kind.partition(" ")[0], payload)
            await link.command("HSET", keys.fired, kind.partition(" ")[0], "1:0:")
        await link.command("HSET", keys.meta, "timetable", "forged")
        await scene.beats_on()
        for kind in stolen:
            reason = "wrong-task" if kind.startswith("schedule") else "wrong-purpose"
            [finding] = await worker.audit_task(kind.partition(" ")[0])
            assert (finding.code, finding.detail.split(":")[0], finding.kind) == ("moved", reason, "schedule")
        assert (await worker.counts()).results <= 1 + scene.beats
    assert await place.quarantine() == {}


async def test_a_firing_that_somebody_causes_again_has_the_same_id_and_idempotency_key(place: Place) -> None:
    """The mark says how far one has looked: put back, and with the result deleted, the latest firing runs once more."""
    worker = place.worker()
    seen: list[tuple[str, str]] = []

    @worker.every(3600, schedule_id="hourly")
    async def hourly() -> None:
        context = hourly.context
        assert context.fire_time is not None
        seen.append((context.task_id, context.idempotency_key))
        assert context.task_id == firing_id("hourly", round(context.fire_time.timestamp() * 1000))

    async def has_run() -> bool:
        return len(seen) > before

    for _ in range(2):
        before = len(seen)
        await place.link.command("HSET", place.keys.fired, "hourly", "1:0:")
        async with running(worker):
            await eventually(has_run)
            await eventually(lambda: answered(place, seen[-1][0]))
        await place.link.command("DEL", place.keys.result(seen[-1][0].encode()))
    assert seen[0] == seen[1] and seen[0][0] == seen[0][1]


async def answered(place: Place, task_id: str) -> bool:
    return await place.link.command("EXISTS", place.keys.result(task_id.encode())) == 1


async def test_an_audit_of_one_id_shows_its_schedule_and_an_order_to_abort(place: Place) -> None:
    scene = Scene(place)
    async with scene.worker as worker:
        await worker.schedule(scene.note.enqueue("canary"), YEARLY, schedule_id="customer-7")
        [finding] = await worker.audit_task("customer-7")
        assert (finding.code, finding.kind, finding.function) == ("valid", "schedule", "note")
        sealed: Any = await place.link.command("HGET", place.keys.schedules, "customer-7")
        await place.link.command("HSET", place.keys.schedules, "customer-7", sealed[:-1] + bytes((sealed[-1] ^ 1,)))
        await place.link.command("HSET", place.keys.aborts, "customer-7", b"x" * 100)
        codes = {finding.kind: finding.code for finding in await worker.audit_task("customer-7")}
        assert codes == {"schedule": "bad-signature", "abort-mark": "unsigned"}
        assert await worker.audit_task("customer-8") == []
