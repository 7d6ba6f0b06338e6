"""``Worker``: the front door, and the only place where settings become living objects.

One object declares tasks, enqueues them (``async with worker:``) and runs them (``run_async``), also both at once.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta, tzinfo
from functools import partial
from typing import Any, Generic, Self, cast

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from typing_extensions import TypeVar

from secure_queue.access import Access
from secure_queue.background import beside, to_its_end
from secure_queue.client import Client
from secure_queue.clock import monotonic
from secure_queue.collector import calm_collector
from secure_queue.cron import zone_name
from secure_queue.durability import durability_policy
from secure_queue.errors import SecureQueueError
from secure_queue.execution.engine import DRAIN, STOP, Engine
from secure_queue.execution.shutdown import received_signals
from secure_queue.frames import configured_without_frames
from secure_queue.keyring import auditor_of, codec_of, keys_for
from secure_queue.lifespan import made_by, no_lifespan
from secure_queue.oversight import Oversight
from secure_queue.partitions import Rota
from secure_queue.payload.choice import choose_serializer
from secure_queue.payload.codec import Habits
from secure_queue.payload.failures import type_name
from secure_queue.payload.serializers import Serializer
from secure_queue.presence import PRODUCER, WORKER
from secure_queue.redis.connect import open_links
from secure_queue.redis.groups import Node
from secure_queue.redis.host import Host
from secure_queue.redis.partitioned import RedisStorages
from secure_queue.redis.reach import reach_of
from secure_queue.redis.topology import Topology
from secure_queue.redis.urls import which_servers
from secure_queue.routing import Routes, open_routes
from secure_queue.settings import (
    DEFAULT_LIFETIME_S,
    DEFAULT_URL,
    environment,
    exception_classes,
    positive_seconds,
    queue_settings,
    with_concurrency,
    worker_settings,
)

C = TypeVar("C", default=None)

Duration = float | timedelta


class Worker(Access, Oversight, Generic[C]):
    """A queue, the tasks that are known to it, and the means to enqueue and to run them.

    Durations are in seconds or timedeltas. Raises ``ConfigurationError`` (``KeyRingError``, ``TopologyError``) at once
    for anything that cannot work: a bad URL, a missing or weak secret, a name with a hostile character.
    """

    when_stuck: Callable[[], None] = staticmethod(lambda: None)
    """Called at the end when tasks ignore their cancellation; the command line ends the process then."""
    left_behind: int = 0
    """How many sync tasks outlived the last run in their threads; a process ends only after they have ended."""
    burst: bool = False
    """Whether ``run_async`` ends when the queue is empty; the command line sets it for ``--burst``."""
    announces: bool = True
    """Whether ``keys status`` shows this process; the command line, which only asks, does not want to be shown."""

    _producer: AsyncExitStack | None = None
    _engine: Engine | None = None
    _is_running: bool = False
    _asked: int = 0

    @configured_without_frames
    def __init__(
        self,
        redis_url: str | None = None,
        *,
        redis_kwargs: Mapping[str, Any] | None = None,
        sentinel_nodes: Sequence[Node] | None = None,
        sentinel_master: str | None = None,
        sentinel_kwargs: Mapping[str, Any] | None = None,
        cluster_nodes: Sequence[Node] | None = None,
        concurrency: int = 16,
        sync_concurrency: int | None = None,
        queue_name: str = "default",
        partitions: int = 1,
        priorities: Sequence[str] | None = None,
        prefetch: int | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[C]] | None = None,
        serializer: Serializer | str | Callable[[Any], Any] = "msgpack",
        deserializer: Callable[[Any], Any] | None = None,
        handle_signals: bool = True,
        signing_secret: str | bytes | Sequence[str | bytes] | None = None,
        idle_timeout: Duration = 60,
        grace_period: Duration = 25,
        anyio_backend: str = "asyncio",
        anyio_kwargs: Mapping[str, Any] | None = None,
        known_errors: Sequence[type[Exception]] = (),
        redact_failures: bool = True,
        encrypt: bool = False,
        require_encryption: bool = False,
        compress: bool = False,
        expire: Duration = DEFAULT_LIFETIME_S,
        tz: str | tzinfo = "UTC",
        id: str | None = None,
        durability: str | None = None,
        replicas: int | None = None,
        on_degraded: str | None = None,
        degrade_after: Duration = 5,
        deadline: Duration = 20,
    ) -> None:
        super().__init__()
        self.tz, self.default_expire_s = zone_name(tz), positive_seconds("expire", expire)
        found = environment()
        self._topology = which_servers(
            redis_url,
            redis_kwargs or {},
            sentinel_nodes=sentinel_nodes,
            sentinel_master=sentinel_master,
            sentinel_kwargs=sentinel_kwargs or {},
            cluster_nodes=cluster_nodes,
            default_url=found.url or DEFAULT_URL,
        )
        self._queue = queue_settings(queue_name, priorities, partitions)
        self._settings = worker_settings(
            id,
            concurrency,
            sync_concurrency,
            prefetch,
            idle_timeout,
            grace_period,
            handle_signals=handle_signals,
            redact_failures=redact_failures,
        )
        self._durability = durability_policy(
            reach_of(self._topology, replicas),
            durability=durability,
            replicas=replicas,
            on_degraded=on_degraded,
            degrade_after=degrade_after,
            deadline=deadline,
        )
        self._live_keys, self._audit_key = keys_for(self._topology, signing_secret, found), auditor_of(found)
        habits = Habits(encrypt, compress, max(1, round(self.default_expire_s)), require_encryption)
        self._codec = codec_of(self._live_keys, self.queue_name, choose_serializer(serializer, deserializer), habits)
        self._rota = Rota(partitions, int.from_bytes(os.urandom(2)))
        self._known_errors = {type_name(error): error for error in exception_classes("known_errors", known_errors)}
        self._lifespan = cast("Callable[[], AbstractAsyncContextManager[C]]", lifespan or no_lifespan)
        self._context: list[C] = []
        self._host = Host(self._topology)
        self._clients: dict[int, list[Client]] = {}
        self._counters: Counter[str] = Counter()
        self._storage_counters: Counter[str] = Counter()
        self.anyio_backend = anyio_backend
        self.anyio_kwargs = dict(anyio_kwargs or {})

    def __repr__(self) -> str:
        return f"<Worker {self.id} of queue {self.queue_name} at {self._topology}>"

    @property
    def id(self) -> str:
        """The name of this worker, unique in its queue."""
        return self._settings.worker_id

    @property
    def queue_name(self) -> str:
        """The plain name of the queue."""
        return self._queue.queue_name

    @property
    def partitions(self) -> int:
        """Over how many partitions this worker spreads what it enqueues."""
        return self._queue.partitions

    @property
    def context(self) -> C:
        """What ``lifespan`` yielded; raises ``SecureQueueError`` while this worker does not run tasks."""
        if not self._context:
            raise SecureQueueError("the context exists only while the worker runs tasks (run_async), not for producers")
        return self._context[-1]

    # The producer's side

    async def __aenter__(self) -> Self:
        if self._producer is not None:
            raise SecureQueueError("this worker is entered already; one `async with worker:` at a time is enough")
        self._producer = AsyncExitStack()
        try:
            await self._producer.enter_async_context(self._connected(PRODUCER))
        except BaseException:
            self._producer = None
            raise
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        producer, self._producer = self._producer, None
        return await producer.__aexit__(*error) if producer is not None else None

    @asynccontextmanager
    async def _connected(self, role: str) -> AsyncIterator[RedisStorages]:
        """Links and a client of its own for the time of the context."""
        clients = self._clients.setdefault(threading.get_ident(), [])
        async with (
            self._host as topology,
            self._open_storages(topology) as storages,
            open_routes(Routes(storages, self._queue.partitions, self._durability)) as routes,
            beside(*self._told_and_looked_at(storages.at(0).evidence(), role)),
        ):
            client = Client(routes, self._codec, self._queue, self._known_errors)
            clients.append(client)
            try:
                yield storages
            finally:
                clients.remove(client)

    @asynccontextmanager
    async def _open_storages(self, topology: Topology) -> AsyncIterator[RedisStorages]:
        deadline_s, lease_s = self._durability.deadline_s, self._settings.idle_timeout_s
        async with open_links(topology, deadline=deadline_s) as links, beside() as group:
            yield RedisStorages(
                links, self._queue, group, settle_s=lease_s, deadline_s=deadline_s, counters=self._storage_counters
            )

    def _client(self) -> Client:
        clients = self._clients.get(threading.get_ident())
        if not clients:
            raise SecureQueueError("this worker is not open here; do it inside `async with worker:` or inside a task")
        return clients[0]  # the one that lives longest: the running side must not take a producer's waiters down

    def generated_id(self, jti: bytes) -> str:
        """The id of a handle that was given none."""
        clients = self._clients.get(threading.get_ident())
        return self._rota.next_id(jti, monotonic(), clients[0].routes.is_in_trouble if clients else None)

    def _priorities(self) -> tuple[str, ...]:
        return self._queue.priorities

    # The running side

    @property
    def concurrency(self) -> int:
        """How many tasks run at once; a change counts from the next ``run_async`` on."""
        return self._settings.concurrency

    @concurrency.setter
    def concurrency(self, seats: int) -> None:
        self._settings = with_concurrency(self._settings, seats)

    def run_sync(self) -> None:
        """Run tasks until a signal (or the end of a burst); blocks. Uses ``anyio_backend`` and ``anyio_kwargs``.

        In the main thread it takes the process for its own: the garbage collector leaves out what was there before.
        """
        with calm_collector():
            anyio.run(self.run_async, backend=self.anyio_backend, backend_options=self.anyio_kwargs)

    async def run_async(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Run tasks until a signal, ``drain`` or ``stop``, or the end of a burst.

        ``await group.start(worker.run_async)`` returns when the worker is ready, so that a ``stop`` after it is heard.
        When the surrounding task is cancelled, running tasks are cancelled and handed back first, so that nothing waits
        for a lease to run out.
        """
        if self._is_running:
            raise SecureQueueError("this worker object runs tasks already; use another one, or a higher concurrency")
        self._is_running = True
        try:
            with self._live_keys.that_pass(self._codec.check_answers), ExitStack() as handlers:
                await to_its_end(partial(self._run, handlers, task_status), self.stop)
        finally:
            self._is_running, self._asked = False, 0  # what was asked of this run is not asked of the next

    async def _run(self, handlers: ExitStack, ready: TaskStatus[None], scope: anyio.CancelScope) -> None:
        async with self._host as topology, self._connected(WORKER) as storages, made_by(self._lifespan) as context:
            scope.shield = True  # from here on a cancellation is an order to wind down
            engine = self._engine = Engine(
                storages,
                lambda: self._open_storages(topology),
                self._codec,
                self.registry,
                self._queue,
                self._settings,
                self.declared_schedules,
                burst=self.burst,
                signals=handlers.enter_context(received_signals(self._settings.handle_signals, self.reads_keys_again)),
                on_hangup=self._live_keys.look,
                journal=self._journal(storages.at(0).evidence()),
                when_stuck=self.when_stuck,
                assurance=self._durability.assurance(None),
            )
            self._counters = engine.desk.counters
            self._context.append(context)
            engine.ask(self._asked)
            ready.started()
            try:
                await to_its_end(partial(_shielded, engine), self.stop)  # also when the lifespan itself is cancelled
            finally:
                self.left_behind = engine.left_behind
                self._context.pop()
                self._engine = None

    def drain(self) -> None:
        """Ask a running worker to stop in peace: running tasks have their ``grace_period``, the others are handed back.

        From any thread; from another one than the worker's it takes up to a quarter of a second.
        """
        self._ask(DRAIN)

    def stop(self) -> None:
        """Ask a running worker to stop now: running tasks are cancelled and handed back without using a try."""
        self._ask(STOP)

    def _ask(self, wish: int) -> None:
        if not self._is_running:
            return
        self._asked = max(self._asked, wish)
        engine = self._engine
        if engine is not None:
            engine.ask(wish)

    @property
    def counters(self) -> Mapping[str, int]:
        """What was done so far: completed, failed, retried, aborted, quarantined, degraded, replayed, and so on."""
        return self._counters + self._storage_counters


async def _shielded(engine: Engine, scope: anyio.CancelScope) -> None:
    scope.shield = True
    await engine.run()
