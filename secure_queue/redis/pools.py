"""Connection pools that never lose a slot.

coredis 6.9 gives a slot back only when the connection that held it is still usable: each cancelled blocking call, each
killed connection and each cancelled or failed connect costs one for ever, and a cancelled waiter swallows the next
wake-up. ``SafePoolMixin`` repairs both for any pool with one queue of connections, so that other topologies can use it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Generic

from anyio import TASK_STATUS_IGNORED, CancelScope, Event, fail_after
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint_if_cancelled
from coredis._concurrency import Queue, QueueFull
from coredis.connection import BaseConnection
from coredis.connection._base import ConnectionT
from coredis.exceptions import ConnectionError, RedisError
from coredis.pool import ConnectionPool

from secure_queue.errors import Unavailable


class SafeQueue(Queue[ConnectionT], Generic[ConnectionT]):
    """A stack of free slots (a connection or None) whose cancelled waiters leave no trace."""

    async def get(self) -> ConnectionT | None:
        while self.empty():
            await self._wait()
        return self._queue.pop()

    async def _wait(self) -> None:
        event = Event()
        self._getters.append(event)
        try:
            await event.wait()
        except BaseException:
            self._forget(event)
            raise

    def _forget(self, event: Event) -> None:
        if event in self._getters:
            self._getters.remove(event)
        elif self._getters and not self.empty():  # this waiter was woken and cannot take the slot: wake the next one
            self._getters.popleft().set()


if TYPE_CHECKING:
    _Base = ConnectionPool
else:

    class _Base(Generic[ConnectionT]):
        pass


class SafePoolMixin(_Base[ConnectionT]):
    """Gives every slot back exactly once, whatever happens to the connection or to the task that holds it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._available_connections: SafeQueue[ConnectionT] = SafeQueue(self.max_connections)
        self._calm_at: dict[ConnectionT, float] = {}  # when a lease last found a connection without waiting requests
        self._lives: dict[ConnectionT, CancelScope] = {}
        self.before_opening: Callable[[], Awaitable[None]] | None = None
        """Called before each connect: where the server is may have to be found out first."""
        self.when_opening: Callable[[ConnectionT], Awaitable[None]] | None = None
        """Called with each connection before it serves anybody."""

    def live_in(self, group: TaskGroup) -> None:
        """Open the pool in *group*, from any task, instead of entering it; its connections end with the group."""
        self._task_group = group

    def lease_nowait(self) -> ConnectionT | None:
        """A free, healthy, open connection, without waiting and without connecting; None if there is none."""
        queue = self._available_connections
        while not queue.empty():
            connection = queue.get_nowait()
            if connection is not None and self._fit(connection):
                self.statistics.connection_leased(connection)
                return connection
            self._discard(connection)
            if connection is None:  # free slots without a connection lie below: all of them are
                return None
        return None

    async def get_connection(self, **_: Any) -> ConnectionT:
        """Lease a connection, opened now if no open one is free; TimeoutError after the pool's timeout."""
        with fail_after(self.timeout):
            connection = await self._available_connections.get()
            if connection is None or not self._fit(connection):
                if connection is not None:
                    connection.invalidate()
                connection = await self._open()
        self.statistics.connection_leased(connection)
        return connection

    async def lease(self, end: float) -> ConnectionT:
        """``get_connection`` until *end* (monotonic seconds) at the latest; TimeoutError then."""
        with fail_after(max(end - monotonic(), 0)):
            return await self.get_connection()

    @contextlib.asynccontextmanager
    async def alone(self, end: float) -> AsyncIterator[ConnectionT]:
        """Lease a connection that serves nobody else meanwhile, and close it if the body is left without an answer.

        Else the server would go on blocking, and run for nobody what was sent behind.
        """
        connection = self.lease_nowait() or await self.lease(end)
        settled = False
        try:
            yield connection
            settled = True
        except RedisError:
            settled = True  # an answer too, or the connection is closed already
            raise
        finally:
            if not settled:
                connection.invalidate()
            self.release(connection)

    def release(self, connection: ConnectionT) -> None:
        """Give the slot back, with its connection if that is still good."""
        self.statistics.connection_released(connection)
        with contextlib.suppress(QueueFull):
            if connection.usable:
                self._available_connections.put_nowait(connection)
            else:
                self._available_connections.append_nowait(None)

    def disconnect(self) -> None:
        """Drop all connections, those that are being opened too; leases end with an error, slots come back on release."""
        for connection, life in list(self._lives.items()):
            connection.invalidate()
            life.cancel()
        self._online_connections.clear()

    def _discard(self, connection: ConnectionT | None) -> None:
        if connection is not None:
            connection.invalidate()
        self._available_connections.append_nowait(None)

    def _fit(self, connection: ConnectionT) -> bool:
        """Whether *connection* can serve another request: open, empty, and not silent while requests wait on it.

        A caller that gives up before its reply is overdue leaves a hung connection in the pool, and nothing in coredis
        drops it (fact 4) but ``max_idle_time``, which also closes healthy idle ones. So each lease looks.
        """
        if not connection.reusable:
            return False
        now, timeout = perf_counter(), connection._stream_timeout
        if connection.statistics.requests_pending <= 0:
            self._calm_at[connection] = now
            return True
        heard_at = max(connection.statistics.last_byte_received_at, self._calm_at[connection])
        return timeout is None or now - heard_at <= timeout

    async def _open(self) -> ConnectionT:
        """Open a connection for a slot that was just taken; the slot goes back if that fails or is cancelled."""
        connection: ConnectionT | None = None
        opened = False
        try:
            if self.before_opening is not None:
                await self.before_opening()
            connection = await self._construct_connection()
            if self.when_opening is not None:
                connection.register_connect_callback(self.when_opening)
            if error := await self._running_group().start(self._serve, connection):
                await checkpoint_if_cancelled()  # coredis makes a ConnectionError of a cancelled handshake
                raise error
            opened = True
        finally:
            if not opened:
                self._available_connections.append_nowait(None)
                _close_buffers(connection)
        self.statistics.connection_created(connection)
        return connection

    def _running_group(self) -> TaskGroup:
        try:
            return self.task_group
        except RuntimeError:  # left while this call waited for its turn
            raise Unavailable("the connection was closed before the call was confirmed") from None

    async def _serve(
        self, connection: ConnectionT, *, task_status: TaskStatus[Exception | None] = TASK_STATUS_IGNORED
    ) -> None:
        """Run the connection in the pool's task group; whatever ends it must not end its neighbours."""
        self._online_connections.add(connection)
        self._calm_at[connection] = perf_counter()
        problem: RedisError = ConnectionError("dropped while it was opened")
        try:
            with CancelScope() as self._lives[connection]:
                await connection.run(task_status=task_status)
        except RedisError as error:
            problem = error
        finally:
            self._online_connections.discard(connection)
            self._calm_at.pop(connection, None)
            self._lives.pop(connection, None)
            if connection in self._available_connections:
                self._available_connections.remove(connection)
                self._available_connections.append_nowait(None)
        with contextlib.suppress(RuntimeError):  # "started twice": it had been opened before
            task_status.started(problem)


class SafePool(SafePoolMixin[ConnectionT], ConnectionPool[ConnectionT]):
    """The pool of one server."""


def _close_buffers(connection: BaseConnection | None) -> None:
    """Close what coredis closes only for a connection that was once open; anyio warns of each that is left open."""
    if connection is None:
        return
    connection._write_buffer_in.close()
    connection._write_buffer_out.close()
    connection._push_message_buffer_in.close()
    connection._push_message_buffer_out.close()
    connection._streamed_message_buffer_in.close()
    connection._streamed_message_buffer_out.close()
