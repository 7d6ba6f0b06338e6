"""The desk: runs wait for seats, seats wait for runs, leases are listed."""

from __future__ import annotations

import anyio
import pytest

from secure_queue.execution.appetite import Appetite
from secure_queue.execution.runs import Desk, Run
from secure_queue.execution.verdict import Aborted, LeaseLost
from secure_queue.storage import Claim, GiveBack
from tests.servers import PATIENCE

pytestmark = pytest.mark.anyio


def claim(task_id: bytes, untrusted: bytes | None = b"sealed") -> Claim:
    return Claim(task_id, untrusted, 1, "normal", b"w.1")


async def test_runs_are_taken_in_order_by_whoever_is_there() -> None:
    desk, taken = Desk(), list[bytes]()

    async def seat() -> None:
        while True:
            taken.append((await desk.take()).claim.untrusted_id)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(seat)
            await anyio.wait_all_tasks_blocked()
            assert desk.idle_seats == 3
            desk.add(claim(b"%d" % number) for number in range(10))
            await anyio.wait_all_tasks_blocked()
            assert taken == [b"%d" % number for number in range(10)]
            assert (desk.idle_seats, desk.waiting) == (3, 0)
            group.cancel_scope.cancel()
    assert desk.idle_seats == 0


async def test_a_seat_that_was_called_and_cancelled_leaves_the_run_to_the_others() -> None:
    desk, taken = Desk(), list[bytes]()

    async def seat() -> None:
        taken.append((await desk.take()).claim.untrusted_id)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            async with anyio.create_task_group() as first:
                first.start_soon(seat)
                await anyio.wait_all_tasks_blocked()
                first.cancel_scope.cancel()
                desk.add([claim(b"a")])
            group.start_soon(seat)
    assert taken == [b"a"]


async def test_what_no_seat_took_can_be_taken_back() -> None:
    desk = Desk()
    desk.add([claim(b"a"), claim(b"b")])
    assert [run.claim.untrusted_id for run in desk.take_back()] == [b"a", b"b"]
    assert desk.waiting == 0
    assert not desk.at_rest
    desk.let_go([(b"a", b"w.1"), (b"b", b"another token"), (b"unknown", b"w.1")])
    assert not desk.at_rest
    desk.let_go([(b"b", b"w.1")])
    assert desk.at_rest


async def test_leases_are_those_of_runs_that_have_a_payload_and_are_not_stuck() -> None:
    desk = Desk()
    desk.add([claim(b"a"), claim(b"stuck"), claim(b"ghost", None)])
    desk.held[b"stuck", b"w.1"].give_up_at = 100.0
    desk.add([claim(b"b")], partition=3)
    assert desk.leases(99.0) == {0: [GiveBack(b"a", b"w.1"), GiveBack(b"stuck", b"w.1")], 3: [GiveBack(b"b", b"w.1")]}
    assert desk.leases(100.0) == {0: [GiveBack(b"a", b"w.1")], 3: [GiveBack(b"b", b"w.1")]}


async def test_a_run_that_has_ended_is_not_counted_once_more_while_its_seat_has_not_sat_down() -> None:
    desk = Desk(most=3)
    appetite = Appetite(0, desk)
    desk.add([claim(b"first"), claim(b"second")])
    await desk.take()
    await desk.take()
    assert (desk.in_hand, desk.may_take) == (2, 1)
    desk.counters["completed"] += 1
    desk.seated -= 1
    assert (desk.in_hand, desk.may_take) == (1, 1)
    desk.add([claim(b"third")])
    assert appetite.surplus() == []
    desk.add([claim(b"fourth")])
    assert [run.claim.untrusted_id for run in appetite.surplus()] == [b"fourth"]


async def test_the_end_of_the_last_running_task_is_told() -> None:
    desk = Desk()
    runs = [Run(claim(b"a")), Run(claim(b"b"))]
    for run in runs:
        desk.begin(run)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(desk.until_nothing_runs)
            await anyio.wait_all_tasks_blocked()
            for run in runs:
                desk.end(run)
        await desk.until_nothing_runs()


async def test_the_first_reason_to_interrupt_a_run_counts() -> None:
    run = Run(claim(b"a"))
    run.scope = scope = anyio.CancelScope()
    run.interrupt(Aborted())
    run.interrupt(LeaseLost())
    assert run.interruption == Aborted()
    assert scope.cancel_called
