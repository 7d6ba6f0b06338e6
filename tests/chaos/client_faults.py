"""Workers and producers die, hang, give up, change their minds, or lose replies."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import anyio

from secure_queue.redis.scripts import load
from tests.chaos.case import Fault, Scene
from tests.chaos.crew import Member
from tests.chaos.mending import ask_all, expect
from tests.chaos.proxy import Proxy
from tests.chaos.server_faults import promoted

SCRIPTS_OF_THE_LOAD = ("enqueue", "claim", "complete", "renew", "tick")


def worker_killed() -> Fault:
    """``kill -9`` of one worker; another is started in its place, as a supervisor would."""

    async def strike(scene: Scene) -> None:
        _a_worker(scene).kill()
        await scene.crew.start_worker()

    return Fault("kill -9 of a worker", strike)


def worker_hangs(seconds: float) -> Fault:
    """SIGSTOP of one worker for longer than its leases, and SIGCONT."""

    async def strike(scene: Scene) -> None:
        worker = _a_worker(scene)
        worker.send(signal.SIGSTOP)
        await anyio.sleep(seconds)
        worker.send(signal.SIGCONT)

    return Fault(f"SIGSTOP of a worker for {seconds:g} s", strike)


def _a_worker(scene: Scene) -> Member:
    return next(worker for worker in scene.crew.workers if not worker.was_killed)


def promoted_and_producer_killed(after: float) -> Fault:
    """A planned failover, and ``kill -9`` of the producer before it could enqueue anything again."""

    async def strike(scene: Scene) -> None:
        assert scene.crew.producer is not None
        await promoted().strike(scene)
        await anyio.sleep(after)
        scene.crew.producer.kill()

    return Fault(f"planned failover, kill -9 of the producer after {after:g} s", strike)


def calls_cancelled(number: int) -> Fault:
    """The producer gives up *number* calls under way, while its connections are cut again and again."""

    async def strike(scene: Scene) -> None:
        producer = scene.crew.producer
        assert producer is not None
        for done in range(1, 11):
            producer.tell(f"cancel {number // 10}")
            await ask_all(scene.place.servers, "CLIENT", "KILL", "TYPE", "normal")
            await expect(lambda done=done: _has_cancelled(scene, done), "cancelled calls did not end")

    return Fault(f"{number} cancelled calls, connections cut", strike)


async def _has_cancelled(scene: Scene, times: int) -> bool:
    assert scene.crew.producer is not None
    return scene.crew.producer.reader.count("cancelled") >= times


def replies_lost(times: int) -> Fault:
    """The proxy loses the reply to each script that the load needs, and its connection, *times* times."""

    async def strike(scene: Scene) -> None:
        (proxy,) = scene.place.proxies
        for done in range(1, times + 1):
            proxy.lose_replies({load(name).sha.encode(): name for name in SCRIPTS_OF_THE_LOAD})
            wanted = done * len(SCRIPTS_OF_THE_LOAD)
            await expect(lambda wanted=wanted: _has_lost(proxy, wanted), f"not all was lost: {proxy.lost}")

    return Fault(f"the reply to each script is lost {times} times", strike)


async def _has_lost(proxy: Proxy, count: int) -> bool:
    return len(proxy.lost) >= count


def partitions_changed(numbers: Sequence[int], apart: float) -> Fault:
    """The producer goes over to another number of partitions, and to the next one after a while."""

    async def strike(scene: Scene) -> None:
        producer = scene.crew.producer
        assert producer is not None
        for number in numbers:
            producer.tell(f"partitions {number}")
            await expect(lambda number=number: _is_spread(scene, number), "the producer did not go over")
            await anyio.sleep(apart)

    return Fault(f"partitions changed to {' and '.join(map(str, numbers))}, {apart:g} s apart", strike)


async def _is_spread(scene: Scene, number: int) -> bool:
    assert scene.crew.producer is not None
    spread = [entry for entry in scene.crew.producer.reader.refresh() if entry.event == "spread"]
    return bool(spread) and spread[-1].facts == (str(number),)
