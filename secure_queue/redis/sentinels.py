"""Asks the sentinels who is primary: a majority must answer, and the youngest configuration among them counts.

The first sentinel that answers is not to be believed: one that was cut off still names a primary that has been replaced,
and what is written there is thrown away (HA.md, fact 6).
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple, Self

from coredis.exceptions import PrimaryNotFoundError, ResponseError, UnknownCommandError

from secure_queue.errors import TopologyError
from secure_queue.redis.following import Found, Unwatched
from secure_queue.redis.informants import Informant, Informants
from secure_queue.redis.topology import Sentinel, at


class _Answer(NamedTuple):
    """Epoch -1: this sentinel watches no such primary; *host* then lists those that it does watch."""

    epoch: int
    host: str
    port: int
    replicas: int


class SentinelLocator:
    """Finds the primary that sentinels watch."""

    def __init__(self, topology: Sentinel) -> None:
        self._topology = topology
        self._sentinels = Informants(topology.monitors, self._question)

    async def __aenter__(self) -> Self:
        await self._sentinels.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sentinels.__aexit__(kind, error, trace)

    async def locate(self) -> Found:
        answers, refused = await self._sentinels.hear()
        heard, asked = len(answers), len(self._sentinels)
        if refused == asked:
            raise Unwatched(f"0 of {asked} sentinels answer, all refuse connections{self._sentinels.because()}")
        if 2 * heard <= asked:
            raise PrimaryNotFoundError(
                f"{heard} of {asked} sentinels answer, a majority is needed{self._sentinels.because()}"
            )
        best = max(answers)
        if best.epoch < 0:
            raise TopologyError(
                f"the sentinels watch no primary named {self._topology.master!r}, but: {best.host or 'none'}; "
                "correct the name in the URL or sentinel_master="
            )
        return Found(at(self._topology.primary, best.host, best.port), best.replicas)

    async def _question(self, sentinel: Informant) -> _Answer:
        name = self._topology.master
        # During a failover this names the new primary earlier than the address in SENTINEL MASTER does.
        try:
            address = await sentinel.ask(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name)
        except UnknownCommandError as error:
            raise TopologyError(
                f"{sentinel.server} is no sentinel; name the sentinels, or use a redis:// URL for it"
            ) from error
        if address is None:
            masters = await sentinel.ask(b"SENTINEL", b"MASTERS")
            return _Answer(-1, ", ".join(sorted(_fields(one)[b"name"].decode() for one in masters)), 0, 0)
        try:
            facts = _fields(await sentinel.ask(b"SENTINEL", b"MASTER", name))
        except ResponseError as error:  # removed in between
            raise PrimaryNotFoundError(str(error)) from error
        return _Answer(
            int(facts[b"config-epoch"]), address[0].decode(), int(address[1]), int(facts.get(b"num-slaves", 0))
        )


def _fields(reply: Any) -> dict[bytes, bytes]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
