"""What the storage needs of a server: run a script, send a plain command, wait for a wake-up, listen to a channel.

Two links exist: one over coredis (``connect.py``) and one inside the process (``memory.py``). Whatever goes wrong below
a link leaves it as an error of ``errors.py``: ``Unavailable`` when a transient fault outlasted the deadline,
``Backpressure`` when the server is out of memory, ``WrongType`` when a key holds something else than its structure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, TypeAlias, cast

from secure_queue.durability import Assurance, Durability
from secure_queue.errors import ServerError
from secure_queue.redis.scripts import Script

Argument: TypeAlias = bytes | int | str
# Scripts answer in the types of RESP2, whatever the connection speaks; commands used through `command` are chosen so too.
Reply: TypeAlias = "bytes | int | list[Reply] | None"


class Woken(NamedTuple):
    """What came of a wait: the marker that ended it, None if its time was over, and what the script has answered."""

    marker: bytes | None
    reply: Reply


def flags(reply: Reply) -> list[bool]:
    """The answer of a script that says "1" or something else for each item."""
    return [character == ord("1") for character in cast("bytes", reply)]


class WrongType(ServerError):
    """A key of the queue holds another Redis type than its structure; the storage moves it aside and tries again."""


class NotConfirmed(ServerError):
    """A write has too few copies yet, or who answered is not known to be the primary; doing it again may cure that."""


class Link(Protocol):
    """An open connection set to the server that holds a partition of a queue."""

    @property
    def in_trouble(self) -> bool:
        """Whether the last that was heard from the server is a fault."""
        ...

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        """Run an idempotent script, repeated over transient faults for at most *deadline* seconds.

        Raises ``Unavailable``, ``Backpressure`` or ``WrongType``.
        """
        ...

    async def run_assured(
        self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float, assurance: Assurance
    ) -> tuple[Reply, Durability]:
        """Run a script that writes, even when it is repeated, until *assurance* holds; say which level does.

        That is the wanted one, or ``PRIMARY`` if the shortage lasts and *assurance* puts up with it. Raises as ``run``
        does, and ``ConfigurationError`` where the server cannot give what is wanted.
        """
        ...

    async def command(self, *parts: Argument) -> Reply:
        """Send one idempotent, non-blocking command under the same rules, with the link's own default deadline."""
        ...

    async def run_when_woken(
        self, key: bytes, timeout: float, script: Script, keys: Sequence[bytes], args: Sequence[Argument]
    ) -> Woken | None:
        """Block on the marker zset *key* for at most *timeout* seconds, then run *script* without another round trip.

        The script runs whether a marker was taken or not; it must be one that may be repeated. None, after a short
        back-off, says that there was trouble and that its outcome is unknown, and that of a marker; so it is if this call
        is cancelled. A fault of the server is never raised.
        """
        ...

    def listen(self, channel: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Subscribe to *channel*; the subscription is confirmed on entry.

        The iterator yields raw messages and raises ``Unavailable`` when the subscription is lost.
        """
        ...

    def on_new_history(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever what was acknowledged last may be missing: another primary, or a restarted one."""
        ...
