"""The algorithm: HMAC-SHA256 with a tag of 32 bytes, compared in constant time. ⚠ In streaQ it covers the value alone."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from secure_queue import Rejected
from secure_queue.payload import ciphers, envelope
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.codec import parse_envelope
from tests.worker.places import Place

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_a_task_carries_the_hmac_sha256_of_its_bytes_and_of_its_place(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = place.worker()

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with worker:
        task = await double.enqueue(4)
        stored: Any = await place.link.command("HGET", place.keys.bucket(task.id.encode()), task.id)
        assert parse_envelope(stored).suite == Suite.HMAC_SHA256
        assert task.id.encode() in stored and worker.queue_name.encode() in stored
        spy = Spy(monkeypatch)
        assert worker._codec.open(stored, envelope.Purpose.TASK, task.id, now_ms=task_time(stored))
        assert spy.tags == [(stored[-32:], stored[-32:])]
        for number in range(len(stored)):  # whichever byte is changed, also one that says where it belongs
            changed = stored[:number] + bytes([stored[number] ^ 1]) + stored[number + 1 :]
            with pytest.raises(Rejected):
                worker._codec.open(changed, envelope.Purpose.TASK, task.id, now_ms=task_time(stored))


class Spy:
    """Notes what is compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert ciphers.compare_digest is hmac.compare_digest
        self.tags: list[tuple[bytes, bytes]] = []
        monkeypatch.setattr(ciphers, "compare_digest", self.compare)

    def compare(self, ours: bytes, theirs: bytes) -> bool:
        self.tags.append((ours, theirs))
        return hmac.compare_digest(ours, theirs)


def task_time(stored: bytes) -> int:
    return parse_envelope(stored).issued_ms


def test_tags_are_those_of_the_standard_library(anyio_backend: object) -> None:
    key, message = bytes(range(32)), b"message"
    tag = ciphers.tag(ciphers.mac_state(key), message)
    assert (tag, len(tag)) == (hmac.digest(key, message, "sha256"), 32)
