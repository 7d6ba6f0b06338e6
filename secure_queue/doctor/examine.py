"""From a topology and a queue to a report: gather the facts, then let every check judge them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from secure_queue.audit.classify import Classifier
from secure_queue.doctor.checks import ALL
from secure_queue.doctor.facts import Facts
from secure_queue.doctor.findings import apply
from secure_queue.doctor.gather import gather, together
from secure_queue.doctor.partition import look_at
from secure_queue.doctor.report import DoctorReport
from secure_queue.errors import ConfigurationError
from secure_queue.redis.connect import DEADLINE, DEDICATED, SHARED
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.topology import Cluster, Sentinel, Standalone, Topology


@dataclass(frozen=True, slots=True)
class Patient:
    """The queue whose deployment is examined; without a classifier nothing that is stored is looked at."""

    queue_name: str
    partitions: tuple[QueueKeys, ...]
    classifier: Classifier | None
    lease_s: float = 60.0


async def examine(topology: Topology, patient: Patient) -> DoctorReport:
    """Ask every node of *topology*, which must be up (``hosted``), and report what is found.

    Nothing stored is changed, and what the rehearsal writes is gone at the end. Raises ``ConfigurationError`` for
    ``memory://``, which has no server.
    """
    if not isinstance(topology, (Standalone, Sentinel, Cluster)):
        raise ConfigurationError("memory:// has no server that could be examined; name the URL of the deployment")
    facts = await _facts(topology, patient)
    return DoctorReport.of(facts, apply(ALL, facts))


async def _facts(topology: Standalone | Sentinel | Cluster, patient: Patient) -> Facts:
    kind, nodes = await gather(topology)
    looks = [partial(look_at, topology, keys, patient.classifier, nodes) for keys in patient.partitions]
    partitions = await together(looks) if any(not node.problem for node in nodes) else []
    return Facts(
        str(topology),
        kind,
        tuple(nodes),
        tuple(partitions),
        patient.queue_name,
        patient.lease_s,
        DEADLINE,
        SHARED + DEDICATED,
    )
