"""``Worker``: the front door, and the only place where settings become living objects.

One object declares tasks, enqueues them (``async with worker:``) and runs them (``run_async``), also both at once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta, tzinfo
from functools import partial
from typing import Any, Generic, Never, Self, cast

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from typing_extensions import TypeVar

from secure_queue.access import Access
from secure_queue.background import beside, to_its_end
from secure_queue.client import Client
from secure_queue.clock import monotonic
from secure_queue.composition import Composition
from secure_queue.control import Control, RunReport
from secure_queue.cron import moments_of
from secure_queue.declare import AnyTask
from secure_queue.durability import durability_policy
from secure_queue.errors import SecureQueueError
from secure_queue.execution.engine import Engine
from secure_queue.execution.shutdown import received_signals, signals_to_end
from secure_queue.frames import configured_without_frames
from secure_queue.keyring import auditor_of, codec_of, keys_for
from secure_queue.lifespan import begun, lifespan_of, made_by
from secure_queue.limits import Limit, limits_of
from secure_queue.other_names import OF_WORKERS, unknown
from secure_queue.partitions import Rota, generated_id
from secure_queue.payload.choice import choose_serializer
from secure_queue.payload.codec import Habits
from secure_queue.payload.failures import type_name
from secure_queue.payload.serializers import Serializer
from secure_queue.presence import PRODUCER, WORKER
from secure_queue.redis.clear_text import refuse_clear_text
from secure_queue.redis.groups import Node
from secure_queue.redis.host import Host
from secure_queue.redis.partitioned import RedisStorages
from secure_queue.redis.reach import reach_of
from secure_queue.redis.topology import Topology, is_private
from secure_queue.redis.urls import which_servers
from secure_queue.routing import Routes, open_routes
from secure_queue.settings import (
    DEFAULT_LIFETIME_S,
    DEFAULT_URL,
    environment,
    event_loop,
    exception_classes,
    limits_of_a_run,
    positive_seconds,
    queue_settings,
    worker_settings,
)
from secure_queue.steering import Steering
from secure_queue.tasks import running_worker

C = TypeVar("C", default=Any)

Duration = float | timedelta
Hooks = Callable[..., object] | Sequence[Callable[..., object]]


class Worker(Control, Steering, Access, Generic[C]):
    """A queue, the tasks that are known to it, and the means to enqueue and to run them.

    Durations are in seconds or timedeltas. Raises ``ConfigurationError`` (``KeyRingError``, ``TopologyError``) at once
    for anything that cannot work: a bad URL, a missing or weak secret, a name with a hostile character.
    """

    @configured_without_frames
    def __init__(
        self,
        redis_url: str | None = None,
        *,
        redis_pool: object = None,
        redis_kwargs: Mapping[str, Any] | None = None,
        sentinel_nodes: Sequence[Node] | None = None,
        sentinel_master: str | None = None,
        sentinel_kwargs: Mapping[str, Any] | None = None,
        cluster_nodes: Sequence[Node] | None = None,
        concurrency: int = 16,
        sync_concurrency: int | None = None,
        process_concurrency: int | None = None,
        queue_name: str = "default",
        partitions: int = 1,
        priorities: Sequence[str] | None = None,
        default_priority: str | None = None,
        prefetch: int | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[C]] | None = None,
        serializer: Serializer | str | Callable[[Any], Any] = "msgpack",
        deserializer: Callable[[Any], Any] | None = None,
        handle_signals: bool | Iterable[int] = True,
        signing_secret: str | bytes | Sequence[str | bytes] | None = None,
        idle_timeout: Duration = 60,
        grace_period: Duration = 25,
        anyio_backend: str = "asyncio",
        anyio_kwargs: Mapping[str, Any] | None = None,
        known_errors: Sequence[type[Exception]] = (),
        redact_failures: bool = True,
        encrypt: bool = False,
        require_encryption: bool = False,
        require_tls: bool = False,
        compress: bool = False,
        expire: Duration = DEFAULT_LIFETIME_S,
        tz: str | tzinfo | None = None,
        id: str | None = None,
        routers: Sequence[Composition | str] = (),
        tasks: Sequence[Callable[..., Any] | AnyTask | str] = (),
        before_process: Hooks = (),
        after_process: Hooks = (),
        startup: Hooks = (),
        shutdown: Hooks = (),
        messages_limit: int | None = None,
        memory_limit: int | None = None,
        durability: str | None = None,
        replicas: int | None = None,
        on_degraded: str | None = None,
        degrade_after: Duration = 5,
        deadline: Duration = 20,
        limits: Limit | Sequence[Limit] = (),
        ageing: Duration | None = None,
        health_crontab: str | None = None,
        **others: Never,
    ) -> None:
        if others:
            raise unknown("Worker", others, OF_WORKERS)
        super().__init__()
        self.read_zone(tz)
        self.default_expire_s = positive_seconds("expire", expire)
        found = environment()
        self._topology = which_servers(
            redis_url,
            redis_kwargs,
            sentinel_nodes=sentinel_nodes,
            sentinel_master=sentinel_master,
            sentinel_kwargs=sentinel_kwargs,
            cluster_nodes=cluster_nodes,
            redis_pool=redis_pool,
            default_url=found.url or DEFAULT_URL,
        )
        refuse_clear_text(self._topology, require_tls)
        self._queue = queue_settings(queue_name, priorities, partitions, ageing, default_priority)
        sizes = concurrency, sync_concurrency, prefetch, idle_timeout, grace_period, process_concurrency
        to_end = signals_to_end(handle_signals)
        self._settings = worker_settings(
            id, *sizes, handle_signals=to_end, redact_failures=redact_failures, limits=limits_of(limits)
        )
        self.queue_limits = self._settings.limits
        self.messages_limit, self.memory_limit = limits_of_a_run(messages_limit, memory_limit)
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
        self._lifespan: Callable[[], AbstractAsyncContextManager[C]] = lifespan_of(lifespan)
        self._context: list[C] = []
        self._host, self._health_rule = Host(self._topology), moments_of(health_crontab, self.tz)
        self.anyio_backend, self.anyio_kwargs = event_loop(anyio_backend, anyio_kwargs)
        self.compose(routers, tasks)
        self.surround(before_process, after_process, startup, shutdown)

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

    def serves(self, queue: str | None) -> bool:
        """Whether tasks that belong to *queue* (None: to any) are tasks of this worker object."""
        return queue in (None, self.queue_name)

    def has_queue_of(self, other: Worker[Any]) -> bool:
        """Whether *other* works on the very queue of this one."""
        alike = self.queue_name == other.queue_name and self._topology == other._topology
        return alike and not is_private(self._topology)

    @property
    def partitions(self) -> int:
        """Over how many partitions this worker spreads what it enqueues."""
        return self._queue.partitions

    @property
    def context(self) -> C:
        """What ``lifespan`` yielded; raises ``SecureQueueError`` while this worker does not run tasks.

        Of a worker that is included in another one it is the context of that one.
        """
        if not self._context and self.includers:
            return cast("C", cast("Worker[Any]", self.worker()).context)
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
            beside(*self._told_and_looked_at(storages.at(0).evidence(), role, self.registry)),
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
        async with self._host.open_links(topology, deadline=deadline_s) as links, beside() as group:
            yield RedisStorages(
                links, self._queue, group, settle_s=lease_s, deadline_s=deadline_s, counters=self._storage_counters
            )

    def _client(self) -> Client:
        clients = self._clients.get(threading.get_ident())
        if not clients and self.includers:
            return cast("Worker[Any]", self.worker())._client()
        if not clients:
            raise SecureQueueError("this worker is not open here; do it inside `async with worker:` or inside a task")
        return clients[0]  # the one that lives longest: the running side must not take a producer's waiters down

    def generated_id(self, jti: bytes) -> str:
        """The id of a handle that was given none."""
        if self._queue.partitions == 1:
            return generated_id(jti, 0)
        clients = self._clients.get(threading.get_ident())
        return self._rota.next_id(jti, monotonic(), clients[0].routes.is_in_trouble if clients else None)

    def _priorities(self) -> tuple[str, ...]:
        return self._queue.priorities

    # The running side

    async def run_async(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> RunReport:
        """Run tasks until a signal, ``drain`` or ``stop``, a limit that was set, or the end of a burst.

        ``await group.start(worker.run_async)`` returns when the worker is ready, so that a ``stop`` after it is heard.
        When the surrounding task is cancelled, running tasks are cancelled and handed back first, so that nothing waits
        for a lease to run out.
        """
        if self._is_running:
            raise SecureQueueError("this worker object runs tasks already; use another one, or a higher concurrency")
        self._is_running, self._has_done_enough = True, False
        try:
            with self._live_keys.that_pass(self._codec.check_answers), ExitStack() as handlers:
                await to_its_end(partial(self._run, handlers, task_status), self.stop)
        finally:
            self._is_running, self._asked = False, 0  # what was asked of this run is not asked of the next
        return RunReport(self.processed, self._has_done_enough)

    async def _run(self, handlers: ExitStack, ready: TaskStatus[None], scope: anyio.CancelScope) -> None:
        self.import_tasks()
        self.plan_all()
        running_worker.set(self)  # in the context of this run alone
        async with self._host as topology, self._connected(WORKER) as storages, self._lived():
            scope.shield = True  # from here on a cancellation is an order to wind down
            engine = self._engine = Engine(
                storages,
                lambda: self._open_storages(topology),
                self._codec,
                self.registry,
                self._queue,
                self._run_settings(),
                self.declared_schedules,
                burst=self.burst,
                signals=handlers.enter_context(received_signals(self._settings.handle_signals, self.reads_keys_again)),
                on_hangup=self._live_keys.look,
                journal=self._journal(storages.at(0).evidence()),
                when_stuck=self.when_stuck,
                assurance=self._durability.assurance(None),
                most_tasks=self.messages_limit,
                most_mib=self.memory_limit,
                share=self.share,
            )
            self._counters = engine.desk.counters
            engine.ask(self._asked)
            ready.started()
            try:
                await to_its_end(partial(_shielded, engine), self.stop)  # also when the lifespan itself is cancelled
            finally:
                self.left_behind, self._has_done_enough = engine.left_behind, engine.has_done_enough
                self._engine = None
                if self.share is not None:
                    self.share.leave()

    @asynccontextmanager
    async def _lived(self) -> AsyncIterator[None]:
        """What the application keeps open and does around a run."""
        startup, shutdown = self.all_hooks()
        async with made_by(self._lifespan) as context:
            self._context.append(context)
            try:
                async with begun(startup, shutdown, self.state):
                    yield
            finally:
                self._context.pop()


async def _shielded(engine: Engine, scope: anyio.CancelScope) -> None:
    scope.shield = True
    await engine.run()
