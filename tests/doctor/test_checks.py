"""Every check on facts in which all is well, and on facts that are spoiled in one way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from secure_queue.doctor.checks import ALL
from secure_queue.doctor.facts import Facts, Kind, QueueFacts, Rehearsal, Step, StoredFacts
from secure_queue.doctor.findings import Finding, Level, apply
from tests.doctor.deployments import (
    MEMBERS,
    PARTITION,
    WELL,
    host,
    member,
    members,
    partition,
    refused,
    seen,
    setting,
    silent,
    told,
    untold,
    without,
)

ALONE, GROUP, CLUSTER = Kind.STANDALONE, Kind.SENTINEL, Kind.CLUSTER
FAIL, WARN, UNKNOWN = Level.FAIL, Level.WARN, Level.UNKNOWN
MB = 1 << 20
LIMITS = "config.client-output-buffer-limit"


class Case(NamedTuple):
    """One way to spoil a deployment, and the words of the finding that it must bring."""

    check: str
    kind: Kind
    level: Level
    words: str
    spoil: Callable[[Facts], Facts]


CASES = [
    Case("reachable", ALONE, FAIL, "does not answer", silent(0)),
    Case("reachable", GROUP, FAIL, "does not answer", silent(1)),
    Case("reachable", GROUP, WARN, "does not answer", silent(3)),
    Case("primary", GROUP, FAIL, "no primary answers", silent(0)),
    Case("topology", ALONE, FAIL, "node of a cluster", told(0, info__cluster_enabled="1")),
    Case("topology", ALONE, FAIL, "it is a sentinel", told(0, info__redis_mode="sentinel")),
    Case("version", GROUP, FAIL, "6.0.16 is too old", told(2, info__redis_version="6.0.16")),
    Case("version", GROUP, FAIL, "5.0.3 is too old", told(5, info__redis_version="5.0.3")),
    Case("version", ALONE, UNKNOWN, "denied", untold(0, "info.redis_version", "INFO is denied")),
    Case("same-version", GROUP, WARN, "redis 6, redis 7", told(1, info__redis_version="6.2.14")),
    Case("same-version", GROUP, WARN, "redis 7, valkey 7", told(1, info__server_name="valkey")),
    Case("eviction", CLUSTER, FAIL, "allkeys-lru", told(4, info__maxmemory_policy="allkeys-lru")),
    Case("memory", ALONE, WARN, "not set", told(0, info__maxmemory="0")),
    Case("memory", ALONE, WARN, "85%", told(0, info__maxmemory="1000", info__used_memory="850")),
    Case("memory", ALONE, FAIL, "96%", told(0, info__maxmemory="1000", info__used_memory="960")),
    Case("memory", ALONE, WARN, "fragmented", told(0, info__mem_fragmentation_ratio="1.9")),
    Case("persistence", GROUP, FAIL, "loses everything", told(1, info__aof_enabled="0")),
    Case("persistence", ALONE, WARN, "last snapshot", told(0, info__aof_enabled="0", config__save="3600 1")),
    Case("persistence", ALONE, WARN, "appendfsync is no", told(0, config__appendfsync="no")),
    Case("persistence", ALONE, UNKNOWN, "denied", untold(0, "info.aof_enabled", "INFO is denied")),
    Case("disk", GROUP, FAIL, "append-only file failed", told(2, info__aof_last_write_status="err")),
    Case("disk", ALONE, FAIL, "last snapshot failed", told(0, info__rdb_last_bgsave_status="err")),
    Case("disk", ALONE, WARN, "over a second", told(0, info__latest_fork_usec="1500000")),
    Case(
        "disk",
        ALONE,
        WARN,
        "snapshots fail",
        lambda facts: setting(0, "config.stop-writes-on-bgsave-error", "no")(told(0, config__save="60 1")(facts)),
    ),
    Case("clients", ALONE, WARN, "900 of 1000", told(0, config__maxclients="1000", info__connected_clients="900")),
    Case("clients", ALONE, WARN, "room for 130", told(0, config__maxclients="150")),
    Case("clients", ALONE, UNKNOWN, "denied", untold(0, "config.maxclients", "CONFIG is denied")),
    Case("timeouts", ALONE, WARN, "closes idle", told(0, config__timeout="60")),
    Case("timeouts", ALONE, WARN, "stay connected", setting(0, "config.tcp-keepalive", "0")),
    Case("output-buffers", ALONE, WARN, "fill the memory", setting(0, LIMITS, "pubsub 0 0 0")),
    Case("output-buffers", ALONE, WARN, "below 8 MB", setting(0, LIMITS, f"pubsub {MB} {MB} 60")),
    Case("clock", GROUP, WARN, "300 ms apart", told(1, clock__skew_ms="-300")),
    Case("clock", GROUP, FAIL, "ms apart", told(1, clock__skew_ms="-1500")),
    Case("clock", ALONE, FAIL, "this machine", told(0, clock__skew_ms="61000")),
    Case("clock", ALONE, UNKNOWN, "tells its time", untold(0, "clock.skew_ms", "TIME is denied")),
    Case("replicas", GROUP, FAIL, "no connected replica", told(0, info__connected_slaves="0")),
    Case("replicas", GROUP, WARN, "lags 7 s", told(0, info__slave0="ip=10.0.0.2,port=6379,state=online,lag=7")),
    Case("replicas", GROUP, WARN, "wait_bgsave", told(0, info__slave0="ip=10.0.0.2,port=1,state=wait_bgsave,lag=0")),
    Case("replica-link", GROUP, FAIL, "down", told(1, info__master_link_status="down")),
    Case("replica-link", GROUP, WARN, "accepts writes", told(1, info__slave_read_only="0")),
    Case("replica-priority", GROUP, WARN, "different", told(1, info__slave_priority="10")),
    Case(
        "replica-priority",
        GROUP,
        FAIL,
        "no replica may",
        lambda facts: told(1, info__slave_priority="0")(told(2, info__slave_priority="0")(facts)),
    ),
    Case("min-replicas", GROUP, FAIL, "every write is refused", setting(0, "config.min-replicas-to-write", "3")),
    Case("min-replicas", GROUP, WARN, "2 of 2", setting(0, "config.min-replicas-to-write", "2")),
    Case("min-replicas", ALONE, FAIL, "0 replicas", setting(0, "config.min-replicas-to-write", "1")),
    Case("backlog", CLUSTER, WARN, "1 MB", setting(0, "config.repl-backlog-size", str(MB))),
    Case(
        "backlog", GROUP, WARN, "smaller than the backlog", setting(0, LIMITS, "slave 1000 1000 60 pubsub 33554432 0 0")
    ),
    Case("sentinels", GROUP, FAIL, "1 of 3 sentinels", silent(3, 4)),
    Case("sentinels", GROUP, FAIL, "there are 2", without(5)),
    Case("sentinels", GROUP, WARN, "share a machine", host(5, "10.0.0.1")),
    Case("monitored", GROUP, FAIL, "does not watch", untold(4, "master.address", "no such master")),
    Case("quorum", GROUP, FAIL, "NOQUORUM", refused(3, "ckquorum", "NOQUORUM 1 usable")),
    Case("quorum", GROUP, FAIL, "quorum 4 of 3", told(3, master__quorum="4")),
    Case("quorum", GROUP, WARN, "quorum 1", told(3, master__quorum="1")),
    Case("agreement", GROUP, FAIL, "different primaries", told(3, master__address="10.0.0.2:6379")),
    Case("agreement", GROUP, FAIL, "different configurations", setting(3, "master.config-epoch", "3")),
    Case("agreement", GROUP, FAIL, "only 1 other", setting(3, "master.num-other-sentinels", "1")),
    Case("watched", GROUP, FAIL, "s_down", told(3, master__flags="master,s_down")),
    Case("watched", GROUP, FAIL, "10.0.0.3:6379", told(3, replicas__down="10.0.0.3:6379")),
    Case("failover-time", GROUP, FAIL, "33 s", setting(3, "master.down-after-milliseconds", "30000")),
    Case("failover-time", GROUP, WARN, "short stall", setting(3, "master.down-after-milliseconds", "300")),
    Case("failover-time", GROUP, WARN, "leases", lambda facts: replace(facts, lease_s=15)),
    Case("slots", CLUSTER, FAIL, "10 of 16384", seen(2, slots=5451)),
    Case("slots", CLUSTER, UNKNOWN, "denied", untold(0, "cluster.nodes", "CLUSTER is denied")),
    Case("cluster-state", CLUSTER, FAIL, "cluster_state:fail", told(5, cluster__cluster_state="fail")),
    Case("cluster-state", CLUSTER, FAIL, "3 slots", told(5, cluster__cluster_slots_pfail="3")),
    Case(
        "open-slots",
        CLUSTER,
        WARN,
        "[93->-id2]",
        seen(1, flags=frozenset(("master", "myself")), open_slots=("[93->-id2]",)),
    ),
    Case("members", CLUSTER, FAIL, "failed", seen(5, flags=frozenset(("slave", "fail")))),
    Case("members", CLUSTER, WARN, "cannot reach", seen(5, flags=frozenset(("slave", "fail?")))),
    Case("members", CLUSTER, WARN, "epoch 5", told(5, cluster__cluster_current_epoch="5")),
    Case("layout", CLUSTER, FAIL, "no replica could", members(MEMBERS[:5])),
    Case("layout", CLUSTER, FAIL, "2 primaries", members((member(1, 8192), member(2, 8192), *MEMBERS[3:5]))),
    Case("layout", CLUSTER, WARN, "share its machine", seen(4, name="10.0.0.1:6380")),
    Case(
        "layout",
        CLUSTER,
        WARN,
        "share one machine",
        members(tuple(replace(one, name=f"10.0.0.1:{port}") for port, one in enumerate(MEMBERS))),
    ),
    Case("cluster-settings", CLUSTER, FAIL, "33 s", setting(1, "config.cluster-node-timeout", "30000")),
    Case("cluster-settings", CLUSTER, WARN, "idle_timeout", lambda facts: replace(facts, lease_s=15)),
    Case("cluster-settings", CLUSTER, WARN, "whole cluster", setting(1, "config.cluster-require-full-coverage", "yes")),
    Case("cluster-settings", CLUSTER, WARN, "old data", setting(1, "config.cluster-allow-reads-when-down", "yes")),
    Case("hash-tags", CLUSTER, FAIL, "slot 8", partition(server_slot=8)),
    Case("hash-tags", CLUSTER, WARN, "all partitions", lambda facts: replace(facts, partitions=(PARTITION, PARTITION))),
    Case("tls", ALONE, WARN, "not encrypted", told(0, tls__version="")),
    Case("tls", GROUP, WARN, "ends in 9 days", told(5, tls__days="9.3")),
    Case("tls", ALONE, FAIL, "ends in 0 days", told(0, tls__days="-1")),
    Case("tls", ALONE, WARN, "host name", told(0, tls__checks_name="no")),
    Case("login", GROUP, FAIL, "no password", told(5, login="no")),
    Case("login", ALONE, WARN, "no password", lambda facts: host(0, "127.0.0.1")(told(0, login="no")(facts))),
    Case("login", ALONE, FAIL, "no password", told(0, login="no", tls__own_certificate="no")),
    Case(
        "login",
        ALONE,
        FAIL,
        "no password",
        lambda facts: setting(0, "config.tls-auth-clients", "optional")(
            told(0, login="no", tls__own_certificate="yes")(facts)
        ),
    ),
    Case("rights", ALONE, FAIL, "hset, subscribe", partition(rehearsal=Rehearsal(denied=("hset", "subscribe")))),
    Case("rights", ALONE, FAIL, "no key", partition(rehearsal=Rehearsal(refusal="no key may be touched"))),
    Case("rights", ALONE, UNKNOWN, "timed out", partition(rehearsal=None, problem="timed out")),
    Case("dangerous", ALONE, WARN, "FLUSHALL", told(0, acl__dangerous="FLUSHALL")),
    Case("rehearsal", ALONE, FAIL, "claim: lost", partition(rehearsal=Rehearsal((Step("claim", 1, "lost"),)))),
    Case("rehearsal", ALONE, WARN, "900 ms", partition(rehearsal=Rehearsal((Step("claim", 900),)))),
    Case("rehearsal", ALONE, FAIL, "rights are missing", partition(rehearsal=Rehearsal(denied=("del",)))),
    Case("rehearsal", ALONE, FAIL, "timed out", partition(rehearsal=None, problem="timed out")),
    Case("confirmation", GROUP, WARN, "1 of 2", partition(rehearsal=Rehearsal(replicas=2, confirmed=1))),
    Case("confirmation", GROUP, FAIL, "more replicas", partition(rehearsal=Rehearsal(confirmed=0, invented=True))),
    Case("confirmation", GROUP, UNKNOWN, "WAIT", partition(rehearsal=Rehearsal())),
    Case("backlog-age", ALONE, WARN, "no worker", partition(queue=QueueFacts(0, 7))),
    Case("backlog-age", ALONE, WARN, "20 minutes", partition(queue=QueueFacts(1, 7, oldest_ready_ms=1_200_000))),
    Case("backlog-age", ALONE, FAIL, "60 s ago", partition(queue=QueueFacts(1, 0, overdue_lease_ms=60_000))),
    Case("backlog-age", ALONE, WARN, "60 s ago", partition(queue=QueueFacts(0, 0, overdue_lease_ms=60_000))),
    Case("backlog-age", ALONE, UNKNOWN, "looked at", partition(queue=None)),
    Case("keys", ALONE, FAIL, "2 of 9", partition(stored=StoredFacts(9, {"unknown-key": 2, "valid": 7}))),
    Case("keys", ALONE, UNKNOWN, "no key", partition(stored=None)),
    Case("payloads", ALONE, FAIL, "3 stored", partition(stored=StoredFacts(9, {"unsigned": 1, "moved": 2}))),
    Case("payloads", ALONE, WARN, "keys below sq:{shop/0}:", partition(stored=StoredFacts(9, {"stray-key": 1}))),
    Case("payloads", ALONE, UNKNOWN, "nothing", partition(stored=None)),
]


@pytest.mark.parametrize("kind", Kind)
def test_nothing_is_found_where_all_is_well(kind: Kind) -> None:
    found = apply(ALL, WELL[kind])
    assert [finding for finding in found if finding.level is not Level.OK] == []
    assert all(finding.reason for finding in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.kind}-{case.level}")
def test_a_check_finds_what_is_wrong_and_says_what_repairs_it(case: Case) -> None:
    found = _of(case.check, apply(ALL, case.spoil(WELL[case.kind])))
    hits = [finding for finding in found if finding.level is case.level and case.words in finding.reason]
    assert hits, found
    assert case.level is UNKNOWN or all(finding.fix for finding in hits)
    assert Level.OK not in {finding.level for finding in found}


def test_a_certificate_of_ones_own_is_a_login_too() -> None:
    facts = told(0, login="no", tls__own_certificate="yes")(WELL[ALONE])
    assert [finding.level for finding in _of("login", apply(ALL, facts))] == [Level.OK]


def test_every_check_has_a_case_that_it_finds() -> None:
    assert {check.id for check in ALL} == {case.check for case in CASES}
    assert len({check.id for check in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", Kind)
def test_a_check_says_nothing_good_about_servers_that_do_not_answer(kind: Kind) -> None:
    facts = silent(*range(len(WELL[kind].nodes)))(replace(WELL[kind], partitions=()))
    assert {finding.level for finding in apply(ALL, facts)} <= {FAIL, WARN}


@pytest.mark.parametrize("kind", Kind)
def test_servers_that_tell_nothing_are_unknown_and_break_no_check(kind: Kind) -> None:
    def forget(one: Any) -> Any:
        return replace(one, told={}, members=(), refused=dict.fromkeys(("info", "config", "acl", "cluster"), "denied"))

    bare = replace(WELL[kind], nodes=tuple(map(forget, WELL[kind].nodes)))
    found = apply(ALL, bare)
    assert {finding.check for finding in found if finding.level is UNKNOWN} >= {"eviction", "persistence", "timeouts"}
    assert {finding.reason for finding in _of("eviction", found)} == {"denied"}


def _of(check: str, found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.check == check]
