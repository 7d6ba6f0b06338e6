"""Whose turn it is when several queues share seats."""

from __future__ import annotations

from collections import Counter

import pytest

from secure_queue.execution.sharing import Share, SharedSeats


class Taker:
    """Somebody with so many tasks in hand."""

    def __init__(self, in_hand: int = 0, may_take: float = 1_000) -> None:
        self.in_hand = in_hand
        self.may_take = may_take


def shared(seats: int, takers: list[Taker], weights: tuple[int, ...] | None = None) -> list[Share]:
    shares = SharedSeats(seats, len(takers), weights).shares
    for share, taker in zip(shares, takers, strict=True):
        share.join(taker, int)
        share.end_claim("the first one")
    return shares


def started(shares: list[Share], takers: list[Taker], rounds: int) -> Counter[int]:
    """Let every seat become free *rounds* times, one after the other, and each queue take what it is granted."""
    counts = Counter[int]()
    for _ in range(rounds):
        before = -1
        while counts.total() > before:
            before = counts.total()
            for place, share in enumerate(shares):
                granted = share.grant() if share.is_asking else 0
                takers[place].in_hand += granted
                share.passed += granted / share.weight
                counts[place] += granted
        for taker in takers:
            taker.in_hand = 0
    return counts


def test_in_strict_order_a_queue_gets_nothing_while_one_before_it_has_work() -> None:
    high, low = shared(4, [Taker(), Taker()])
    low.ask()
    assert low.grant() == 4
    high.ask()
    assert (high.grant(), low.grant()) == (4, 0)
    high.stop_asking()
    high.begin_claim("a fetcher")
    assert low.grant() == 0
    high.end_claim("a fetcher")
    assert low.grant() == 4


def test_before_its_first_claim_a_queue_is_taken_for_one_that_has_work() -> None:
    high, low = SharedSeats(4, 2, None).shares
    low.join(Taker(), int)
    low.ask()
    assert low.grant() == 0
    high.join(Taker(), int)
    high.begin_claim("a fetcher")
    high.end_claim("a fetcher")
    assert low.grant() == 4


def test_a_claim_that_is_not_answered_holds_nobody_up_for_longer_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    high, low = shared(4, [Taker(), Taker()])
    high.begin_claim("a fetcher")
    low.ask()
    now = high._claiming["a fetcher"]
    monkeypatch.setattr("secure_queue.execution.sharing.monotonic", lambda: now + 0.9)
    assert low.grant() == 0
    monkeypatch.setattr("secure_queue.execution.sharing.monotonic", lambda: now + 1.1)
    assert low.grant() == 4


def test_what_others_have_in_hand_is_not_given_away_and_what_is_too_much_is_known() -> None:
    high, low = shared(4, [Taker(in_hand=1), Taker(in_hand=2)])
    assert high.grant() == low.grant() == 1
    low.join(Taker(in_hand=2), lambda: 3)
    assert (high.grant(), high.excess) == (0, 2)


@pytest.mark.parametrize("seats", [1, 3, 16])
def test_by_weight_queues_with_work_start_tasks_in_proportion(seats: int) -> None:
    takers = [Taker(), Taker()]
    shares = shared(seats, takers, (3, 1))
    for share in shares:
        share.ask()
    counts = started(shares, takers, 100)
    assert counts[0] + counts[1] == 100 * seats
    assert counts[0] / counts[1] == pytest.approx(3, rel=0.1)


def test_the_moment_between_two_claims_takes_nothing_from_the_proportion() -> None:
    takers = [Taker(), Taker(), Taker()]
    shares = shared(1, takers, (10, 3, 1))
    for share in shares:
        share.note(found=1, kept=0)
        share.ask()
    counts = Counter[int]()
    for _ in range(140):
        place = next(place for place, share in enumerate(shares) if share.grant())
        shares[place].stop_asking()  # its claim is over before it asks again
        shares[place].note(found=1, kept=1)
        shares[place].note(found=0, kept=0, fetchers=2)  # another of its partitions is empty
        counts[place] += 1
        shares[place].ask()
    assert counts == Counter({0: 100, 1: 30, 2: 10})


def test_a_queue_that_has_nothing_to_run_leaves_its_share_to_the_others_and_gets_no_credit_for_it() -> None:
    takers = [Taker(), Taker()]
    shares = shared(4, takers, (1, 1))
    shares[0].ask()
    assert started(shares, takers, 100) == Counter({0: 400, 1: 0})
    shares[1].ask()
    counts = started(shares, takers, 10)
    assert counts[0] == counts[1] == 20


def test_a_queue_that_has_done_enough_or_has_left_stands_in_nobodys_way() -> None:
    enough = Taker(may_take=0)
    high, low = shared(4, [enough, Taker()])
    high.ask()
    assert low.grant() == 4
    enough.may_take = 1
    assert low.grant() == 0
    high.leave()
    assert low.grant() == 4
