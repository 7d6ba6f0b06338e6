"""One server for all links of one worker object, in whatever order they are opened and closed."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio

from secure_queue.redis.connect import hosted
from secure_queue.redis.topology import Topology


class Host:
    """Starts what a topology describes when the first user enters, and ends it when the last one leaves."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._users = 0
        self._stack = AsyncExitStack()
        self._place: Topology = topology
        self._door = anyio.Lock()

    async def __aenter__(self) -> Topology:
        async with self._door:
            if self._users == 0:
                self._place = await self._stack.enter_async_context(hosted(self._topology))
            self._users += 1
            return self._place

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            async with self._door:
                self._users -= 1
                if self._users == 0:
                    await self._stack.aclose()
