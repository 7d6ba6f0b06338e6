"""One server for all links of one worker object, in whatever order they are opened and closed."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack

import anyio

from secure_queue.errors import ConfigurationError
from secure_queue.redis.connect import hosted
from secure_queue.redis.topology import Embedded, Memory, Topology


class Host:
    """Starts what a topology describes when the first user enters, and ends it when the last one leaves.

    Each thread, with its event loop, has a room of its own here: what a loop opened ends with it at the latest.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._rooms: dict[int, _Room] = {}

    async def __aenter__(self) -> Topology:
        room = self._rooms.setdefault(threading.get_ident(), _Room())
        if len(self._rooms) > 1 and _is_private(self._topology):
            del self._rooms[threading.get_ident()]
            raise ConfigurationError(
                f"{self._topology} belongs to the thread that opened it first; "
                "for several, name what they share: embedded:///folder or memory://name"
            )
        async with room.door:
            if room.users == 0:
                room.place = await room.stack.enter_async_context(hosted(self._topology))
            room.users += 1
            return room.place

    async def __aexit__(self, *_: object) -> None:
        room = self._rooms[threading.get_ident()]
        with anyio.CancelScope(shield=True):
            async with room.door:
                room.users -= 1
                if room.users == 0:
                    await room.stack.aclose()
                if room.users == 0 and not room.door.statistics().tasks_waiting:
                    del self._rooms[threading.get_ident()]


class _Room:
    """The users of one thread."""

    place: Topology

    def __init__(self) -> None:
        self.users = 0
        self.stack = AsyncExitStack()
        self.door = anyio.Lock()


def _is_private(topology: Topology) -> bool:
    return topology == Memory("") or (isinstance(topology, Embedded) and topology.folder is None)
