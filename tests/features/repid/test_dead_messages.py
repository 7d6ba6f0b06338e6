"""``Queue.get_messages(category=DEAD)``: what failed for good can be looked through, page by page."""

from __future__ import annotations

import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_dead_letters_are_listed_shown_and_deleted(place: Place) -> None:
    worker = place.worker()

    @worker.actor(name="fail", max_tries=1, silent=True)
    async def fail(number: int) -> None:
        raise LookupError(f"row {number}")

    async with running(worker):
        jobs = [await fail.enqueue(number).start(id=f"job-{number}") for number in range(5)]
        for job in jobs:
            await job.result(timeout=PATIENCE)
        pages = [await worker.dead_letters(limit=2, offset=offset) for offset in (0, 2, 4)]
        assert [len(page) for page in pages] == [2, 2, 1]
        letters = {letter.task_id: letter for page in pages for letter in page}
        assert sorted(letters) == [f"job-{number}" for number in range(5)]
        assert letters["job-3"].error == "LookupError"  # type: ignore[union-attr]
        await worker.delete_dead_letter("job-3")
        left = {letter.task_id for letter in await worker.dead_letters()}
        assert left == letters.keys() - {"job-3"}
