"""Tries what a user of the server may do: every command that the library sends, and whether replicas confirm a write.

All of it happens on the keys of a room beside a partition; who opens that room also empties it.
"""

from __future__ import annotations

from typing import Any, Final

from secure_queue.errors import ConfigurationError
from secure_queue.names import printable
from secure_queue.redis.dialing import REPLY_TIMEOUT, open_pool
from secure_queue.redis.informants import Informant
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Argument, Link
from secure_queue.redis.retrying import is_server_fault
from secure_queue.redis.scripts import load
from secure_queue.redis.topology import Standalone

PROBES: Final = 6
CONFIRM_MS: Final = 1000
_LISTENER: Final = "rights"


def probes(room: QueueKeys) -> list[bytes]:
    """The keys that the trial writes to."""
    return [room.result(b"probe-%d" % number) for number in range(PROBES)]


async def denied_commands(link: Link, room: QueueKeys, deadline: float) -> tuple[str, ...]:
    """The commands that this user may not call.

    Raises ``ConfigurationError`` if it may not run any script on these keys, and ``Unavailable``.
    """
    reply: Any = await link.run(load("rehearse"), probes(room), [room.done_channel(_LISTENER)], deadline)
    within_scripts = dict.fromkeys(printable(name).lower() for name in reply)
    return (*within_scripts, *await _denied_beside_scripts(link, room))


async def _denied_beside_scripts(link: Link, room: QueueKeys) -> list[str]:
    """What is sent without a script. A denied ``BZPOPMIN`` raises nothing elsewhere: idle workers would spin."""
    pattern = room.prefix + b"*"
    tries: list[tuple[Argument, ...]] = [("BZPOPMIN", room.wake, "0.01"), ("SCAN", 0, "MATCH", pattern), ("PING",)]
    denied = []
    for parts in tries:
        try:
            await link.command(*parts)
        except ConfigurationError:
            denied.append(str(parts[0]).lower())
    try:
        async with link.listen(room.done_channel(_LISTENER)):
            pass
    except ConfigurationError:
        denied.append("subscribe")
    return denied


async def confirmations(primary: Standalone, room: QueueKeys, replicas: int) -> tuple[int | None, int]:
    """How many replicas confirm a write if all are asked for, and if one more is; None if that cannot be tried.

    ``denied_commands`` must have run before, so that the server knows the script.
    """
    informant = Informant(primary, REPLY_TIMEOUT)  # WAIT counts for what the same connection has written
    script, count = load("rehearse"), str(PROBES)
    counted: list[int] = []
    try:
        async with open_pool(informant.pool):
            for wanted in (replicas, replicas + 1):
                await informant.ask("EVALSHA", script.sha, count, *probes(room), room.done_channel(_LISTENER))
                counted.append(await informant.ask("WAIT", str(wanted), str(CONFIRM_MS)))
    except Exception as error:
        if not is_server_fault(error):
            raise
        return None, 0
    return counted[0], counted[1]
