"""A process that is forked while a worker object is open: what the parent has open there is none of its business."""

from __future__ import annotations

import asyncio
import multiprocessing

import pytest

from secure_queue import SecureQueueError, Worker
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_a_forked_process_uses_no_connection_of_its_parent_and_opens_its_own(real_server: Server) -> None:
    real_server.command("FLUSHALL")
    worker = Worker(f"unix://{real_server.unix_path}", queue_name="forking", signing_secret=SECRET)

    @worker.task
    async def job() -> None: ...

    async def in_the_child() -> str:
        try:
            await job.enqueue()
        except SecureQueueError as error:
            async with worker:
                await job.enqueue()
            return str(error)
        return "enqueued over a connection of the parent"

    async def in_the_parent() -> None:
        async with worker:
            await job.enqueue()
            fork = multiprocessing.get_context("fork")
            here, there = fork.Pipe(duplex=False)
            child = fork.Process(target=lambda: there.send(asyncio.run(in_the_child())))
            child.start()
            try:
                assert await asyncio.to_thread(here.poll, PATIENCE), "the child has said nothing"
                assert "not open here" in here.recv()
            finally:
                child.kill()
                child.join()
            await job.enqueue()
            assert await worker.queue_size() == 3

    asyncio.run(in_the_parent())  # trio lets no other loop begin in what its own thread has forked
