"""What was enqueued can be looked at and asserted, as the worker will see it."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import ANY
from uuid import UUID

import pytest

from secure_queue import ConfigurationError, TaskContext, Worker
from secure_queue.testing import TestWorker
from tests.testing.conftest import NOWHERE, START, Shop
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio


async def test_all_that_reaches_the_queue_is_noted_in_order_whoever_enqueues_it(shop: Shop) -> None:
    @shop.worker.cron("* * * * *")
    async def minutely() -> None: ...

    async with TestWorker(shop.worker, now=START) as queue:
        await shop.order.enqueue(7)
        await queue.drain()
        await queue.advance(minutes=1)
        assert [str(entry) for entry in queue.enqueued] == [
            "order(7)",
            "send(7, text='thanks')",
            "send(7, text='rate us'), due 3600 s later",
            f"{minutely.fn_name}()",
        ]
        later = queue.enqueued[2]
        assert (later.fn_name, later.args, later.kwargs, later.delay) == ("send", (7,), {"text": "rate us"}, 3600)
        assert later.due == START + timedelta(hours=1)


async def test_a_call_is_asserted_in_the_words_of_the_application(shop: Shop) -> None:
    async with TestWorker(shop.worker, now=START) as queue:
        task = await shop.send.enqueue(7).start(delay=60)
        await shop.send.enqueue(8, text="bye")
        assert queue.assert_enqueued(shop.send.enqueue(7)).task_id == task.id
        queue.assert_enqueued(shop.send.enqueue(user=7, text="hello").start(delay=60), times=1)
        queue.assert_enqueued(shop.send.enqueue(7).start(schedule=START + timedelta(minutes=1)))
        queue.assert_not_enqueued(shop.order)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda shop: shop.send.enqueue(9),
        lambda shop: shop.send.enqueue(7, text="bye"),
        lambda shop: shop.order.enqueue(7),
        lambda shop: shop.send.enqueue(7).start(delay=61),
        lambda shop: shop.send.enqueue(7).start(schedule=START + timedelta(minutes=2)),
        lambda shop: shop.send.enqueue(7).start(priority="high"),
    ],
    ids=["argument", "keyword", "function", "delay", "moment", "priority"],
)
async def test_another_call_is_told_from_it_and_the_message_says_what_there_was(shop: Shop, wrong: object) -> None:
    async with TestWorker(shop.worker, now=START) as queue:
        await shop.send.enqueue(7).start(delay=60)
        with pytest.raises(AssertionError, match=r"(?s)was enqueued 0 times; enqueued:.*send\(7\), due 60 s later"):
            queue.assert_enqueued(wrong(shop))  # type: ignore[operator]


async def test_what_the_call_says_of_itself_is_compared_as_far_as_the_handle_says_it(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        await shop.send.enqueue(7).start(headers={"tenant": "acme", "by": "me"}, max_tries=2, timeout=5, ttl=9)
        entry = queue.assert_enqueued(shop.send.enqueue(7))
        assert str(entry) == "send(7), headers={'tenant': 'acme', 'by': 'me'}, max_tries=2, timeout=5.0, ttl=9.0"
        queue.assert_enqueued(shop.send.enqueue(7).start(headers={"tenant": "acme"}, max_tries=2))
        queue.assert_enqueued(shop.send.enqueue(7).start(timeout=5, ttl=9))
        for wrong in ({"headers": {"tenant": "other"}}, {"max_tries": 3}, {"timeout": 6}, {"ttl": 0}):
            with pytest.raises(AssertionError, match="0 times"):
                queue.assert_enqueued(shop.send.enqueue(7).start(**wrong))  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=r"a schedule and no task; look at `await worker.schedules\(\)`"):
            queue.assert_enqueued(shop.send.enqueue(7).start(schedule="* * * * *"))


async def test_arguments_are_compared_as_they_are_passed_and_read_and_what_is_injected_is_none_of_them() -> None:
    worker = Worker(NOWHERE, signing_secret=SECRET, serializer="json")

    @worker.task
    async def greet(context: TaskContext, user: int, place: tuple[int, int] = (0, 0)) -> None: ...

    async with TestWorker(worker) as queue:
        await greet.enqueue(7)  # type: ignore[call-arg,arg-type]  # the context is injected
        await greet.enqueue(8, (1, 2))  # type: ignore[arg-type]
        queue.assert_enqueued(greet.enqueue(user=7, place=(0, 0)), times=1)  # type: ignore[call-arg]
        queue.assert_enqueued(greet.enqueue(8, place=(1, 2)))  # type: ignore[call-arg,arg-type]
        queue.assert_enqueued(greet.enqueue(ANY), times=1)  # type: ignore[arg-type,call-arg]
        with pytest.raises(AssertionError, match=r"greet\(8, \[1, 2\]\)"):
            queue.assert_enqueued(greet.enqueue(8, (1, 3)))  # type: ignore[arg-type]


async def test_an_id_and_the_number_of_times_are_compared_if_they_are_given(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        for task_id in ("a", "b"):
            task = shop.send.enqueue(1)
            task.id = task_id
            await task
        wanted = shop.send.enqueue(1)
        wanted.id = "b"
        assert queue.assert_enqueued(wanted, times=1).task_id == "b"
        queue.assert_enqueued(shop.send.enqueue(1), times=2)
        with pytest.raises(AssertionError, match="was enqueued 2 times, and not 3 times"):
            queue.assert_enqueued(shop.send.enqueue(1), times=3)


async def test_a_task_and_a_call_of_it_are_not_the_same(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        with pytest.raises(ConfigurationError, match=r"for example send.enqueue\(7\)"):
            queue.assert_enqueued(shop.send)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="looks at no arguments"):
            queue.assert_not_enqueued(shop.send.enqueue(7))  # type: ignore[arg-type]


async def test_what_was_not_to_be_enqueued_is_told(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        queue.assert_nothing_enqueued()
        await shop.send.enqueue(1)
        with pytest.raises(AssertionError, match=r"send was not to be enqueued.*\n  send\(1\)"):
            queue.assert_not_enqueued(shop.send)
        with pytest.raises(AssertionError, match="nothing was to be enqueued"):
            queue.assert_nothing_enqueued()
        queue.forget_enqueued()
        queue.assert_nothing_enqueued()
        assert await queue.drain() == {"completed": 1}


async def test_an_id_that_is_known_and_a_repeated_call_count_once(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        for number in (1, 2):
            task = shop.send.enqueue(number)
            task.id = "the-same"
            await task
        queue.faults.lose_reply("enqueue")
        await shop.send.enqueue(3)
        assert [entry.args for entry in queue.enqueued] == [(1,), (3,)]


async def test_a_dead_letter_that_is_put_back_is_no_new_enqueue(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        task = await shop.flaky.enqueue(9)
        assert await queue.finish() == {"retried": 2, "failed": 1}
        await shop.worker.retry_dead_letter(task.id)
        assert await queue.finish() == {"retried": 2, "failed": 1}
        assert [str(entry) for entry in queue.enqueued] == ["flaky(9)"]


async def test_arguments_have_been_through_the_serializer_encryption_and_compression() -> None:
    worker = Worker(NOWHERE, signing_secret=SECRET, encrypt=True, compress=True)

    @worker.task
    async def greet(user: UUID, names: list[str]) -> None: ...

    user, names = UUID(int=7), ["Ada"] * 1000
    async with TestWorker(worker) as queue:
        await greet.enqueue(user, names)
        names.append("changed afterwards")
        entry = queue.assert_enqueued(greet.enqueue(user, ["Ada"] * 1000))
        assert entry.args == (user, ["Ada"] * 1000)
