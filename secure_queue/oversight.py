"""Everything that operators and auditors ask a worker object: what is stored, who lives, what was put aside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from secure_queue.audit.classify import Classifier
from secure_queue.audit.findings import Finding
from secure_queue.audit.report import AuditReport, collect
from secure_queue.audit.reseal import Resealer
from secure_queue.audit.scan import scan
from secure_queue.client import Client
from secure_queue.keyring import LiveKeys
from secure_queue.payload.codec import Codec
from secure_queue.payload.keys import KeyRing
from secure_queue.presence import Process, living
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.roles import PASSWORD, Dialect, Role, rule
from secure_queue.redis.topology import Cluster, Topology


class Oversight(ABC):
    """The part of a worker object that looks at the queue from outside; open it first (``async with worker:``)."""

    _live_keys: LiveKeys
    _codec: Codec
    _keys: QueueKeys
    _topology: Topology

    @abstractmethod
    def _client(self) -> Client: ...

    @property
    @abstractmethod
    def queue_name(self) -> str: ...

    async def audit(
        self, *, rate: float = 0, since_ms: int | None = None, on_finding: Callable[[Finding], object] | None = None
    ) -> AuditReport:
        """Classify everything that the queue holds, at most *rate* places a second, without deserializing any of it.

        With *since_ms*, genuine payloads that were sealed before that moment are passed over. *on_finding* is called for
        each place, good or bad. Raises ``Unavailable`` if the server does not answer.
        """
        ring = self._live_keys.ring
        storage = self._client().storage
        classifier = Classifier(ring, self.queue_name, self._codec.serializer)
        report = AuditReport.of(self.queue_name, ring, since_ms=since_ms)
        await collect(scan([storage.scannable()], classifier, rate), report, on_finding)
        report.judge_keys(await self.processes())
        return report

    async def reseal(self, *, rate: float = 0, on_step: Callable[[int], object] | None = None) -> Mapping[str, int]:
        """Put every genuine payload of an old key under the active one; says how many of each became what.

        Payloads of the last minute are passed over as ``too young``: run it again. *on_step* is told how many were
        looked at.
        """
        storage = self._client().storage
        resealer = Resealer(storage.scannable(), storage.evidence(), self._codec, self._live_keys.ring)
        async for step in resealer.run(rate):
            if on_step is not None:
                on_step(step)
        return resealer.counts

    @property
    def key_ring(self) -> KeyRing:
        """The keys in use now, by name, id and state; their bytes cannot be had from it."""
        return self._live_keys.ring

    @property
    def reads_keys_again(self) -> bool:
        """Whether the keys come from a file: it is read again when it has changed, at once at a SIGHUP."""
        return self._live_keys.file is not None

    def access_rule(
        self, role: Role, *, user: str, password: str = PASSWORD, dialect: Dialect = Dialect.REDIS_7_2
    ) -> str:
        """The words after ``ACL SETUSER`` for one role on this queue; *password* is ``>clear`` or ``#digest``."""
        cluster = isinstance(self._topology, Cluster)
        return rule(role, self._keys, dialect, user=user, password=password, cluster=cluster)

    async def processes(self) -> list[Process]:
        """The producers and workers that have shown themselves in the last 15 seconds, with the keys that they hold."""
        return await living(self._client().storage.evidence(), self._codec)
