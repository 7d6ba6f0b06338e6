"""Groups of real servers for tests that break them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from secure_queue.local.groups import ClusterGroup, SentinelGroup
from tests.servers import server_binary, started


@pytest.fixture
def sentinels() -> Iterator[SentinelGroup]:
    """A Sentinel group of its own, for a test that breaks it."""
    with started(SentinelGroup(server_binary())) as group:
        yield group


@pytest.fixture
def cluster() -> Iterator[ClusterGroup]:
    """A Cluster of its own, for a test that breaks it."""
    with started(ClusterGroup(server_binary())) as group:
        yield group
