"""Everything that operators and auditors ask a worker object: what is stored, who lives, what was put aside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from secure_queue import names
from secure_queue.audit.classify import Classifier, Stored
from secure_queue.audit.findings import Finding, Kind
from secure_queue.audit.log import Journal
from secure_queue.audit.log_check import LogCheck, LogReport
from secure_queue.audit.quarantine import Kept, Quarantine, partition_of
from secure_queue.audit.report import AuditReport, collect
from secure_queue.audit.reseal import RESEALED, Resealer
from secure_queue.audit.scan import scan, scan_beside
from secure_queue.client import Client
from secure_queue.clock import now_ms
from secure_queue.cron import Cron
from secure_queue.doctor.examine import Patient, examine
from secure_queue.doctor.report import DoctorReport
from secure_queue.evidence import Evidence
from secure_queue.execution.ticker import every
from secure_queue.frames import opened_without_frames
from secure_queue.health import Health
from secure_queue.health_times import AGAIN_S, HealthTimes, log_health
from secure_queue.keyring import LOOK_S, LiveKeys
from secure_queue.payload.codec import Codec, Purpose, Sealed
from secure_queue.payload.keys import KeyRing
from secure_queue.presence import INTERVAL_S, WORKER, Announcer, Process, living
from secure_queue.redis.host import Host
from secure_queue.redis.partitioned import keys_of
from secure_queue.redis.roles import PASSWORD, Dialect, Role, rule
from secure_queue.redis.topology import Cluster, Topology
from secure_queue.settings import QueueSettings, WorkerSettings, from_nought, pace


class Oversight(ABC):
    """The part of a worker object that looks at the queue from outside; open it first (``async with worker:``)."""

    _live_keys: LiveKeys
    _codec: Codec
    _queue: QueueSettings
    _settings: WorkerSettings
    _topology: Topology
    _host: Host
    _audit_key: str | None
    _health_rule: Cron | None
    announces: bool

    @abstractmethod
    def _client(self) -> Client: ...

    @property
    @abstractmethod
    def queue_name(self) -> str: ...

    @property
    @abstractmethod
    def id(self) -> str: ...

    @property
    @abstractmethod
    def processed(self) -> int: ...

    @abstractmethod
    def health(self) -> Health: ...

    async def audit(
        self, *, rate: float = 0, since_ms: int | None = None, on_finding: Callable[[Finding], object] | None = None
    ) -> AuditReport:
        """Classify everything that the queue holds, at most *rate* places a second, without deserializing any of it.

        With *since_ms*, genuine payloads that were sealed before that moment are passed over. *on_finding* is called for
        each place, good or bad. Raises ``Unavailable`` if the server does not answer.
        """
        pace(rate)
        if since_ms is not None:
            from_nought("since_ms", since_ms)
        stores = await self._client().scannables()
        report = AuditReport.of(self.queue_name, self._live_keys.ring, since_ms=since_ms)
        await collect(scan(stores, self._classifier(), rate), report, on_finding)
        report.judge_keys(await self.processes())
        return report

    async def audit_task(self, task_id: str) -> list[Finding]:
        """What is stored of one task or schedule, in every place that can hold it; empty if there is nothing."""
        name = names.task_id(task_id).encode()
        records = await self._client().routes.everywhere(lambda storage: storage.look_up(name))
        found = [
            self._classifier().classify(Stored(kind, name, untrusted), now_ms=now_ms())
            for record in records
            for kind, untrusted in (
                (Kind.TASK, record.untrusted_task),
                (Kind.RESULT, record.untrusted_result),
                (Kind.DEATH, record.untrusted_death),
            )
            if untrusted is not None
        ]
        found += await scan_beside(await self._client().scannables(), self._classifier(), name)
        return found + [kept.finding async for kept in self.quarantined() if kept.finding.id == task_id]

    def _classifier(self) -> Classifier:
        return Classifier(self._live_keys.ring, self.queue_name, self._codec.serializer, self._codec.limits)

    async def doctor(self) -> DoctorReport:
        """Ask every server behind this queue whether it is fit for it; the worker need not be open."""
        everywhere = tuple(keys_of(self._queue, partition) for partition in range(self._queue.partitions))
        patient = Patient(self.queue_name, everywhere, self._classifier(), self._settings.idle_timeout_s)
        async with self._host as topology:
            return await examine(topology, patient)

    # The quarantine

    def _quarantine(self, partition: int) -> Quarantine:
        client = self._client()
        store = client.routes.at(partition).storage.scannable()
        return Quarantine(store, client.evidence(partition), self._classifier(), partition)

    async def _quarantine_of(self, entry: str) -> Quarantine:
        return self._quarantine(partition_of(entry, await self._client().routes.in_use()))

    async def quarantined(self) -> AsyncIterator[Kept]:
        """What was put aside, oldest first, one partition after the other."""
        for partition in await self._client().routes.in_use():
            async for kept in self._quarantine(partition).all():
                yield kept

    async def quarantined_bytes(self, entry: str) -> tuple[Kept, bytes]:
        """One entry and its bytes, which may be anything; raises ``TaskNotFound``."""
        return await (await self._quarantine_of(entry)).show(entry)

    @opened_without_frames
    async def release(self, entry: str, *, attest: str | None = None) -> str:
        """Put a task that was put aside back into the queue under a fresh seal, and say which it was.

        It must be genuine now. A task of a revoked key is released with *attest*, the SHA-256 of its bytes, from somebody
        who knows what was sent. Raises ``Rejected``, ``DuplicateTask`` or ``TaskNotFound``; then it stays where it is.
        """
        quarantine = await self._quarantine_of(entry)
        seal_again = partial(self._client().sealing.seal_again, now_ms=now_ms())
        if attest is None:
            task_id = await quarantine.release(entry, lambda id_, raw: seal_again(self._genuine(id_, raw)))
        else:
            task_id = await quarantine.attest(entry, attest, seal_again)
        await self._note("released", id=task_id, entry=entry, attested=int(attest is not None))
        return task_id

    def _genuine(self, task_id: str, untrusted: bytes) -> Sealed:
        return self._codec.verify_late(untrusted, Purpose.TASK, task_id, now_ms=now_ms())

    async def destroy(self, entry: str) -> None:
        """Delete what was put aside for ever; raises ``TaskNotFound``."""
        await (await self._quarantine_of(entry)).destroy(entry)
        await self._note("destroyed", entry=entry)

    # The audit log

    def _journal(self, evidence: Evidence) -> Journal:
        return Journal(evidence, self._codec, process=self.id, auditor=self._audit_key)

    async def _note(self, event: str, **facts: str | int) -> None:
        journal = self._journal(self._client().evidence())
        journal.note(event, **facts)
        await journal.flush()

    async def audit_log(self) -> list[bytes]:
        """The sealed records of the audit log, oldest first."""
        evidence, records = self._client().evidence(), list[bytes]()
        while page := await evidence.notes(len(records)):
            records += page
        return records

    async def forget_audit_log(self, records: Sequence[bytes]) -> int:
        """Take *records* off the beginning of the log, once they are kept elsewhere; says how many that were."""
        return await self._client().evidence().forget_notes(len(records), records[0]) if records else 0

    def check_log(
        self, records: Iterable[bytes], *, auditor: str | None = None, checkpoints: Sequence[str] = ()
    ) -> LogReport:
        """Verify records of an audit log; *auditor* is the private key that belongs to ``SECURE_QUEUE_AUDIT_KEY``."""
        check = LogCheck(self._codec, auditor)
        check.add(records)
        return check.finish(checkpoints)

    # Keys

    async def reseal(self, *, rate: float = 0, on_step: Callable[[int], object] | None = None) -> Mapping[str, int]:
        """Put every genuine payload of an old key under the active one; says how many of each became what.

        Payloads of the last minute are passed over as ``too young``: run it again. *on_step* is told how many were
        looked at.
        """
        pace(rate)
        client, counts = self._client(), Counter[str]()
        for partition in await client.routes.in_use():
            store = client.routes.at(partition).storage.scannable()
            resealer = Resealer(store, client.evidence(partition), self._codec)
            async for step in resealer.run(rate):
                if on_step is not None:
                    on_step(step)
            counts += resealer.counts
        await self._note("resealed", count=counts[RESEALED])
        return counts

    @property
    def key_ring(self) -> KeyRing:
        """The keys in use now, by name, id and state; their bytes cannot be had from it."""
        return self._live_keys.ring

    def _told_and_looked_at(
        self, evidence: Evidence, role: str, tasks: Collection[str]
    ) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What goes on beside an open worker: it says that it lives, and looks whether its key file has changed."""
        processed = (lambda: self.processed) if role == WORKER else int
        announcer = Announcer(evidence, self._codec, self._live_keys, self.id, role, tasks, processed)
        told = [partial(every, INTERVAL_S, announcer.tick)] if self.announces else []
        if self._health_rule is not None and role == WORKER:
            told.append(partial(every, AGAIN_S, self._health_times(self._health_rule, announcer).tick))
        return [*told, partial(every, LOOK_S, self._look_at_keys)]

    def _health_times(self, rule: Cron, announcer: Announcer) -> HealthTimes:
        async def tell() -> None:
            log_health(self.id, self.health())
            await announcer.tick()

        return HealthTimes(rule, tell)

    async def _look_at_keys(self) -> None:
        self._live_keys.look()

    @property
    def reads_keys_again(self) -> bool:
        """Whether the keys come from a file: it is read again when it has changed, at once at a SIGHUP."""
        return self._live_keys.file is not None

    def access_rule(
        self, role: Role, *, user: str, password: str = PASSWORD, dialect: Dialect = Dialect.REDIS_7_2
    ) -> str:
        """The words after ``ACL SETUSER`` for one role on this queue; *password* is ``>clear`` or ``#digest``."""
        cluster = isinstance(self._topology, Cluster)
        return rule(
            role, keys_of(self._queue, 0), dialect, user=names.user_name(user), password=password, cluster=cluster
        )

    async def processes(self) -> list[Process]:
        """The producers and workers that have shown themselves in the last 15 seconds, with the keys that they hold."""
        return await living(self._client().evidence(), self._codec)
