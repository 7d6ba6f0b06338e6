"""A Docker Compose file for Sentinel and one for Cluster: a topology to copy."""

from __future__ import annotations

import yaml

from tests.tour.blocks import ROOT


def services(kit: str) -> list[str]:
    found = yaml.safe_load((ROOT / kit / "compose.yaml").read_text())["services"]
    return [" ".join([name, *service["command"]]) for name, service in found.items()]


def test_one_has_a_primary_two_replicas_and_three_sentinels() -> None:
    assert sum("sentinel.conf" in service for service in services("sentinel")) == 3
    assert len(services("sentinel")) == 6


def test_the_other_has_six_nodes_of_a_cluster() -> None:
    assert len(services("cluster")) == 6
    assert "cluster-enabled yes" in (ROOT / "cluster" / "redis.conf").read_text()
