"""``queue=`` of an actor: the actors of a router belong to different queues, which one process works on together."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import ConfigurationError, Router, Worker, serve
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_actors_of_a_router_go_to_their_queues_and_share_one_process(place: Place) -> None:
    router, ran, done = Router(), list[tuple[str, str]](), anyio.Event()

    @router.actor(queue="mail")
    async def send() -> None:
        ran.append(("send", send.worker.queue_name))
        await charge.enqueue()

    @router.actor(queue="billing")
    async def charge() -> None:
        ran.append(("charge", charge.worker.queue_name))
        await either.enqueue()

    @router.actor
    async def either() -> None:
        ran.append(("either", either.worker.queue_name))
        if len(ran) == 5:
            done.set()

    mail, billing = (place.worker(queue_name=name, routers=[router]) for name in ("mail", "billing"))
    async with mail, billing, anyio.create_task_group() as group:
        await send.enqueue()
        await router.enqueue_by_name(charge.fn_name)
        assert (await mail.queue_size(), await billing.queue_size()) == (1, 1)
        await group.start(serve, mail, billing)
        with anyio.fail_after(PATIENCE):
            await done.wait()
        mail.drain()
        billing.drain()
    assert sorted(ran) == [("charge", "billing")] * 2 + [("either", "billing")] * 2 + [("send", "mail")]


def test_a_worker_has_the_actors_and_schedules_of_its_own_queue_alone() -> None:
    router, outer, mail, billing = Router(), Router(), Worker("memory://", queue_name="mail"), Worker("memory://")
    outer.include(router)
    for worker in (mail, billing):
        worker.include(outer)
    router.actor(name="anywhere")(print)
    router.cron("* * * * *", name="letters", queue="{mail}")(lambda: None)
    router.add("textwrap:dedent", queue="mail")
    router.actor(name="charge", queue="default")(print)
    late = Worker("memory://", queue_name="mail", routers=[outer])
    for of_mail in (mail, late):
        of_mail.import_tasks()
        assert {*of_mail.registry, *of_mail.elsewhere} == {"anywhere", "letters", "dedent"}
        assert set(of_mail.declared_schedules) == {"letters"}
    assert set(billing.registry) == {"anywhere", "charge"}
    assert not billing.declared_schedules and not billing.elsewhere


def test_an_actor_of_a_queue_that_nobody_here_has_is_told_where_it_belongs() -> None:
    router, worker = Router(), Worker("memory://", queue_name="mail")
    worker.include(router)
    stray = router.actor(name="stray", queue="billing")(print)
    with pytest.raises(ConfigurationError, match="no worker object of queue 'billing' has included"):
        stray.enqueue()
    with pytest.raises(ConfigurationError, match="not of queue 'billing'; declare the task at the one that is"):
        worker.actor(name="mine", queue="billing")(print)
    assert worker.actor(name="mine", queue="mail")(print).worker is worker
