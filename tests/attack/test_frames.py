"""Reports of errors that show the local variables of all frames: those of the library hold no payload, key or password."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import secure_queue
from secure_queue import ConfigurationError, Rejected, SecureQueueError, Task, UnserializableValue, Worker
from secure_queue.payload.keys import encode_field, format_key, generate_key
from secure_queue.settings import KEYS_VARIABLE, environment
from tests.servers import PATIENCE
from tests.worker.places import PRIORITY, Place, open_place, running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.attack(58),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]

ARGUMENT, RESULT, PASSWORD = "canary-argument-4721", "canary-result-4722", "canary-password-4723"
KEY = generate_key("canary")
LIBRARY = str(Path(secure_queue.__file__).parent)


def shown(error: BaseException) -> str:
    """What such a report says: message, cause and context, and the variables of every frame of the library."""
    return "\n".join(
        f"{error!r} {frame.f_code.co_name} {frame.f_locals!r}"
        for error in _chain(error)
        for frame in _frames(error)
        if frame.f_code.co_filename.startswith(LIBRARY)
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _frames(error: BaseException) -> Iterator[Any]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


@pytest.fixture
async def place(anyio_backend: object) -> AsyncIterator[Place]:
    async with open_place("memory", None) as opened:
        yield opened


def declared(place: Place) -> tuple[Worker[Any], Any]:
    worker = place.worker(signing_secret=format_key(KEY))

    @worker.task(name="echo", ttl=60)
    async def echo(text: str) -> str:
        return RESULT

    return worker, echo


async def flip(place: Place, key: bytes, field: bytes | None = None) -> None:
    where: list[bytes] = [key] if field is None else [key, field]
    found: Any = await place.link.command("GET" if field is None else "HGET", *where)
    assert RESULT.encode() in found or ARGUMENT.encode() in found
    await place.link.command("SET" if field is None else "HSET", *where, found[:-1] + bytes((found[-1] ^ 1,)))


async def test_what_does_not_open_is_in_no_frame(place: Place) -> None:
    worker, echo = declared(place)
    async with running(worker):
        task: Task[Any] = await echo.enqueue(ARGUMENT)
        await task.result(timeout=PATIENCE)
        await flip(place, place.keys.result(task.id.encode()))
        late = await echo.enqueue(ARGUMENT).start(delay=3600)
        await flip(place, place.keys.bucket(late.id.encode()), late.id.encode())
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: task.result(timeout=PATIENCE),
            lambda: worker.result_by_id(task.id, timeout=PATIENCE),
            lambda: worker.status_by_id(task.id),
            lambda: worker.info_by_id(late.id),
            lambda: worker.abort_by_id(late.id),
        ]
        for call in calls:
            with pytest.raises(Rejected) as caught:
                await call()
            report = shown(caught.value)
            assert report and ARGUMENT not in report and RESULT not in report


async def test_a_dead_letter_that_does_not_open_is_in_no_frame(place: Place) -> None:
    worker, _ = declared(place)

    @worker.task(name="fail", max_tries=1)
    async def fail(text: str) -> None:
        raise ValueError

    async with running(worker):
        task = await fail.enqueue(ARGUMENT)
        await task.result(timeout=PATIENCE)
        await flip(place, place.keys.bucket(task.id.encode()), task.id.encode())
        with pytest.raises(Rejected) as caught:
            await worker.retry_dead_letter(task.id)
    report = shown(caught.value)
    assert report and ARGUMENT not in report


class Unregistered:
    """A class that no serializer here knows, and that shows what is in it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Unregistered({self.text})"


async def test_what_cannot_be_enqueued_is_in_no_frame(place: Place) -> None:
    worker, echo = declared(place)

    @worker.task(name="secret", encrypt=True)
    async def secret(text: str) -> None: ...

    odd: list[Any] = [Unregistered(ARGUMENT), ARGUMENT * 60_000, "\ud800" + ARGUMENT, {Unregistered(ARGUMENT): 1}]
    async with worker:
        calls = [partial(function.enqueue, value) for value in odd for function in (echo, secret)]
        calls += [lambda: echo.enqueue(odd[0]).start(schedule="* * * * *")]
        calls += [lambda: echo.enqueue("fine") | echo.enqueue(odd[0])]
        for call in calls:
            with pytest.raises(UnserializableValue) as caught:
                await call()
            report = shown(caught.value)
            assert report and ARGUMENT not in report
            assert "enqueue_many" in report  # it is known where it came from


async def test_what_a_server_did_not_take_is_in_no_frame(anyio_backend: object) -> None:
    worker: Worker[None] = Worker("redis://127.0.0.1:1", signing_secret=format_key(KEY), deadline=0.1)

    @worker.task(name="echo")
    async def echo(text: str) -> None: ...

    with pytest.raises(SecureQueueError) as caught:
        async with worker:
            await echo.enqueue(ARGUMENT)
    assert shown(caught.value) and ARGUMENT not in shown(caught.value)


async def test_what_a_task_is_said_to_have_said_is_in_no_frame(place: Place) -> None:
    worker, _ = declared(place)

    @worker.task(name="say")
    async def say() -> AsyncIterator[str]:
        yield RESULT

    async with running(worker):
        task: Any = await say.enqueue()
        assert [part async for part in task.stream()] == [RESULT]
        await flip(place, place.keys.partial(task.id.encode()), b"0")
        with pytest.raises(Rejected) as caught:
            [part async for part in task.stream()]
    assert shown(caught.value) and RESULT not in shown(caught.value)


@pytest.mark.parametrize("change", [lambda key: key[:-1] + "0g", lambda key: key + "," + key, lambda key: "x" + key])
@pytest.mark.parametrize("source", ["argument", "variable"])
async def test_a_key_that_is_refused_is_in_no_frame(
    anyio_backend: object, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str], source: str
) -> None:
    bad = change(format_key(KEY))
    monkeypatch.setenv(KEYS_VARIABLE, bad)
    with pytest.raises(ConfigurationError) as caught:
        Worker("redis://localhost", **({"signing_secret": bad} if source == "argument" else {}))
    report = shown(caught.value)
    assert report and encode_field(KEY) not in report
    assert encode_field(KEY) not in repr(environment())


async def test_a_password_is_in_no_frame(anyio_backend: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Worker(f"redis://user:{PASSWORD}@localhost:1/zero", signing_secret=format_key(KEY))
    worker: Worker[None] = Worker(
        f"redis://user:{PASSWORD}@127.0.0.1:1", signing_secret=format_key(KEY), deadline=0.1, queue_name=PRIORITY
    )

    @worker.task(name="noop")
    async def noop() -> None: ...

    with pytest.raises(SecureQueueError) as unavailable:
        async with worker:
            await noop.enqueue()
    for error in (refused.value, unavailable.value):
        assert shown(error) and PASSWORD not in shown(error)
