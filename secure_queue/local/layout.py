"""What is special about a group of local servers: ports, configuration, users, and how they are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secure_queue.local.access import IN_THE_CLEAR, Access
from secure_queue.local.logins import SENTINEL_USERS, SERVER_USERS

MASTER = "mymaster"
DOWN_AFTER_MS, FAILOVER_TIMEOUT_MS, NODE_TIMEOUT_MS = 1000, 5000, 1000
DATA = """
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
repl-diskless-sync-delay 0
"""
CLUSTER = f"""
{DATA}
cluster-enabled yes
cluster-node-timeout {NODE_TIMEOUT_MS}
cluster-require-full-coverage no
cluster-replica-validity-factor 0
"""
SENTINELS = f"""
sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}
sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is special about a group: its *ports* in the order of its processes, how it is reached, its configuration.

    Ports that are not given are picked. *servers* and *sentinels* are the text of configuration files that are used
    instead of those of a local topology, which fail over faster than anybody should in production.
    """

    ports: Sequence[int] = ()
    access: Access = IN_THE_CLEAR
    servers: str | None = None
    sentinels: str | None = None
    server_users: Sequence[str] = SERVER_USERS
    sentinel_users: Sequence[str] = SENTINEL_USERS


ANY_LAYOUT = Layout()
