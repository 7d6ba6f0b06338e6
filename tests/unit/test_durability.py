"""The rules of durability: which copies are needed, when less will do, and what cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secure_queue.durability import (
    PATIENCE_S,
    PROBE_EVERY_S,
    PROBE_S,
    Assurance,
    Confirmation,
    Copies,
    Durability,
    DurabilityPolicy,
    Shortage,
    durability_policy,
    level_of,
)
from secure_queue.errors import ConfigurationError
from secure_queue.redis.reach import reach_of
from secure_queue.redis.topology import Cluster, Embedded, Memory, Sentinel, Standalone, Topology

SENTINEL, CLUSTER, SINGLE = Sentinel((Standalone(),), "mymaster"), Cluster((Standalone(),)), Standalone()
LEVELS = list(Durability)


def policy(topology: Topology, **options: Any) -> DurabilityPolicy:
    given: dict[str, Any] = {
        "durability": None,
        "replicas": None,
        "on_degraded": None,
        "degrade_after": 5,
        "deadline": 20,
    }
    given |= options
    return durability_policy(reach_of(topology, given["replicas"]), **given)


@pytest.mark.parametrize("topology", [SENTINEL, CLUSTER], ids=["sentinel", "cluster"])
def test_groups_wait_for_one_replica_unless_told_otherwise(topology: Topology) -> None:
    assert policy(topology).assurance(None) == Assurance(Durability.REPLICATED, 1, degrades=True)


@pytest.mark.parametrize("topology", [SINGLE, Embedded(), Memory()], ids=["single", "embedded", "memory"])
def test_a_single_server_waits_for_nobody_unless_told_otherwise(topology: Topology) -> None:
    assert policy(topology).assurance(None) == Assurance(Durability.PRIMARY, 0)


@pytest.mark.parametrize(
    ("topology", "replicas", "copies"),
    [
        (SENTINEL, None, {"primary": 0, "replicated": 1, "all": None, "fsync": 1}),
        (CLUSTER, 2, {"primary": 0, "replicated": 1, "all": 2, "fsync": 1}),
        (SINGLE, 2, {"primary": 0, "replicated": 1, "all": 2, "fsync": 1}),
        (SINGLE, None, {"primary": 0, "fsync": 0}),
        (Embedded(Path("/data")), None, {"primary": 0, "fsync": 0}),
        (Memory(), None, {"primary": 0}),
    ],
    ids=["sentinel", "cluster of two", "single of two", "single", "embedded", "memory"],
)
def test_each_level_needs_its_copies_and_what_cannot_be_kept_is_refused(
    topology: Topology, replicas: int | None, copies: dict[str, int | None]
) -> None:
    own = policy(topology, replicas=replicas)
    for level in LEVELS:
        if level in copies:
            assert own.assurance(level).copies == copies[level]
        else:
            with pytest.raises(ConfigurationError, match=f"{level.value!r} cannot be kept here: "):
                own.assurance(level)
            with pytest.raises(ConfigurationError, match=f"{level.value!r} cannot be kept here: "):
                policy(topology, replicas=replicas, durability=level.value)


def test_all_is_as_many_replicas_as_are_known_and_never_none() -> None:
    everything = policy(SENTINEL, durability="all").assurance(None)
    assert [everything.needed(known) for known in (0, 1, 3)] == [1, 1, 3]
    assert policy(SENTINEL, durability="all", replicas=2).assurance(None).needed(3) == 2


def test_only_replicated_settles_for_less_by_itself() -> None:
    own, lenient, strict = (policy(SENTINEL, on_degraded=how) for how in (None, "degrade", "raise"))
    assert [own.assurance(level).degrades for level in LEVELS] == [False, True, False, False]
    assert all(lenient.assurance(level).degrades for level in LEVELS)
    assert not any(strict.assurance(level).degrades for level in LEVELS)


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("durability", "safe", "must be one of primary, replicated, all, fsync, not 'safe'"),
        ("replicas", 0, "whole number from 1 on"),
        ("replicas", 1.5, "whole number from 1 on"),
        ("on_degraded", "ignore", "must be one of degrade, raise"),
        ("degrade_after", 0, "degrade_after must be"),
        ("deadline", 0, "deadline must be"),
        ("deadline", 61, "at most 60 seconds"),
    ],
)
def test_what_cannot_work_is_refused_at_once(option: str, value: object, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        policy(SENTINEL, **{option: value})


@pytest.mark.parametrize("topology", [Embedded(), Memory()], ids=["embedded", "memory"])
def test_replicas_make_no_sense_where_there_are_none(topology: Topology) -> None:
    with pytest.raises(ConfigurationError, match="replicas=1 makes no sense here"):
        policy(topology, replicas=1)


def test_an_unknown_level_names_the_known_ones() -> None:
    assert level_of("all") is Durability.ALL
    with pytest.raises(ConfigurationError, match="primary, replicated, all, fsync"):
        level_of("both")


def test_who_may_be_believed() -> None:
    believed = {
        confirmation: [level for level in LEVELS if Assurance(level).believes(confirmation)]
        for confirmation in Confirmation
    }
    assert believed == {
        Confirmation.FRESH: LEVELS,
        Confirmation.UNWATCHED: [Durability.PRIMARY, Durability.REPLICATED],
        Confirmation.STALE: [Durability.PRIMARY],
    }


def test_copies_are_enough_when_replicas_and_the_disk_have_it() -> None:
    assert Copies(2).enough(2) and Copies(0).enough(0)
    assert not Copies(1).enough(2)
    assert not Copies(2, on_disk=False).enough(1)


def test_a_shortage_counts_from_its_first_call_to_the_first_success() -> None:
    assurance, shortage = Assurance(Durability.REPLICATED, 1, degrades=True, degrade_after_s=5), Shortage()
    shortage.note(enough=False, now=100)
    shortage.note(enough=False, now=104)
    assert [shortage.lasts(assurance, now) for now in (104.9, 105)] == [False, True]
    shortage.note(enough=True, now=106)
    shortage.note(enough=False, now=107)
    assert not shortage.lasts(assurance, 111.9)


def test_in_a_long_shortage_only_a_look_now_and_then_waits() -> None:
    assurance, shortage = Assurance(Durability.REPLICATED, 1, degrades=True, degrade_after_s=5), Shortage()
    shortage.note(enough=False, now=100)
    assert shortage.patience_s(assurance, 104) == PATIENCE_S
    assert [shortage.patience_s(assurance, now) for now in (105, 105.5, 105 + PROBE_EVERY_S)] == [PROBE_S, 0, PROBE_S]


def test_who_does_not_settle_for_less_goes_on_waiting() -> None:
    assurance, shortage = Assurance(Durability.ALL, 2, degrades=False, degrade_after_s=5), Shortage()
    shortage.note(enough=False, now=100)
    assert not shortage.lasts(assurance, 1000)
    assert shortage.patience_s(assurance, 1000) == PATIENCE_S
