"""Which topologies are spoken to in the clear, who is told of it, and what ``require_tls=True`` refuses."""

from __future__ import annotations

import logging

import pytest

from secure_queue import ConfigurationError, Worker
from secure_queue.redis.clear_text import warn_of_clear_text
from secure_queue.redis.urls import parse_url
from tests.worker.places import SECRET

REMOTE = ["redis://queue.example.net", "redis+sentinel://10.0.0.1,127.0.0.1/mymaster", "redis+cluster://[2001:db8::1]"]
ENCRYPTED = ["rediss://queue.example.net", "rediss+sentinel://10.0.0.1/mymaster", "rediss+cluster://10.0.0.1"]
HERE = [
    "redis://localhost",
    "redis://127.0.0.2:1",
    "redis://[::1]",
    "unix:///run/redis.sock",
    "memory://",
    "embedded://",
]
GROUPS_HERE = ["redis+sentinel://127.0.0.1/mymaster", "redis+cluster://localhost"]


@pytest.mark.attack(62)
@pytest.mark.parametrize("url", [*REMOTE, *GROUPS_HERE])
def test_without_tls_a_worker_that_requires_it_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"require_tls=True, and .* without TLS; use rediss://"):
        Worker(url, signing_secret=SECRET, require_tls=True)


@pytest.mark.attack(62)
def test_sentinels_in_the_clear_are_refused_although_their_servers_are_not() -> None:
    with pytest.raises(ConfigurationError, match="require_tls=True"):
        Worker(
            sentinel_nodes=["10.0.0.1"],
            sentinel_master="mymaster",
            redis_kwargs={"ssl": True},
            sentinel_kwargs={"ssl": False},
            signing_secret=SECRET,
            require_tls=True,
        )


@pytest.mark.parametrize("url", [*ENCRYPTED, *HERE])
def test_with_tls_or_on_this_machine_nothing_is_refused(url: str) -> None:
    assert Worker(url, signing_secret=SECRET, require_tls=True)


def test_clear_text_over_a_network_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "secure_queue.redis"):
        for _ in range(2):
            for url in [*REMOTE, *ENCRYPTED, *HERE, *GROUPS_HERE]:
                warn_of_clear_text(parse_url(url))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(REMOTE)
    assert all("without TLS" in line and "rediss://" in line for line in told)
