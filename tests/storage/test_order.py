"""Whatever happens to tasks of a key, they keep their order, one runs at a time, and none is lost or waits for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import uuid4

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_queue.evidence import Renewed
from secure_queue.keyed import Keyed
from secure_queue.redis.connect import open_link
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Memory
from secure_queue.storage import Standing
from tests.servers import PATIENCE
from tests.storage.conftest import KEYS
from tests.storage.verbs import LONG, back, end, ids_of, refused, standing, take, tick

LINES = (b"o" + b"a" * 32, b"o" + b"b" * 32)
STEPS = ("enqueue", "enqueue", "enqueue", "enqueue", "claim", "claim", "claim", "crash", "complete", "bury", "retry")
MORE = ("release", "abort", "quarantine", "revive", "lose", "upkeep", "again")


class Queue:
    """A queue and what is known of it: the tasks of each line in their order, those that run, those that have ended."""

    def __init__(self, storage: RedisStorage) -> None:
        self.storage = storage
        self.lines: dict[bytes, list[bytes]] = defaultdict(list)
        self.line_of: dict[bytes, bytes] = {}
        self.running: dict[bytes, bytes] = {}
        self.dead: list[bytes] = []
        self.ended: set[bytes] = set()
        self.sent: list[Keyed] = []
        self.made = 0

    async def do(self, step: str, choice: int) -> None:
        """One step, as far as there is something to do it to; afterwards each task is counted and listed where it is."""
        await getattr(self, step)(choice)
        waiting = [one for line in self.lines.values() for one in line if one not in self.running]
        counts = await self.storage.counts()
        assert sum(counts.in_lines.values()) == sum(max(len(line) - 1, 0) for line in self.lines.values())
        assert counts.waiting + sum(counts.due.values()) == len(waiting)
        listed = [one for state in (Standing.QUEUED, Standing.SCHEDULED) for one in await self._listed(state)]
        assert sorted(listed) == sorted(waiting)

    async def _listed(self, state: Standing) -> list[bytes]:
        pages = [await self.storage.list_ids(state, priority=name, offset=0, limit=1000) for name in ("high", "low")]
        return [task_id for page in pages for task_id in page]

    async def enqueue(self, choice: int) -> None:
        self.made += 1
        line, task_id = LINES[choice % 2], b"%03d" % self.made
        priority = ("low", "high")[choice % 3 == 0]
        self.sent.append(Keyed(task_id, b"sealed " + task_id, 0, priority, b"", "", 0, False, 0, line))
        await self.storage.enqueue_keyed(self.sent[-1:], PATIENCE)
        self.line_of[task_id] = line
        self.lines[line].append(task_id)

    async def again(self, choice: int) -> None:
        """An enqueue is repeated after its reply was lost."""
        if self.sent and (task := self.sent[choice % len(self.sent)]).task_id not in self.dead:
            await self.storage.enqueue_keyed([task], PATIENCE)

    async def claim(self, choice: int, lease_ms: int = LONG) -> None:
        token = b"w.%d" % choice
        for task_id in ids_of(
            [one for one in await take(self.storage, 3, token=token, lease_ms=lease_ms) if one.untrusted]
        ):
            assert self.lines[self.line_of[task_id]][0] == task_id, "it is not its turn"
            self.running[task_id] = token

    async def crash(self, choice: int) -> None:
        """A worker claims and dies."""
        before = set(self.running)
        await self.claim(choice + 10_000, lease_ms=0)
        await tick(self.storage)
        self.running = {task_id: self.running[task_id] for task_id in before}

    def _end(self, task_id: bytes) -> bytes:
        self.lines[self.line_of[task_id]].remove(task_id)
        self.ended.add(task_id)
        return self.running.pop(task_id, b"")

    def _one(self, choice: int) -> bytes | None:
        return sorted(self.running)[choice % len(self.running)] if self.running else None

    async def complete(self, choice: int) -> None:
        if (task_id := self._one(choice)) is not None:
            assert await self.storage.complete([end(task_id, self._end(task_id))]) == [True]

    async def bury(self, choice: int) -> None:
        if (task_id := self._one(choice)) is not None:
            assert await self.storage.bury([end(task_id, self._end(task_id))]) == [True]
            self.dead.append(task_id)

    async def quarantine(self, choice: int) -> None:
        if (task_id := self._one(choice)) is not None:
            assert await refused(self.storage, task_id, self._end(task_id), "malformed")
            self.sent = [task for task in self.sent if task.task_id != task_id]

    async def retry(self, choice: int) -> None:
        if (task_id := self._one(choice)) is not None:
            token = self.running.pop(task_id)
            assert await self.storage.retry("low", [back(task_id, token, at_ms=-(choice % 2))]) == [True]

    async def release(self, choice: int) -> None:
        if (task_id := self._one(choice)) is not None:
            assert await self.storage.release("low", [back(task_id, self.running.pop(task_id))]) == [True]

    async def abort(self, choice: int) -> None:
        waiting = [one for line in self.lines.values() for one in line if one not in self.running]
        if waiting:
            task_id = sorted(waiting)[choice % len(waiting)]
            assert await self.storage.abort(task_id, sealed=b"stopped", ttl_ms=LONG, mark=b"") == "aborted"
            self._end(task_id)

    async def revive(self, choice: int) -> None:
        if self.dead:
            task_id = self.dead.pop(choice % len(self.dead))
            assert await self.storage.revive(Renewed(task_id, b"sealed " + task_id, "low", line=self.line_of[task_id]))
            self.ended.discard(task_id)
            self.lines[self.line_of[task_id]].append(task_id)

    async def lose(self, choice: int) -> None:
        """Somebody deletes a task at the front of its line, and all ready lists."""
        front = [line[0] for line in self.lines.values() if line and line[0] not in self.running]
        if front:
            task_id = front[choice % len(front)]
            await self.storage._link.command("HDEL", self.storage.keys.bucket(task_id), task_id)
            await self.storage._link.command("DEL", *self.storage.keys.ready.values())
            self._end(task_id)
            self.sent = [task for task in self.sent if task.task_id != task_id]
            await self.upkeep(choice)

    async def upkeep(self, choice: int) -> None:
        await self.storage._link.command("HDEL", self.storage.keys.meta, "looked")  # it is done once a second
        await tick(self.storage)

    async def drain(self) -> None:
        """Everything that is left ends."""
        for round_ in range(2 * self.made + 2):
            for choice in range(len(self.running)):
                await self.complete(choice)
            await self.upkeep(round_)
            await self.claim(20_000 + round_)
        assert not any(self.lines.values())
        assert len(self.ended) == self.made
        for task_id in self.ended - set(self.dead):
            assert await standing(self.storage, task_id) in (Standing.DONE, Standing.NOT_FOUND)
        counts = await self.storage.counts()
        assert (sum(counts.ready.values()), sum(counts.due.values()), counts.running) == (0, 0, 0)
        assert await self.storage._link.command("EXISTS", self.storage.keys.lines) == 0


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS + MORE), st.integers(0, 999)), min_size=12, max_size=40))
def test_tasks_of_a_key_keep_their_order_whatever_happens(steps: Sequence[tuple[str, int]]) -> None:
    async def play() -> None:
        async with open_link(Memory(uuid4().hex)) as link:
            queue = Queue(RedisStorage(link, KEYS))
            for place, (step, choice) in enumerate(steps):
                await queue.do(step, 1000 * place + choice if step in ("claim", "crash") else choice)
            await queue.drain()
            await link.command("FLUSHALL")

    anyio.run(play)
