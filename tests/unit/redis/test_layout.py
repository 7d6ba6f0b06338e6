"""The layout in Redis is frozen: two releases on one queue must find each other's tasks. A change here is a migration."""

from __future__ import annotations

from collections import Counter

import pytest

from secure_queue.redis.keys import BUCKETS, QueueKeys, bucket_of

KEYS = QueueKeys("emails", ["high", "low"])


@pytest.mark.parametrize(
    ("task_id", "bucket"), [(b"", 0), (b"a", 33), (b"ab", 55), (b"order-4711", 22), (b"00" * 16, 32), (b"\xff\xff", 10)]
)
def test_the_bucket_of_an_id(task_id: bytes, bucket: int) -> None:
    assert bucket_of(task_id) == bucket


def test_hexadecimal_ids_fill_all_buckets_evenly() -> None:
    spread = Counter(bucket_of(b"%02x" % number) for number in range(256))
    assert len(spread) == BUCKETS
    assert max(spread.values()) <= 8


def test_the_names_of_the_keys() -> None:
    names = {key.decode() for key in KEYS.fixed} | {KEYS.result(b"x").decode(), KEYS.last_claim("w").decode()}
    buckets = {f"tasks:{number}" for number in range(64)}
    others = {
        "meta", "config", "leases", "wake", "results", "dead", "workers", "finished", "aborts", "quarantine", "result:x",
        "schedules", "fired", "outbox", "paused", "presence", "present", "audit", "claim:w", "ready:high", "ready:low",
        "due:high", "due:low", "unique", "replaced", "lines", "called", "shelf:high", "shelf:low",
    }  # fmt: skip
    assert names == {f"sq:{{emails/0}}:{name}" for name in buckets | others}
