"""Checks of each server that holds data: version, memory, persistence, clients, clock."""

from __future__ import annotations

from collections.abc import Iterator

from secure_queue.doctor.facts import Facts, Kind, NodeFacts, Role
from secure_queue.doctor.findings import (
    ALL_NODES,
    WITH_REPLICAS,
    Check,
    NodeCheck,
    Problem,
    WholeCheck,
    fail,
    unknown,
    warn,
)

OLDEST = (6, 2)
FULL, NEARLY_FULL = 0.95, 0.80
SKEW_WARN_MS, SKEW_FAIL_MS = 200.0, 1000.0
SLOW_FORK_US = 1_000_000
FRAGMENTED, FRAGMENTED_FROM = 1.5, 256 << 20


def unreachable(facts: Facts) -> Iterator[Problem]:
    """Every node that the topology names must answer, at the address that it announces."""
    for node in facts.nodes:
        if node.problem:
            needed = node.role is Role.PRIMARY or (node.role is Role.REPLICA and facts.kind in WITH_REPLICAS)
            yield (fail if needed else warn)(
                node.problem, "start it, or correct its announced address, firewall or login", node.name
            )


def no_primary(facts: Facts) -> Iterator[Problem]:
    """Somebody must be writable."""
    if not any(facts.of_role(Role.PRIMARY)):
        yield fail("no primary answers: nothing can be enqueued", "connect to a primary, or let a failover elect one")


def right_topology(facts: Facts) -> Iterator[Problem]:
    """A node of a cluster refuses whatever lies in the slots of the others, and a sentinel holds no data at all."""
    for node in facts.servers():
        if node.told.get("info.redis_mode") == "sentinel":
            yield fail("it is a sentinel", f"write redis+sentinel://{node.name}/NAME-OF-PRIMARY", node.name)
        if facts.kind is Kind.STANDALONE and node.told.get("info.cluster_enabled") == "1":
            yield fail("it is a node of a cluster", f"write redis+cluster://{node.name} or cluster_nodes=", node.name)


def version(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """The oldest release whose scripts and commands are enough."""
    found = node.told["info.redis_version"]
    if _release(found) < OLDEST:
        yield fail(f"version {found} is too old", "upgrade to Redis 6.2 or later, or Valkey")


def mixed_versions(facts: Facts) -> Iterator[Problem]:
    """Replicas of an older release may be unable to read what their primary writes."""
    found = {(_brand(node), _release(node.told["info.redis_version"])[0]) for node in _with_version(facts)}
    if len(found) > 1:
        names = ", ".join(f"{brand} {major}" for brand, major in sorted(found))
        yield warn(f"the servers run different releases: {names}", "finish the upgrade: replicas first, then primaries")


def _with_version(facts: Facts) -> list[NodeFacts]:
    return [node for node in facts.servers() if "info.redis_version" in node.told]


def _brand(node: NodeFacts) -> str:
    return node.told.get("info.server_name", "redis")


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def eviction(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """Any policy but ``noeviction`` deletes tasks silently."""
    policy = node.told["info.maxmemory_policy"]
    if policy != "noeviction":
        yield fail(
            f"maxmemory-policy is {policy}: a full server deletes tasks silently",
            "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
        )


def memory(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """There must be a limit, and room below it: at the limit ``enqueue`` is refused."""
    limit, used = node.number("info.maxmemory"), node.number("info.used_memory")
    if limit <= 0:
        yield warn(
            "maxmemory is not set: the system ends a server that grows too large",
            "CONFIG SET maxmemory to about three quarters of the machine's memory",
        )
    elif used >= NEARLY_FULL * limit:
        level = fail if used >= FULL * limit else warn
        yield level(f"{used / limit:.0%} of maxmemory are used", "raise maxmemory, add workers, or shorten ttl=")
    ratio = float(node.told.get("info.mem_fragmentation_ratio", 1))
    if ratio > FRAGMENTED and used > FRAGMENTED_FROM:
        yield warn(f"memory is fragmented: {ratio:g} times what is used", "CONFIG SET activedefrag yes, or restart it")


def persistence(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """Without an append-only file a restart loses what was acknowledged."""
    if node.told["info.aof_enabled"] != "1":
        saves = bool(node.told.get("config.save", ""))
        level = warn if saves else fail
        lost = "what came after the last snapshot" if saves else "everything"
        yield level(
            f"there is no append-only file: a restart loses {lost}", "CONFIG SET appendonly yes, and in redis.conf"
        )
    elif node.told.get("config.appendfsync") == "no":
        yield warn("appendfsync is no: a power cut loses up to half a minute", "CONFIG SET appendfsync everysec")


def last_writes(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """Whether the last attempts to write to the disk went well."""
    for name, what in _DISK.items():
        status = node.told.get(f"info.{name}", "ok")
        if status != "ok":
            yield fail(f"{what} failed", "look at the server's log, the free disk space and the rights on its folder")
    if node.told.get("config.save") and node.told.get("config.stop-writes-on-bgsave-error") == "no":
        yield warn("writes go on when snapshots fail", "CONFIG SET stop-writes-on-bgsave-error yes")
    if float(node.told.get("info.latest_fork_usec", 0)) > SLOW_FORK_US:
        yield warn(
            "the last fork stopped the server for over a second", "disable transparent huge pages; keep it smaller"
        )


_DISK = {
    "aof_last_write_status": "the last write to the append-only file",
    "aof_last_bgrewrite_status": "the last rewrite of the append-only file",
    "rdb_last_bgsave_status": "the last snapshot",
}


def clients(node: NodeFacts, facts: Facts) -> Iterator[Problem]:
    """Room for the connections of a few more processes."""
    most, now = node.number("config.maxclients"), node.number("info.connected_clients")
    if now > NEARLY_FULL * most:
        yield warn(f"{now:.0f} of {most:.0f} clients are connected", "raise maxclients, and the limit of open files")
    elif most - now < 2 * facts.connections:
        yield warn(
            f"maxclients {most:.0f} leaves room for {most - now:.0f} connections; one process may open {facts.connections}",
            "CONFIG SET maxclients 10000, and the limit of open files",
        )


def timeouts(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """Idle connections must live, dead ones must be found."""
    if node.number("config.timeout") > 0:
        yield warn("timeout closes idle connections, which are opened again and again", "CONFIG SET timeout 0")
    if node.number("config.tcp-keepalive") == 0:
        yield warn("tcp-keepalive is off: clients that vanished stay connected for ever", "CONFIG SET tcp-keepalive 60")


def output_buffers(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """A subscriber that does not read must not fill the memory, and a slow one must not lose every result."""
    limits = hard_limits(node.told["config.client-output-buffer-limit"])
    hard = limits.get("pubsub", 0)
    if hard == 0:
        yield warn(
            "subscribers that do not read may fill the memory",
            'CONFIG SET client-output-buffer-limit "pubsub 33554432 8388608 60"',
        )
    elif hard < 8 << 20:
        yield warn(
            "the output buffer of subscribers is below 8 MB: a few large results cut them off",
            'CONFIG SET client-output-buffer-limit "pubsub 33554432 8388608 60"',
        )


def hard_limits(text: str) -> dict[str, int]:
    """The hard limit of each class of clients, from a setting that lists class, hard, soft, seconds."""
    words = text.split()
    return {name: int(hard) for name, hard in zip(words[::4], words[1::4], strict=False)}


def clock(facts: Facts) -> Iterator[Problem]:
    """A failover to a server whose clock is ahead ends leases early; a client far off is refused or refuses."""
    skews = {node.name: node.number("clock.skew_ms") for node in facts.servers() if "clock.skew_ms" in node.told}
    slack = max((float(node.told.get("clock.slack_ms", 0)) for node in facts.servers()), default=0.0)
    if not skews:
        yield unknown("no server tells its time", "let this user call TIME")
        return
    fix = "let one time service (chrony, systemd-timesyncd) set all clocks"
    apart = max(skews.values()) - min(skews.values()) - 2 * slack
    if apart > SKEW_WARN_MS:
        yield _skewed(f"the clocks of the servers are {apart:.0f} ms apart", apart, fix)
    for name, skew in skews.items():
        if abs(skew) - slack > SKEW_WARN_MS:
            yield _skewed(f"its clock and the one of this machine are {abs(skew):.0f} ms apart", abs(skew), fix, name)


def _skewed(reason: str, ms: float, fix: str, where: str = "") -> Problem:
    return (fail if ms > SKEW_FAIL_MS else warn)(reason, fix, where)


CHECKS: tuple[Check, ...] = (
    WholeCheck("reachable", "every node answers", unreachable, Facts.all_nodes),
    WholeCheck("primary", "a primary answers", no_primary, Facts.all_nodes),
    WholeCheck("topology", "the servers are what the URL says", right_topology),
    NodeCheck("version", "every node is Redis 6.2 or later, or Valkey", version, ALL_NODES, ("info.redis_version",)),
    WholeCheck("same-version", "all servers run the same release", mixed_versions),
    NodeCheck("eviction", "nothing is evicted", eviction, needs=("info.maxmemory_policy",)),
    NodeCheck("memory", "memory has a limit and room", memory, needs=("info.maxmemory", "info.used_memory")),
    NodeCheck("persistence", "an append-only file is written", persistence, needs=("info.aof_enabled",)),
    NodeCheck("disk", "the last writes to the disk went well", last_writes, needs=("info.rdb_last_bgsave_status",)),
    NodeCheck("clients", "there is room for clients", clients, needs=("config.maxclients", "info.connected_clients")),
    NodeCheck(
        "timeouts", "idle clients stay, dead ones go", timeouts, needs=("config.timeout", "config.tcp-keepalive")
    ),
    NodeCheck(
        "output-buffers", "subscribers are bounded", output_buffers, needs=("config.client-output-buffer-limit",)
    ),
    WholeCheck("clock", "all clocks agree", clock),
)
