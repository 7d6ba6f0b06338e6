"""The message is ``{"function": …, "kwargs": {…}}``. ⚠ There whoever writes one has a job; here it is sealed."""

from __future__ import annotations

import json

import pytest

from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_message_names_the_function_and_its_arguments_and_nothing_is_believed_unsealed(place: Place) -> None:
    worker, ran = place.worker(), list[str]()

    @worker.task(name="send_welcome_email")
    async def send_welcome_email(*, user: str) -> None:
        ran.append(user)

    async with worker:
        job = await send_welcome_email.enqueue(user="alice")
        info = await worker.info_by_id(job.id)
        assert info is not None
        assert (info.fn_name, info.args, info.kwargs) == ("send_welcome_email", (), {"user": "alice"})
        forged = json.dumps({"function": "send_welcome_email", "kwargs": {"user": "mallory"}, "key": "forged"})
        await place.put_raw(b"forged", forged.encode())
    async with running(worker):
        await job.result(timeout=PATIENCE)
        await eventually(lambda: is_put_aside(place))
    assert ran == ["alice"]


async def is_put_aside(place: Place) -> bool:
    return await place.quarantine() == {b"forged": "not-an-envelope"}
