"""Sends a task of the doctor's own through a partition, beside the real queue and in the same slot; nothing of it stays.

The task has no payload that anybody would run: its keys lie in a room of their own, where no worker looks.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

from secure_queue.clock import monotonic
from secure_queue.doctor.facts import Rehearsal, Step
from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.evidence import Renewed
from secure_queue.names import printable
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Link
from secure_queue.redis.rights import confirmations, denied_commands, probes
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Standalone
from secure_queue.storage import End, GiveBack, NewTask, Refused, Standing

STEP_S: Final = 3.0
CLEANING_S: Final = 3.0
WORKER: Final = "doctor"
SEALED: Final = b"doctor"
LEASE_MS: Final = 10_000
TASKS: Final = (b"doctor-1", b"doctor-2", b"doctor-3", b"doctor-4")


async def rehearse(link: Link, keys: QueueKeys, primary: Standalone, replicas: int) -> Rehearsal:
    """Try every right and every verb in a room of its own, and have the *replicas* of *primary* confirm a write."""
    async with _room(link, keys) as room:
        try:
            denied = await denied_commands(link, room, STEP_S)
        except ConfigurationError as error:
            return Rehearsal(refusal=printable(str(error), 300))
        if denied:
            return Rehearsal(denied=denied)
        steps = await _Trial(link, room).run()
        confirmed, beyond = await confirmations(primary, room, replicas)
    return Rehearsal(steps, (), "", replicas, confirmed, beyond > replicas)


@asynccontextmanager
async def _room(link: Link, keys: QueueKeys) -> AsyncIterator[QueueKeys]:
    """A room that is empty again at the end, whatever happens in it."""
    room = keys.beside(b"doctor-%s:" % os.urandom(6).hex().encode())
    used = [*room.fixed, *probes(room), room.last_claim(WORKER), *map(room.result, TASKS)]
    try:
        yield room
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLEANING_S):
            await _delete(link, used)


async def _delete(link: Link, keys: list[bytes]) -> None:
    try:
        await link.command("DEL", *keys)
    except SecureQueueError:  # who may not delete could not write either, or the server is away
        return


class _Trial:
    """The verbs, one after the other; the first that fails ends it."""

    def __init__(self, link: Link, room: QueueKeys) -> None:
        self._link = link
        self._storage = RedisStorage(link, room)
        self._lowest = room.priorities[-1]
        self._tokens: dict[bytes, bytes] = {}

    async def run(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        for name, step in self._plan():
            steps.append(await _timed(name, step))
            if steps[-1].problem:
                break
        return tuple(steps)

    def _plan(self) -> list[tuple[str, Callable[[], Awaitable[bool]]]]:
        return [
            ("claim", self._warm_up),
            ("enqueue and wake-up", self._enqueue_and_wake),
            ("renew", self._renew),
            ("complete", self._complete_and_hear),
            ("bury", self._bury),
            ("revive", self._revive),
            ("abort", self._abort),
            ("retry", self._retry),
            ("quarantine", self._quarantine),
            ("upkeep", self._tick),
            ("look up", self._look_up),
            ("scan", self._scan),
        ]

    async def _warm_up(self) -> bool:
        """Claim nothing: afterwards the server knows the script, and a wake-up can be measured."""
        _, claims = await self._storage.claim(WORKER, b"doctor-0", 0, LEASE_MS)
        return claims == []

    async def _enqueue_and_wake(self) -> bool:
        """An idle worker waits while tasks come in; they must reach it before its wait is over."""
        claimed: list[bytes] = []

        async def wait() -> None:
            while len(claimed) < len(TASKS):
                token = b"doctor-t%d" % len(self._tokens)
                found = await self._storage.claim_when_woken(WORKER, token, len(TASKS), LEASE_MS, STEP_S)
                for claim in found[1] if found is not None else ():
                    self._tokens[claim.untrusted_id] = token
                    claimed.append(claim.untrusted_id)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            tasks = [NewTask(task_id, SEALED, 0, self._lowest) for task_id in TASKS]
            created = await self._storage.enqueue(tasks, STEP_S)
        return all(one.new for one in created) and sorted(claimed) == list(TASKS)

    async def _renew(self) -> bool:
        return all(await self._storage.renew(LEASE_MS, [self._held(task_id) for task_id in TASKS]))

    async def _complete_and_hear(self) -> bool:
        """A client that waits must hear of the result."""
        async with self._storage.listen(WORKER) as results:
            await self._storage.watch(WORKER, TASKS[:1])
            ended = await self._storage.complete([self._end(TASKS[0])])
            heard = await anext(results)
        return ended == [True] and heard == (TASKS[0], SEALED)

    async def _bury(self) -> bool:
        return await self._storage.bury([self._end(TASKS[1])]) == [True]

    async def _revive(self) -> bool:
        return await self._storage.revive(Renewed(TASKS[1], SEALED, self._lowest)) is True

    async def _abort(self) -> bool:
        answer = await self._storage.abort(TASKS[1], sealed=SEALED, ttl_ms=LEASE_MS, mark=SEALED)
        return answer == "aborted"

    async def _retry(self) -> bool:
        return await self._storage.retry(self._lowest, [self._held(TASKS[2])]) == [True]

    async def _quarantine(self) -> bool:
        return all(await self._storage.quarantine([Refused(TASKS[3], self._tokens[TASKS[3]], "doctor")]))

    async def _tick(self) -> bool:
        await self._storage.tick(WORKER, gone_after_ms=LEASE_MS, keep_dead_ms=LEASE_MS, keep_dead=1)
        counts = await self._storage.counts()
        return counts.quarantined == 1

    async def _look_up(self) -> bool:
        return (await self._storage.look_up(TASKS[0])).standing is Standing.DONE

    async def _scan(self) -> bool:
        return bool(await self._storage.scannable().fixed_keys())

    def _held(self, task_id: bytes) -> GiveBack:
        return GiveBack(task_id, self._tokens[task_id])

    def _end(self, task_id: bytes) -> End:
        return End(task_id, self._tokens[task_id], LEASE_MS, SEALED)


async def _timed(name: str, step: Callable[[], Awaitable[bool]]) -> Step:
    """Do one step; whatever goes wrong is its problem, and no step takes for ever."""
    began = monotonic()
    problem = f"it was not done within {STEP_S:g} s"
    with anyio.move_on_after(STEP_S):
        try:
            problem = "" if await step() else "the server has answered something else than it must"
        except* SecureQueueError as error:
            problem = printable(str(_first(error)), 300)
    return Step(name, (monotonic() - began) * 1000, problem)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
