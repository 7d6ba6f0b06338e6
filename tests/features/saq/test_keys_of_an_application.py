"""Keys carry the name of the application, the encoder knows the types of the domain, and workers wait for Redis.

The hook for an error tracker is one after the job: ``test_before_and_after_job_hooks.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest

from secure_queue import MsgpackSerializer, Worker
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio

types = MsgpackSerializer()


@types.register
class Kind(Enum):
    """A type of the domain."""

    PAID = "paid"


@types.register
@dataclass(frozen=True)
class Order:
    """Another one."""

    number: UUID
    due: datetime
    amount: Decimal
    kind: Kind


async def test_every_key_of_a_queue_begins_with_its_name(place: Place) -> None:
    worker = place.worker(queue_name="shop")

    @worker.task
    async def noop() -> None: ...

    async with running(worker):
        await (await noop.enqueue()).result(timeout=PATIENCE)
        await noop.enqueue().start(delay=60)
    keys: Any = await place.link.command("KEYS", "*")
    assert keys
    assert {key.partition(b":")[0] + key.partition(b":")[2].partition(b"/")[0] for key in keys} == {b"sq{shop"}


async def test_types_of_the_domain_arrive_as_what_they_were(place: Place) -> None:
    worker = place.worker(serializer=types)
    order = Order(uuid4(), datetime(2030, 1, 1, tzinfo=UTC), Decimal("9.90"), Kind.PAID)

    @worker.task
    async def echo(it: Order) -> Order:
        assert isinstance(it, Order)
        return it

    async with running(worker):
        assert (await (await echo.enqueue(order)).result(timeout=PATIENCE)).result == order


async def test_a_worker_that_starts_before_its_server_waits_for_it(server: Server) -> None:
    server.stop()
    worker: Worker[Any] = Worker(f"unix://{server.unix_path}", signing_secret=SECRET, handle_signals=False)
    ran = anyio.Event()

    @worker.task(name="note")
    async def note() -> None:
        ran.set()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await anyio.wait_all_tasks_blocked()
            server.start()
            producer: Worker[Any] = Worker(f"unix://{server.unix_path}", signing_secret=SECRET)
            async with producer:
                await producer.enqueue_by_name("note")
                await ran.wait()
            worker.drain()
