"""Suite 02: what a task is given and gives back is nowhere to be read where Redis keeps, logs or shows things."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anyio
import pytest

from secure_queue import TaskFailed, Worker
from secure_queue.clock import now_ms
from secure_queue.payload.codec import Purpose
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import AT_ONCE, Place, open_place, running

pytestmark = pytest.mark.anyio

CANARY, ANSWER, EXCUSE = "canary-argument-7731", "canary-result-7732", "canary-error-7733"
SECRETS = tuple(text.encode() for text in (CANARY, ANSWER, EXCUSE))


def declare(worker: Worker[Any], **options: Any) -> tuple[Any, Any]:
    @worker.task(name="good", **options)
    async def good(text: str) -> str:
        return ANSWER

    @worker.task(name="bad", retry_policy=AT_ONCE, **options)
    async def bad(text: str) -> str:
        raise ValueError(EXCUSE)

    return good, bad


async def files_of(server: Server) -> bytes:
    """Everything that the server has written to its folder: dump, append-only files, log."""
    folder = anyio.Path(Path(server.unix_path).parent)
    return b"".join([await path.read_bytes() async for path in folder.rglob("*") if await path.is_file()])


@pytest.mark.attack(50)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("options", [{}, {"encrypt": True}], ids=["by the worker", "by the task"])
async def test_nothing_of_arguments_results_and_errors_can_be_read_in_redis(
    server: Server, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_place("server", server) as place:
        server.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
        server.command("CONFIG", "SET", "slowlog-max-len", "10000")
        worker = place.worker(encrypt=not options)
        good, bad = declare(worker, **options)
        async with running(worker):
            task, failure = await good.enqueue(CANARY), await bad.enqueue(CANARY)
            assert (await task.result(timeout=PATIENCE)).result == ANSWER
            error = (await failure.result(timeout=PATIENCE)).exception
            assert isinstance(error, TaskFailed) and EXCUSE in str(error)
            delayed = await good.enqueue(CANARY).start(delay=600)
            stored: Any = await place.link.command("HGET", place.keys.bucket(delayed.id.encode()), delayed.id)
            await place.put_raw(b"moved", stored)

            async def is_put_aside() -> bool:
                return b"moved" in await place.quarantine()

            await eventually(is_put_aside)
        shown = [server.command("SLOWLOG", "GET", "10000"), server.command("KEYS", "*")]
        assert b"good" in repr(shown).encode()  # names are no secret, and so the looking is known to work
        await place.link.command("SAVE")
        seen = await files_of(server) + repr(shown).encode() + caplog.text.encode()
        assert len(seen) > 5_000
        for secret in SECRETS:
            assert secret not in seen


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_same_look_finds_them_when_they_are_only_signed(server: Server) -> None:
    async with open_place("server", server) as place:
        worker = place.worker()
        good, _ = declare(worker)
        async with running(worker):
            task = await good.enqueue(CANARY)
            await task.result(timeout=PATIENCE)
            await good.enqueue(CANARY).start(delay=600)
        await place.link.command("SAVE")
        seen = await files_of(server)
        assert CANARY.encode() in seen and ANSWER.encode() in seen


async def test_signed_and_encrypted_tasks_share_a_queue(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def plain(text: str) -> str:
        return text

    @worker.task(encrypt=True, compress=True)
    async def hidden(text: str) -> str:
        return text

    @worker.task(compress=True)
    async def large(text: str) -> str:
        return text * 100

    async with running(worker):
        for task, sent, expected in ((plain, "x", "x"), (hidden, "y", "y"), (large, "z" * 900, "z" * 90_000)):
            run = await task.enqueue(sent)
            assert (await run.result(timeout=PATIENCE)).result == expected
            kept: Any = await place.link.command("GET", place.keys.result(run.id.encode()))
            assert kept[4] == (2 if task is hidden else 1)
            assert len(kept) < 1000


@pytest.mark.attack(44)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_worker_that_requires_encryption_puts_aside_what_is_only_signed(place: Place) -> None:
    strict, lax = place.worker(require_encryption=True), place.worker()
    good, _ = declare(strict)
    careless, _ = declare(lax)
    async with lax:
        task = await careless.enqueue(CANARY)
    async with running(strict):

        async def is_put_aside() -> bool:
            return await place.quarantine() == {task.id.encode(): "suite-not-allowed"}

        await eventually(is_put_aside)
        assert (await (await good.enqueue(CANARY)).result(timeout=PATIENCE)).result == ANSWER


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_encrypted_dead_letter_comes_back_encrypted_by_whoever_brings_it_back(place: Place) -> None:
    worker, operator = place.worker(), place.worker()
    _, bad = declare(worker, encrypt=True)
    async with running(worker):
        task = await bad.enqueue(CANARY)
        assert not (await task.result(timeout=PATIENCE)).success
    async with operator:
        await operator.retry_dead_letter(task.id)
        stored: Any = await place.link.command("HGET", place.keys.bucket(task.id.encode()), task.id)
        assert stored[4] == 2 and CANARY.encode() not in stored
        opened = operator._codec.verify(stored, Purpose.TASK, task.id, now_ms=now_ms())
        assert CANARY.encode() in opened.value


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_schedule_of_an_encrypted_task_is_hidden_and_so_are_its_runs(place: Place) -> None:
    worker, seen = place.worker(), anyio.Event()

    @worker.task(encrypt=True)
    async def hidden(text: str) -> str:
        return ANSWER

    @worker.every(1, args=(CANARY,), schedule_id="declared")
    @worker.task(encrypt=True)
    async def declared(text: str) -> str:
        assert text == CANARY
        seen.set()
        return ANSWER

    async with worker:
        await hidden.enqueue(CANARY).start(schedule="* * * * * *")
        stored: Any = await place.link.command("HVALS", place.keys.schedules)
        assert stored and all(record[4] == 2 and CANARY.encode() not in record for record in stored)
    async with running(worker):
        with anyio.fail_after(PATIENCE):
            await seen.wait()

        async def has_results() -> bool:
            found: Any = await place.link.command("KEYS", place.keys.prefix + b"result:*")
            return len(found) >= 2

        await eventually(has_results)
        found: Any = await place.link.command("KEYS", place.keys.prefix + b"result:*")
        for key in found:
            sealed: Any = await place.link.command("GET", key)
            assert sealed[4] == 2 and ANSWER.encode() not in sealed
