"""Key generation: ``secrets.token_urlsafe(32)``, or a key of our own; what is too weak is refused with the recipe."""

from __future__ import annotations

import secrets

import pytest

from secure_queue import KeyRingError, Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_what_the_page_recommends_is_a_key_that_producers_and_workers_share(place: Place) -> None:
    secret = secrets.token_urlsafe(32)
    backend, worker = (place.worker(signing_secret=secret) for _ in range(2))

    @worker.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    async with backend, running(worker):
        task = await backend.enqueue_by_name("double", 4)
        assert (await task.result(timeout=PATIENCE)).result == 8
    assert secret not in repr(worker)


@pytest.mark.parametrize("weak", ["", "MY-SECRET-KEY", "password", "a" * 43, b"\0" * 32, "fX2vYq8LrTzK5mWc9dJb3g"])
def test_a_weak_one_is_refused_with_the_way_to_make_a_good_one(weak: str | bytes) -> None:
    with pytest.raises(KeyRingError, match="secure-queue keys generate"):
        Worker("memory://", signing_secret=weak)
