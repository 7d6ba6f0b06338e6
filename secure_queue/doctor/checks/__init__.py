"""All checks, in the order of the report. Each is one pure function with an id that stays the same in every release."""

from __future__ import annotations

from secure_queue.doctor.checks.cluster import CHECKS as CLUSTER
from secure_queue.doctor.checks.queue import CHECKS as QUEUE
from secure_queue.doctor.checks.replication import CHECKS as REPLICATION
from secure_queue.doctor.checks.security import CHECKS as SECURITY
from secure_queue.doctor.checks.sentinels import CHECKS as SENTINELS
from secure_queue.doctor.checks.servers import CHECKS as SERVERS
from secure_queue.doctor.findings import Check

ALL: tuple[Check, ...] = (*SERVERS, *REPLICATION, *SENTINELS, *CLUSTER, *SECURITY, *QUEUE)
