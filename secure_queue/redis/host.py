"""One server for all links of one worker object, in whatever order they are opened and closed."""

from __future__ import annotations

import threading
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import anyio

from secure_queue.errors import ConfigurationError
from secure_queue.redis.connect import USUAL, LinkKinds, Links, hosted, open_links
from secure_queue.redis.topology import Embedded, Memory, Topology


class Host:
    """Starts what a topology describes when the first user enters, and ends it when the last one leaves.

    Each thread, with its event loop, has a room of its own here: what a loop opened ends with it at the latest.
    """

    def __init__(self, topology: Topology, kinds: LinkKinds = USUAL) -> None:
        self._topology = topology
        self._kinds = kinds
        self._rooms: dict[int, _Room] = {}
        self._look = threading.Lock()

    async def __aenter__(self) -> Topology:
        room = self._room()
        async with room.door:
            try:
                if room.users == 0:
                    room.place = await room.stack.enter_async_context(hosted(self._topology))
                room.users += 1
            finally:
                self._clear(room)
            return room.place

    async def __aexit__(self, *_: object) -> None:
        room = self._rooms[threading.get_ident()]
        with anyio.CancelScope(shield=True):
            async with room.door:
                room.users -= 1
                try:
                    if room.users == 0:
                        await room.stack.aclose()
                finally:
                    self._clear(room)

    def open_links(self, place: Topology, *, deadline: float) -> AbstractAsyncContextManager[Links]:
        """Open the links to *place*, which is what entering has given."""
        return open_links(place, deadline=deadline, kinds=self._kinds)

    def _room(self) -> _Room:
        """The room of this thread; raises ``ConfigurationError`` if there can be no second one."""
        thread = threading.get_ident()
        with self._look:
            if _is_private(self._topology) and self._rooms.keys() - {thread}:
                raise ConfigurationError(
                    f"{self._topology} belongs to the thread that opened it first; "
                    "for several, name what they share: embedded:///folder or memory://name"
                )
            return self._rooms.setdefault(thread, _Room())

    def _clear(self, room: _Room) -> None:
        """Forget an empty room that nobody waits to enter."""
        if room.users == 0 and not room.door.statistics().tasks_waiting:
            with self._look:
                self._rooms.pop(threading.get_ident(), None)


class _Room:
    """The users of one thread."""

    place: Topology

    def __init__(self) -> None:
        self.users = 0
        self.stack = AsyncExitStack()
        self.door = anyio.Lock()


def _is_private(topology: Topology) -> bool:
    return topology == Memory("") or (isinstance(topology, Embedded) and topology.folder is None)
