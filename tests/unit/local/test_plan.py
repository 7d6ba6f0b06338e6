"""What a local topology shall be, from what is asked for now and what its folder remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from secure_queue.errors import ConfigurationError
from secure_queue.local.node import check_ports
from secure_queue.local.plan import FIRST_PORT, Kind, Plan, Wish, new_plan, recall, remember, same_plan

FOLDER = Path("/data")
SENTINEL = new_plan(Wish(Kind.SENTINEL), FOLDER)


@pytest.mark.parametrize(
    ("wish", "count"),
    [
        (Wish(Kind.STANDALONE), 1),
        (Wish(Kind.STANDALONE, replicas=2), 3),
        (Wish(Kind.SENTINEL), 6),
        (Wish(Kind.SENTINEL, replicas=1), 5),
        (Wish(Kind.CLUSTER), 6),
        (Wish(Kind.CLUSTER, primaries=4, replicas=2), 12),
    ],
)
def test_every_process_has_a_port(wish: Wish, count: int) -> None:
    assert new_plan(wish, FOLDER).ports == tuple(range(FIRST_PORT, FIRST_PORT + count))


def test_ports_are_counted_from_the_first_or_all_named() -> None:
    assert new_plan(Wish(Kind.STANDALONE, ports=[9000], replicas=1), FOLDER).ports == (9000, 9001)
    assert new_plan(Wish(Kind.STANDALONE, ports=[9000, 9005], replicas=1), FOLDER).ports == (9000, 9005)
    with pytest.raises(ConfigurationError, match="3 ports for 2 processes"):
        new_plan(Wish(Kind.STANDALONE, ports=[1, 2, 3], replicas=1), FOLDER)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(Kind.CLUSTER, primaries=2), "--primaries 3 or more"),
        (Wish(Kind.SENTINEL, primaries=3), "goes with cluster"),
        (Wish(Kind.STANDALONE, replicas=100), "no more than 100"),
    ],
)
def test_what_cannot_work_is_refused(wish: Wish, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        new_plan(wish, FOLDER)


def test_tls_and_users_lie_in_the_folder_unless_they_are_elsewhere() -> None:
    inside = new_plan(Wish(Kind.CLUSTER, tls=True, users=True), FOLDER)
    assert (inside.certificates, inside.passwords) == ("/data/tls", "/data/passwords.json")
    outside = new_plan(Wish(Kind.CLUSTER, certificates=Path("/tls"), passwords=Path("/my.json")), FOLDER)
    assert (outside.certificates, outside.passwords) == ("/tls", "/my.json")


@pytest.mark.parametrize(
    "wish",
    [
        Wish(Kind.SENTINEL),
        Wish(Kind.SENTINEL, ports=[FIRST_PORT]),
        Wish(Kind.SENTINEL, ports=SENTINEL.ports, replicas=2),
    ],
)
def test_a_folder_is_found_again_with_the_same_options_or_none(wish: Wish) -> None:
    assert same_plan(wish, SENTINEL) is SENTINEL
    secured = replace(SENTINEL, certificates="/data/tls", passwords="/data/passwords.json")
    assert same_plan(replace(wish, tls=True, users=True), secured) is secured


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(Kind.CLUSTER), "holds a sentinel topology"),
        (Wish(Kind.SENTINEL, ports=[9000]), f"--port {FIRST_PORT},"),
        (Wish(Kind.SENTINEL, replicas=5), "--replicas 2"),
        (Wish(Kind.SENTINEL, tls=True), "--tls switched off"),
        (Wish(Kind.SENTINEL, passwords=Path("/my.json")), "--users switched off"),
    ],
)
def test_a_folder_that_was_made_otherwise_says_how(wish: Wish, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        same_plan(wish, SENTINEL)


def test_a_plan_is_remembered(tmp_path: Path) -> None:
    assert recall(tmp_path) is None
    remember(tmp_path, SENTINEL)
    assert recall(tmp_path) == SENTINEL
    assert isinstance(recall(tmp_path), Plan)
    (tmp_path / "topology.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="damaged"):
        recall(tmp_path)


@pytest.mark.parametrize(
    ("ports", "with_bus", "message"),
    [
        ([9000, 9000], False, "named twice"),
        ([70_000], False, "70000 is no port"),
        ([60_000], True, "port \\+ 10000"),
    ],
)
def test_ports_that_cannot_be_used_are_refused(ports: list[int], with_bus: bool, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_ports(ports, with_bus=with_bus)
