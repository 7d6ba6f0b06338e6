"""``explain``: the true reason for each way in which a task does not run."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import ConcurrencyLimit, RateLimit, TaskStatus
from secure_queue.reasons import Explanation, Why
from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def _nothing(document: int = 0) -> None: ...


def whys(found: Explanation) -> list[Why]:
    return [reason.why for reason in found.reasons]


async def test_what_waits_for_nobody(place: Place) -> None:
    worker = place.worker(priorities=["normal", "high"])

    @worker.task
    async def work() -> None: ...

    async with worker:
        task = await work.enqueue()
        assert whys(await task.explain()) == [Why.NO_WORKER]
        for _ in range(2):
            await work.enqueue().start(priority="high")
        behind = await work.enqueue()
        await worker.pause(priority="normal")
        found = await behind.explain()
        assert whys(found) == [Why.PAUSED, Why.NO_WORKER, Why.BEHIND]
        assert found.reasons[-1].facts == {"before": 1, "higher": {"high": 2}}
        later = await work.enqueue().start(delay=600)
        assert whys(await worker.explain(later.id)) == [Why.PAUSED, Why.NO_WORKER]
        await worker.resume(priority="normal")
        assert whys(await later.explain()) == [Why.DELAYED, Why.NO_WORKER]
        child = await work.enqueue().start(after=later)
        [parents, _] = (await child.explain()).reasons
        assert parents.facts == {"parents": {later.id: "scheduled"}}
        assert whys(await worker.explain("nothing")) == [Why.NOT_FOUND]


async def test_when_a_schedule_fires(place: Place) -> None:
    worker = place.worker()
    note = worker.task(name="note")(_nothing)
    worker.cron("0 3 * * *", tz="Asia/Tokyo", name="nightly")(_nothing)
    async with worker:
        stored = await note.enqueue().start(schedule="0 5 * * *")
        found = await worker.explain("nightly")
        assert (found.status, found.fn_name, whys(found)) == (
            TaskStatus.SCHEDULED,
            "nightly",
            [Why.SCHEDULE, Why.NO_WORKER],
        )
        facts = found.reasons[0].facts
        assert (facts["rule"], facts["in_code"], facts["last"]) == ("0 3 * * * (Asia/Tokyo)", True, None)
        assert facts["next"].endswith("T18:00:00+00:00") and facts["next"] in str(found)
        [reason, _] = (await stored.explain()).reasons
        assert (reason.facts["rule"], reason.facts["in_code"]) == ("0 5 * * * (UTC)", False)
        await place.link.command("HSET", place.keys.fired, stored.id, "1700000000000:1700000000000:abc:0f")
        [reason, _] = (await stored.explain()).reasons
        assert (reason.facts["last"], reason.facts["last_task_id"]) == ("2023-11-14T22:13:20+00:00", "abc")
        await place.link.command("HSET", place.keys.schedules, stored.id, "forged")
        found = await stored.explain()
        assert (found.status, whys(found)) == (TaskStatus.SCHEDULED, [Why.BROKEN])
        await stored.unschedule()
        assert whys(await stored.explain()) == [Why.NOT_FOUND]


async def test_a_schedule_of_other_code_is_one_for_status_and_for_explain(place: Place) -> None:
    async with place.worker() as other:
        assert await other.status_by_id("nightly") is (await other.explain("nightly")).status is TaskStatus.NOT_FOUND
        await place.link.command("HSET", place.keys.fired, "nightly", "1700000000000:1700000000000:abc:0f")
        found = await other.explain("nightly")
        assert await other.status_by_id("nightly") is found.status is TaskStatus.SCHEDULED
        assert whys(found) == [Why.SCHEDULE, Why.NO_WORKER] and "other code declares" in str(found)
        assert found.reasons[0].facts == {
            "rule": None,
            "next": None,
            "last": "2023-11-14T22:13:20+00:00",
            "last_task_id": "abc",
            "in_code": True,
        }
        await place.link.command("HSET", place.keys.fired, "nightly", "junk")
        assert await other.status_by_id("nightly") is (await other.explain("nightly")).status is TaskStatus.SCHEDULED


async def test_which_parent_is_gone(place: Place) -> None:
    worker = place.worker()
    index = worker.task(name="index", debounce=600, unique_key="document")(_nothing)
    note = worker.task(name="note")(_nothing)
    async with worker:
        parent = await index.enqueue(5)
        child = await note.enqueue().start(after=parent)
        await index.enqueue(5)
        await place.storage.tick("w", gone_after_ms=1, keep_dead_ms=1, keep_dead=1)
        reason = (await child.explain()).reasons[0]
        assert (reason.why, reason.facts) == (Why.PARENTS, {"parents": {parent.id: "not_found"}})
        assert parent.id in reason.text


async def test_who_waits_in_the_line_of_a_key(place: Place) -> None:
    worker = place.worker()

    @worker.task(order_by="customer")
    async def book(customer: str) -> None: ...

    async with worker:
        first, second = await book.enqueue("a"), await book.enqueue("a")
        found = await second.explain()
        assert whys(found) == [Why.LINE, Why.NO_WORKER]
        assert found.reasons[0].facts == {"before": 1, "first": first.id, "in_order": True}
        assert whys(await first.explain()) == [Why.NO_WORKER]


async def test_whose_place_another_call_has_taken(place: Place) -> None:
    worker = place.worker()

    @worker.task(debounce=600, unique_key="document")
    async def index(document: int, version: int) -> None: ...

    async with worker:
        first, second = await index.enqueue(5, 1), await index.enqueue(5, 2)
        [reason] = (await first.explain()).reasons
        assert (reason.why, reason.facts) == (Why.REPLACED, {"by": second.id})
        assert Why.REPLACED not in whys(await second.explain())
        await place.storage.tick("w", gone_after_ms=1, keep_dead_ms=1, keep_dead=1)
        found = await first.explain()
        assert (found.status, whys(found)) == (TaskStatus.NOT_FOUND, [Why.REPLACED])
        assert second.id in str(found)


async def test_what_a_worker_has_or_has_had(place: Place) -> None:
    worker = place.worker()
    started = anyio.Event()

    @worker.task
    async def hang() -> None:
        started.set()
        await anyio.sleep_forever()

    @worker.task(max_tries=1, silent=True)
    async def fail() -> None:
        raise ValueError("no luck")

    @worker.task(limits=ConcurrencyLimit(1))
    async def alone() -> None:
        await anyio.sleep_forever()

    @worker.task(limits=RateLimit(1, per=60))
    async def seldom() -> None: ...

    async with running(worker):
        running_task = await hang.enqueue()
        await started.wait()
        [reason] = (await running_task.explain()).reasons
        assert reason.why is Why.RUNNING and reason.facts["worker"] == worker.id and reason.facts["try"] == 1
        dead = await fail.enqueue()
        await dead.result(timeout=PATIENCE)
        [reason] = (await dead.explain()).reasons
        assert reason.why is Why.DEAD and "no luck" in reason.text
        first, other = await seldom.enqueue(), await seldom.enqueue()
        await first.result(timeout=PATIENCE)
        assert whys(await first.explain()) == [Why.FINISHED]
        await eventually(lambda: _is(other, Why.RATE))
        holder, waiting = await alone.enqueue(), await alone.enqueue()
        await eventually(lambda: _is(waiting, Why.PERMIT))
        [reason] = (await waiting.explain()).reasons
        assert reason.facts["holders"] == [holder.id] and reason.facts["before"] == 0
        unknown = await worker.enqueue_by_name("nobody_knows_it")
        await eventually(lambda: _is(unknown, Why.NO_CODE))


async def _is(task, why: Why) -> bool:  # type: ignore[no-untyped-def]
    return why in whys(await task.explain())


async def test_what_does_not_open_and_what_was_put_aside(place: Place) -> None:
    async with place.worker() as worker:
        await place.put_raw(b"forged", b"\xc1SQ" + b"x" * 100)
        [reason] = (await worker.explain("forged")).reasons
        assert reason.why is Why.BROKEN
        async with running(place.worker(signing_secret=SECRET)):

            async def is_put_aside() -> bool:
                return whys(await worker.explain("forged")) == [Why.PUT_ASIDE]

            await eventually(is_put_aside)
        assert (await worker.explain("forged")).status is TaskStatus.NOT_FOUND


async def test_notes_and_lines_that_somebody_has_forged_are_only_hints(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def work() -> None: ...

    async with worker:
        task = await work.enqueue().start(delay=600)
        for note in (b"\xff", b"permit 99 " + b"a" * 32 + b" x", b"rate 0 " + b"a" * 32 + b" \x1b[31m", b"x" * 10_000):
            run = b"0:normal:-w.1 " + note
            await place.link.command("HSET", place.keys.bucket(task.id.encode()), "!r" + task.id, run)
            assert "\x1b" not in str(await task.explain())
        await place.link.command("ZADD", place.keys.permits(b"a" * 32), 1, b"\xff\xff", 2, b"junk", 3, b"0 a b c d")
        assert whys(await task.explain())[-1] is Why.NO_WORKER
