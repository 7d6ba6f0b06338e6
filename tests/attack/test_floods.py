"""Very much of it: bad payloads by the hundred, and an audit of a hundred thousand."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.payload.codec import Codec
from secure_queue.payload.keys import KeyEntry, KeyState, format_key, generate_key
from secure_queue.payload.serializers import MsgpackSerializer
from tests.servers import Server, eventually
from tests.system.faults import Planter
from tests.worker.places import PRIORITY, open_place, running

pytestmark = pytest.mark.anyio

FLOOD, BETWEEN, KEPT, MANY = 10_400, 400, 10_000, 100_000


@pytest.mark.attack(63)
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_flood_of_bad_payloads_is_put_aside_in_few_lines_and_bounded_and_good_tasks_take_their_turn(
    real_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """How long a good task waits follows from what stands before it; whoever can write to Redis can put much there."""
    async with open_place("server", real_server) as place:
        worker = place.worker()

        @worker.task(name="double", ttl=60)
        async def double(number: int) -> int:
            return 2 * number

        ids = [b"bad-%d" % number for number in range(FLOOD)]
        async with running(worker):
            begun = monotonic()
            tasks = []
            for first in range(0, FLOOD, BETWEEN):
                some = ids[first : first + BETWEEN]
                for task_id in some[::2]:  # the others have no payload at all
                    await place.link.command("HSET", place.keys.bucket(task_id), task_id, b"x" * 100)
                await place.link.command("RPUSH", place.keys.ready[PRIORITY], *some)
                tasks.append(await double.enqueue(first))
            for first, task in zip(range(0, FLOOD, BETWEEN), tasks, strict=True):
                assert (await task.result(60)).result == 2 * first
            await eventually(lambda: _all_aside(worker), patience=60)
            await eventually(lambda: _all_noted(worker), patience=60)
            seconds = monotonic() - begun
            assert (await worker.counts()).quarantined == KEPT
        lines = [record for record in caplog.records if "put aside" in record.getMessage()]
        assert 2 <= len(lines) <= 2 * (seconds + 1)  # two reasons
        assert all(record.levelno == logging.ERROR for record in lines)


async def _all_aside(worker: Worker[Any]) -> bool:
    return worker.counters["quarantined"] == FLOOD


async def _all_noted(worker: Worker[Any]) -> bool:
    report = worker.check_log(await worker.audit_log())
    assert report.problems == []
    facts = [event.facts for event in report.events]
    noted = sum(fact["event"] == "quarantined" for fact in facts)
    return noted + sum(fact["count"] for fact in facts if fact["event"] == "records-lost") == FLOOD


@pytest.mark.attack(65)
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_audit_of_a_hundred_thousand_payloads_finds_the_planted_ones_and_deserializes_none(
    real_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    active, revoked, foreign = generate_key("current"), generate_key("leaked"), generate_key("foreign")
    keys = [format_key(active), format_key(KeyEntry("leaked", KeyState.REVOKED, revoked.material))]
    async with open_place("server", real_server) as place:
        worker = place.worker(signing_secret=keys)

        @worker.task(name="note")
        async def note(number: int) -> None: ...

        async with worker:
            await worker.enqueue_many([note.enqueue(number) for number in range(MANY)])
            planted = Planter(real_server, worker.queue_name, active, revoked, foreign).plant()
            assert len(planted) >= 20
            monkeypatch.setattr(MsgpackSerializer, "loads", _never)
            monkeypatch.setattr(Codec, "open", _never)
            report = await worker.audit()
        assert {(finding.code, finding.kind, finding.id) for finding in report.findings} == planted
        assert report.exit_code == 1
        assert report.functions["note"] >= MANY


def _never(*_: object, **__: object) -> object:
    raise AssertionError("an audit has deserialized something")
