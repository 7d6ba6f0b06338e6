"""A canary in arguments, results, keys and stored junk: it comes out where it was asked for, and nowhere else."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from secure_queue import TaskFailed, TaskStatus, Worker
from secure_queue.payload.keys import encode_field, format_key, generate_key
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import AT_ONCE, Place, open_place, running

pytestmark = [pytest.mark.anyio, pytest.mark.attack(58)]

ARGUMENT, RESULT, LOCAL = "canary-argument-4711", "canary-result-4712", "canary-local-4713"
KEY = generate_key("canary")
SECRET = encode_field(KEY)


@pytest.fixture(params=["memory", "server"])
async def place(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[Place]:
    server: Server | None = request.getfixturevalue("real_server") if request.param == "server" else None
    async with open_place(request.param, server) as opened:
        yield opened


class Unserializable:
    def __repr__(self) -> str:
        return RESULT


def declared(worker: Worker[Any]) -> Worker[Any]:
    @worker.task(name="succeed", ttl=60)
    async def succeed(value: str, *, secret: str) -> str:
        return RESULT

    @worker.task(name="fail", max_tries=2, retry_policy=AT_ONCE, ttl=60)
    async def fail(value: str) -> None:
        hidden = LOCAL  # noqa: F841 - a local variable, as tracebacks with locals would show it
        try:
            raise KeyError(value)
        except KeyError as error:
            raise ValueError(f"cannot use {value!r} here") from error

    @worker.task(name="unserializable", ttl=60)
    async def unserializable(value: str) -> object:
        return Unserializable()

    return worker


async def played(worker: Worker[Any], place: Place) -> list[Any]:
    """One of everything that can go right or wrong; returns all that the library hands out."""
    succeed, fail, odd = (worker.registry[name] for name in ("succeed", "fail", "unserializable"))
    tasks = [succeed.enqueue(ARGUMENT, secret=ARGUMENT), fail.enqueue(ARGUMENT), odd.enqueue(ARGUMENT)]
    late = succeed.enqueue(ARGUMENT, secret=ARGUMENT).start(delay=3600)
    await worker.enqueue_many([*tasks, late])
    outcomes = [await task.result(PATIENCE) for task in tasks]
    assert [outcome.status for outcome in outcomes] == [TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.FAILED]
    assert outcomes[0].result == RESULT
    errors = [outcome.exception for outcome in outcomes[1:]]
    for number, junk in enumerate((ARGUMENT.encode() * 9, b"\xc1SQ\x02" + ARGUMENT.encode() * 9)):
        await place.put_raw(b"junk-%d\nERROR %s" % (number, ARGUMENT.encode()), junk)
        await place.put_raw(b"junk-%d" % number, junk)
    await eventually(lambda: _quarantined(place, 4))
    info = await worker.info_by_id(late.id)
    assert info is not None and info.args == (ARGUMENT,)
    assert await worker.abort_by_id(late.id)
    letters = await worker.dead_letters()
    kept = [each async for each in worker.quarantined()]
    report = await worker.audit()
    log = worker.check_log(await worker.audit_log())
    assert len(letters) == 2
    facts = [str(event.facts) for event in log.events]
    listed = await worker.get_tasks_by_status(TaskStatus.DONE)
    return [
        *tasks,
        late,
        *outcomes,
        *errors,
        *map(str, errors),
        info,
        *letters,
        *kept,
        report.to_json(),
        *facts,
        *listed,
    ]


async def _quarantined(place: Place, count: int) -> bool:
    return len(await place.quarantine()) == count


def told(things: list[Any]) -> str:
    return "\n".join(thing if isinstance(thing, str) else repr(thing) for thing in things)


async def test_no_canary_is_in_logs_messages_reprs_and_reports(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    worker = declared(place.worker(signing_secret=format_key(KEY)))
    async with running(worker):
        things = await played(worker, place)
    things += [
        worker,
        worker._codec,
        worker.key_ring,
        *worker.key_ring.keys,
        worker.key_ring.active,
        dict(worker.counters),
    ]
    lines = [record.getMessage() for record in caplog.records]
    assert any("put aside" in line for line in lines) and any("failed for good" in line for line in lines)
    assert not any("\n" in line or "\x1b" in line for line in lines)
    everything = told(things) + caplog.text
    junk = [part for part in everything.split("junk-") if part.startswith(("0\\x0aERROR", "1\\x0aERROR"))]
    assert junk  # an id is shown, escaped; whoever can write an id can write this
    for hidden in (ARGUMENT, RESULT, LOCAL, SECRET, KEY.material.reveal().hex()):
        visible = everything.replace(f"x0aERROR {ARGUMENT}", "")
        assert hidden not in visible, visible[max(0, visible.index(hidden) - 300) : visible.index(hidden) + 100]


async def test_who_asks_for_it_sees_the_words_of_a_failure(place: Place) -> None:
    worker = declared(place.worker(redact_failures=False))
    async with running(worker):
        outcome = await (await worker.registry["fail"].enqueue(ARGUMENT)).result(PATIENCE)
    error = outcome.exception
    assert isinstance(error, TaskFailed)
    assert error.message == f"cannot use {ARGUMENT!r} here"
    assert "cannot use {value!r} here" in error.traceback and LOCAL not in error.traceback


async def test_a_password_in_the_url_is_in_no_repr_and_no_error(
    anyio_backend: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    password = "canary-password-4714"
    folder = f"/nowhere-{os.getpid()}.sock"
    worker: Worker[None] = Worker(f"unix://user:{password}@{folder}", signing_secret=format_key(KEY))
    assert password not in repr(worker) + repr(worker._topology) + caplog.text
