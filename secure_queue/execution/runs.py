"""One claimed task on its way through this worker, and the desk where all of them lie."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import anyio
import anyio.from_thread
from anyio import NoEventLoopError
from anyio.lowlevel import current_token

from secure_queue.clock import monotonic
from secure_queue.execution.sharing import Bell, Share
from secure_queue.execution.verdict import Interruption, LeaseLost
from secure_queue.limiting import Holder
from secure_queue.payload.codec import Opened, Sealed
from secure_queue.payload.records import NOTHING_SET, TaskHead
from secure_queue.settings import TaskSettings
from secure_queue.storage import Claim, GiveBack
from secure_queue.tasks import TaskContext
from secure_queue.time_limits import TimeLimits

STUCK_AFTER_S = 60.0
"""A run that outlives its timeout by so much cannot be stopped; its lease is not prolonged any more."""
ENDS = ("completed", "failed", "retried", "aborted")
NOBODY_KNOWS = TaskSettings("")
"""The settings of a task whose function is not known here."""


class Held(NamedTuple):
    """A permit that a run holds, and the partition that keeps its limit."""

    home: int
    holder: Holder


class Run:
    """One claimed task: first unverified bytes, then what they say, and while it runs the handle to interrupt it."""

    __slots__ = (
        "arguments",
        "call",
        "claim",
        "give_up_at",
        "head",
        "interruption",
        "limits",
        "opened",
        "partition",
        "permits",
        "scope",
        "settings",
        "started_ms",
        "starts",
        "ttl_ms",
        "worker_id",
    )

    def __init__(self, claim: Claim, partition: int = 0) -> None:
        self.claim = claim
        self.partition = partition
        self.opened: Opened | Sealed | None = None
        self.arguments: object = ()
        self.settings = NOBODY_KNOWS
        self.ttl_ms = 0
        self.started_ms = 0
        self.worker_id = ""
        self.head: TaskHead | None = None
        self.call: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Awaitable[Any]] | None = None
        self.scope: anyio.CancelScope | None = None
        self.interruption: Interruption | None = None
        self.starts: tuple[Held, ...] = ()
        """What it was given within limits on rate."""
        self.permits: tuple[Held, ...] = ()
        """What it holds of limits on concurrency."""
        self.limits: TimeLimits | None = None
        self.give_up_at: float | None = None
        """When the heartbeat lets go of it: a run that outlived its timeout by far is stuck (monotonic seconds)."""

    @property
    def genuine(self) -> Opened | Sealed:
        """The verified task; there is one from the moment when it was opened."""
        if self.opened is None:
            raise RuntimeError("the run has not been opened")
        return self.opened

    def interrupt(self, reason: Interruption) -> None:
        """Stop the run for *reason*; the first reason counts."""
        if self.interruption is None:
            self.interruption = reason
            if self.scope is not None:
                self.scope.cancel()

    def limit_time(self) -> None:
        """The time of this try begins now, or goes on."""
        settings = self.settings
        if self.limits is None:
            self.limits = TimeLimits(settings.timeout_s, settings.soft_timeout_s, settings.max_timeout_s)
        self.limits.go_on()
        left_s = self.limits.hard_left()
        if left_s < math.inf:
            self.give_up_at = monotonic() + left_s + STUCK_AFTER_S
            if self.scope is not None:
                self.scope.deadline = anyio.current_time() + left_s

    def stop_time(self) -> None:
        """No limit counts until the time goes on: the function waits for its thread or process."""
        if self.limits is not None:
            self.limits.stop()
        self.give_up_at = None
        if self.scope is not None:
            self.scope.deadline = math.inf

    def extend_timeout(self, by_s: float) -> float:
        """Put the limits off, as a task asks for it; also from a thread of it."""
        try:
            current_token()
        except NoEventLoopError:
            return anyio.from_thread.run_sync(self._extend, by_s)
        return self._extend(by_s)

    def _extend(self, by_s: float) -> float:
        if self.limits is None:
            return math.inf
        if self.scope is None or self.scope.cancel_called:
            return 0.0
        by_s = self.limits.extend(by_s)
        self.scope.deadline += by_s
        if self.give_up_at is not None:
            self.give_up_at += by_s
        return self.limits.left()

    def context(self) -> TaskContext:
        """What the task may know about this run."""
        task, settings, head = self.genuine, self.settings, self.head or NOTHING_SET
        return TaskContext(
            task.task_id,
            task.function,
            self.claim.tries,
            settings.max_tries,
            settings.timeout_s,
            settings.ttl_s,
            self.claim.priority,
            task.jti.hex() if head.fire_ms is None else task.task_id,  # a firing that is made again is sealed anew
            self.worker_id,
            None if head.fire_ms is None else datetime.fromtimestamp(head.fire_ms / 1000, UTC),
            head.headers or {},
        )


class Desk:
    """What fetcher, seats and settlers share: the runs that wait, who is idle, and which leases are held.

    ``held`` is also read by the heartbeat's thread; it copies the dict in one step, which needs no lock.
    """

    def __init__(self, most: int | None = None, share: Share | None = None) -> None:
        self.most = most
        """After how many runs this worker has done enough; None: never."""
        self.share = share
        """What this queue may take of seats that it shares with others."""
        self.held: dict[tuple[bytes, bytes], Run] = {}
        """By id and token: a task whose lease was lost may come back to this very worker while its old run goes on."""
        self.running: set[Run] = set()
        self.seated = 0
        """How many runs have a seat. One that has come to an end has none, though the seat may not be idle yet: it is
        counted as processed then, and not once more."""
        self.ended = 0
        """How many runs have come to an end here, whatever the end was."""
        self.counters: Counter[str] = Counter()
        self.room: anyio.Event | Bell = anyio.Event()
        self.low_water = 0
        self.changes = 0
        """Grows with everything that is taken in or settled."""
        self._settled = anyio.Event()
        self._waiting: deque[Run] = deque()
        self._idle: deque[anyio.Event] = deque()
        self._called = False
        self._rested = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many claimed runs have not been taken by a seat."""
        return len(self._waiting)

    @property
    def idle_seats(self) -> int:
        """How many seats wait for work."""
        return len(self._idle)

    @property
    def free_seats(self) -> int:
        """The idle seats, and the one that has been called and has not come yet."""
        return len(self._idle) + self._called

    @property
    def in_hand(self) -> int:
        """How many runs have a seat, or will have one next."""
        return self.seated + self.waiting

    @property
    def processed(self) -> int:
        """How many runs have come to an end of their own here, a good one or a bad one."""
        return sum(self.counters[end] for end in ENDS)

    @property
    def may_take(self) -> float:
        """How many more runs may be taken in before this worker has done enough."""
        return math.inf if self.most is None else max(0, self.most - self.processed - self.in_hand)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held at all."""
        return not self.held

    def add(self, claims: Iterable[Claim], partition: int = 0) -> None:
        """Take claims in; seats come and get them."""
        for claim in claims:
            self.changes += 1
            run = Run(claim, partition)
            if claim.untrusted is not None:
                self.held[claim.untrusted_id, claim.token] = run
            self._waiting.append(run)
        self._call_a_seat()

    def add_in_front(self, runs: Sequence[Run]) -> None:
        """Take runs in that are next."""
        self.held.update({(run.claim.untrusted_id, run.claim.token): run for run in runs})
        self._waiting.extendleft(reversed(runs))
        self._call_a_seat()

    def _call_a_seat(self) -> None:
        """Wake one idle seat, unless one is on its way already.

        Each seat that takes a run calls the next one. Where tasks never pause, one seat so does the work of all without
        waking anybody for nothing; where they do, the seats follow each other at once.
        """
        if self._idle and self._waiting and not self._called:
            self._called = True
            self._idle.popleft().set()

    async def take(self) -> Run:
        """The next run, which is seated until the caller says otherwise; waits as long as there is none."""
        while not self._waiting:
            await self._sit_idle()
        run = self._waiting.popleft()
        self.seated += 1
        if len(self._waiting) <= self.low_water:
            self.room.set()
        self._call_a_seat()
        return run

    async def _sit_idle(self) -> None:
        self.room.set()
        call = anyio.Event()
        self._idle.append(call)
        try:
            await call.wait()
        finally:
            if call.is_set():
                self._called = False
            else:
                self._idle.remove(call)

    def begin(self, run: Run) -> None:
        """Note that *run* is running."""
        self.running.add(run)

    def end(self, run: Run) -> None:
        """Note that *run* is not running any more."""
        self.running.discard(run)
        self.ended += 1
        if not self.running:
            self._rested.set()

    async def until_nothing_runs(self) -> None:
        """Wait for the end of every running task."""
        while self.running:
            self._rested = anyio.Event()
            await self._rested.wait()

    def withdraw(self, task_id: bytes) -> list[Run]:
        """The runs of one task that no seat has taken; they are the caller's now."""
        runs = [run for run in self._waiting if run.claim.untrusted_id == task_id and run.claim.untrusted is not None]
        for run in runs:
            self._waiting.remove(run)
        return runs

    def put_back(self, run: Run) -> None:
        """Return a withdrawn run, as the next one to be taken."""
        self._waiting.appendleft(run)
        self._call_a_seat()

    def take_back(self, beyond: int = 0) -> list[Run]:
        """The runs that no seat has taken, but for the first *beyond* of them; they are the caller's now.

        Entries without a payload stay: there is nothing to hand back, and a seat tells what is wrong with them.
        """
        kept, back = deque(list(self._waiting)[:beyond]), list[Run]()
        for run in list(self._waiting)[beyond:]:
            (kept if run.claim.untrusted is None else back).append(run)
        self._waiting = kept
        return back

    def let_go(self, keys: Iterable[tuple[bytes, bytes]]) -> list[Run | None]:
        """Forget runs that are settled, given by id and token; these are they, None for one that was not held."""
        pop = self.held.pop
        runs = [pop(key, None) for key in keys]
        self.changes += 1
        self.room.set()
        self._settled.set()
        return runs

    async def until_something_is_settled(self) -> None:
        """Wait for the next settlement."""
        if self._settled.is_set():
            self._settled = anyio.Event()
        await self._settled.wait()

    def give_up_unstarted(self) -> list[Run]:
        """The runs that no seat has opened, which none will begin any more; safe from another thread."""
        unstarted = [run for run in list(self.held.values()) if run.opened is None and run.interruption is None]
        for run in unstarted:
            run.interruption = LeaseLost()
        return unstarted

    def leases(self, now: float) -> dict[int, list[GiveBack]]:
        """What the heartbeat prolongs in each partition at the monotonic second *now*; safe from another thread."""
        leases: dict[int, list[GiveBack]] = defaultdict(list)
        for (task_id, token), run in list(self.held.items()):
            if run.give_up_at is None or now < run.give_up_at:
                leases[run.partition].append(GiveBack(task_id, token))
        return leases

    def permits(self, now: float) -> dict[int, list[Holder]]:
        """The same for what running tasks hold of limits on concurrency."""
        permits: dict[int, list[Holder]] = defaultdict(list)
        for run in list(self.held.values()):
            if run.give_up_at is None or now < run.give_up_at:
                for home, holder in run.permits:
                    permits[home].append(holder)
        return permits
