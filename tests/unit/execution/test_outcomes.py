"""Sealed results: who they answer, and how long they can be read."""

from __future__ import annotations

import os

import pytest

from secure_queue.clock import now_ms
from secure_queue.errors import Rejected, ResultUnavailable
from secure_queue.outcomes import (
    ABORTED,
    MARK_LIFETIME_S,
    PLAIN,
    RESULT_LIFETIME_S,
    aborted_result,
    lifetime_s,
    read_result,
    read_status,
    seal_done,
    seal_failure,
    seal_mark,
)
from secure_queue.payload.codec import Codec, Opened, Purpose
from secure_queue.payload.envelope import NO_EXPIRY
from secure_queue.payload.failures import Failure
from secure_queue.payload.keys import KeyRing
from secure_queue.payload.records import Outcome, ResultHead
from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.settings import LONGEST_TTL_S, WorkerSettings
from secure_queue.tasks import TaskStatus

DAY_MS = 86_400_000


@pytest.fixture
def codec() -> Codec:
    return Codec(KeyRing.of_new_key(), "q", MsgpackSerializer())


@pytest.fixture
def task(codec: Codec) -> Opened:
    body = MsgpackSerializer().dumps([[1], {}])
    sealed = codec.seal(Purpose.TASK, "t1", "f", b"", body, now_ms=now_ms(), jti=os.urandom(16))
    return codec.open(sealed, Purpose.TASK, "t1", now_ms=now_ms())


def head(outcome: Outcome) -> ResultHead:
    return ResultHead(outcome, 1, now_ms(), now_ms(), now_ms(), "w")


def test_a_result_answers_exactly_its_task(codec: Codec, task: Opened) -> None:
    sealed = seal_done(codec, task, head(Outcome.DONE), MsgpackSerializer().dumps(7), 1000)
    opened = codec.open(sealed, Purpose.RESULT, "t1", now_ms=now_ms(), function="f", ref=task.jti)
    assert opened.value == 7
    with pytest.raises(Rejected, match="wrong-ref"):
        codec.open(sealed, Purpose.RESULT, "t1", now_ms=now_ms(), ref=os.urandom(16))
    with pytest.raises(Rejected, match="wrong-function"):
        codec.open(sealed, Purpose.RESULT, "t1", now_ms=now_ms(), function="g")


def test_a_failure_can_be_read_as_long_as_its_dead_letter_is_kept(codec: Codec, task: Opened) -> None:
    sealed = seal_failure(codec, task, head(Outcome.FAILED), Failure("ValueError", "x"), 0)
    keep_dead_ms = round(WorkerSettings.__dataclass_fields__["keep_dead_s"].default * 1000)
    codec.open(sealed, Purpose.RESULT, "t1", now_ms=now_ms() + keep_dead_ms)


@pytest.mark.parametrize(
    ("ttl_ms", "expected"),
    [
        (-1, NO_EXPIRY),
        (0, RESULT_LIFETIME_S),
        (1000, RESULT_LIFETIME_S),
        (30 * DAY_MS, 30 * 86_400 + 60),
        (30 * DAY_MS + 1, 30 * 86_400 + 61),
    ],
)
def test_a_sealed_result_outlives_its_storage(ttl_ms: int, expected: int) -> None:
    assert lifetime_s(ttl_ms) == expected


def test_the_longest_lifetime_fits_an_envelope(codec: Codec, task: Opened) -> None:
    for seal in (
        lambda ttl_ms: seal_done(codec, task, head(Outcome.DONE), b"\xc0", ttl_ms),
        lambda ttl_ms: seal_failure(codec, task, head(Outcome.FAILED), ABORTED, ttl_ms),
    ):
        for ttl_ms in (-1, LONGEST_TTL_S * 1000):
            codec.open(seal(ttl_ms), Purpose.RESULT, "t1", now_ms=now_ms())


@pytest.mark.anyio
async def test_a_mark_tells_how_the_task_ended_and_has_no_value(codec: Codec, task: Opened) -> None:
    mark = seal_mark(codec, task, head(Outcome.ABORTED), PLAIN)
    assert read_status(codec, mark, "t1") is TaskStatus.ABORTED
    with pytest.raises(ResultUnavailable):
        await read_result(codec, mark, "t1", {}, function=task.function, ref=task.jti)
    late = now_ms() + MARK_LIFETIME_S * 1000 + 61_000
    with pytest.raises(Rejected, match="expired"):
        codec.verify(mark, Purpose.RESULT, "t1", now_ms=late)


def test_an_aborted_task_has_a_result_that_says_so(codec: Codec, task: Opened) -> None:
    opened = codec.open(aborted_result(codec, task, 1), Purpose.RESULT, "t1", now_ms=now_ms(), ref=task.jti)
    assert ResultHead.unpack(opened.head).outcome is Outcome.ABORTED
    assert opened.value["type"] == "secure_queue.TaskAborted"
