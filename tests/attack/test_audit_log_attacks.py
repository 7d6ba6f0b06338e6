"""What somebody with write access, and what an intruder with the signing key, can do to the audit log unseen: nothing."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from secure_queue.audit.log import ESCROW, EVENT, FUNCTION, MAC, PREVIOUS, SEQ, Chain, Journal, mac_of
from secure_queue.audit.log_check import LogCheck, LogReport
from secure_queue.clock import now_ms
from secure_queue.errors import KeyRingError
from secure_queue.payload.codec import NO_EXPIRY, Codec, Purpose
from secure_queue.payload.escrow import new_auditor
from secure_queue.payload.keys import KeyRing
from secure_queue.payload.serializers import MSGPACK_ID, MsgpackSerializer, pack_plain, unpack_plain

CODEC = Codec(KeyRing.of_new_key(), "shop", MsgpackSerializer())
PRIVATE, PUBLIC = new_auditor()
Records = list[bytes]


def written(count: int = 8, *, auditor: str | None = None) -> tuple[Chain, Records]:
    chain = Chain(CODEC, auditor)
    return chain, [chain.record({"event": "quarantined", "id": f"task-{number}"}) for number in range(count)]


def checked(records: Records, *, auditor: str | None = None, checkpoints: tuple[str, ...] = ()) -> LogReport:
    check = LogCheck(CODEC, auditor)
    check.add(records)
    return check.finish(checkpoints)


def reasons(report: LogReport) -> list[tuple[int | None, str]]:
    return [(problem.seq, problem.reason) for problem in report.problems]


@pytest.mark.parametrize("auditor", [None, PUBLIC], ids=["sealed", "forward-secure"])
def test_an_untouched_log_is_whole(auditor: str | None) -> None:
    (one, first), (two, second) = written(auditor=auditor), written(auditor=auditor)
    mixed = [record for pair in zip(first, second, strict=True) for record in pair]
    report = checked(mixed, auditor=PRIVATE, checkpoints=(one.checkpoint, two.checkpoint))
    assert (reasons(report), report.records, len(report.events)) == ([], 16, 16)
    assert report.forward_secure == (16 if auditor else 0)
    assert set(report.chains.values()) == {one.checkpoint, two.checkpoint}


@pytest.mark.attack(59)
@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (lambda r: [*r[:3], bytes([*r[3][:-1], r[3][-1] ^ 1]), *r[4:]], [(None, "bad-signature"), (4, "gap")]),
        (lambda r: r[:3] + r[4:], [(4, "gap")]),
        (lambda r: r[1:], [(1, "gap")]),
        (lambda r: [r[0], r[2], r[1], *r[3:]], [(2, "gap"), (1, "out-of-order")]),
        (lambda r: [*r[:3], os.urandom(100), *r[3:]], [(None, "not-an-envelope")]),
        (lambda r: [*r[:3], b"", *r[3:]], [(None, "too-short")]),
        (lambda r: [*r[:3], written(1)[1][0][:-4], *r[3:]], [(None, "bad-signature")]),
    ],
    ids=["edit", "delete", "cut-the-beginning", "reorder", "insert-junk", "insert-nothing", "insert-cut"],
)
def test_each_change_is_named_with_its_record(
    attack: Callable[[Records], Records], expected: list[tuple[int | None, str]]
) -> None:
    _, records = written()
    found = reasons(checked(attack(records)))
    assert found[: len(expected)] == expected
    assert len(found) <= len(expected) + 1


@pytest.mark.attack(59)
def test_a_tail_that_was_cut_off_is_found_by_a_checkpoint() -> None:
    chain, records = written()
    assert reasons(checked(records[:-2])) == []
    assert reasons(checked(records[:-2], checkpoints=(chain.checkpoint,))) == [(8, "missing-tail")]
    assert reasons(checked([], checkpoints=(chain.checkpoint,))) == [(8, "missing-tail")]


@pytest.mark.attack(59)
def test_the_same_record_twice_says_nothing_new() -> None:
    _, records = written()
    report = checked([*records, *records[-3:]])
    assert (reasons(report), report.repeated) == ([], 3)


@pytest.mark.attack(59)
def test_a_genuine_record_of_another_queue_or_place_is_refused() -> None:
    other = Codec(KeyRing.of_new_key(), "shop", MsgpackSerializer())
    foreign = Chain(other).record({"event": "x"})
    task = CODEC.seal(Purpose.TASK, "a", FUNCTION, b"", b"\x80", now_ms=now_ms(), jti=os.urandom(16))
    report = checked([*written(2)[1], foreign, task])
    assert report.unverifiable == 1
    assert reasons(report) == [(None, "wrong-purpose")]


@pytest.mark.attack(60)
def test_a_past_record_cannot_be_made_again_with_a_stolen_key() -> None:
    """The intruder at record 6 has the signing key and all that the process still holds, and rewrites record 2."""
    chain, records = written(6, auditor=PUBLIC)
    bodies = [unpack_plain(CODEC.verify(r, Purpose.AUDIT, chain.name, now_ms=now_ms()).value) for r in records]
    bodies[2][EVENT] = {"event": "nothing happened"}
    stolen = chain._key
    assert all(body.get(MAC) != stolen for body in bodies)
    bodies[2][MAC] = mac_of(stolen, bodies[1][MAC], 2, bodies[2][EVENT])
    forged = records[:2] + reseal_from(chain.name, bodies, 2, hashlib.sha256(records[1]).digest())
    assert reasons(checked(forged)) == []  # the signatures and digests are right: only the auditor can tell
    assert (2, "bad-mac") in reasons(checked(forged, auditor=PRIVATE))


@pytest.mark.attack(60)
@pytest.mark.parametrize("auditor", [None, PRIVATE], ids=["without-the-auditor", "with-the-auditor"])
def test_a_past_record_cannot_be_made_again_by_leaving_out_what_cannot_be_made(auditor: str | None) -> None:
    chain, records = written(6, auditor=PUBLIC)
    bodies = [unpack_plain(CODEC.verify(r, Purpose.AUDIT, chain.name, now_ms=now_ms()).value) for r in records]
    bodies[2][EVENT] = {"event": "nothing happened"}
    for body in bodies[2:]:
        del body[MAC]
    forged = records[:2] + reseal_from(chain.name, bodies, 2, hashlib.sha256(records[1]).digest())
    assert (2, "bad-mac") in reasons(checked(forged, auditor=auditor))


def reseal_from(chain: str, bodies: list[dict[int, Any]], first: int, head: bytes) -> Records:
    made = []
    for body in bodies[first:]:
        body[PREVIOUS] = head
        made.append(
            CODEC.seal(
                Purpose.AUDIT, chain, FUNCTION, b"", pack_plain(body), now_ms=now_ms(), jti=os.urandom(16),
                lifetime_s=NO_EXPIRY, serializer_id=MSGPACK_ID,
            )
        )  # fmt: skip
        head = hashlib.sha256(made[-1]).digest()
    return made


@pytest.mark.attack(60)
def test_a_whole_chain_made_anew_is_found_by_a_checkpoint_or_beside_the_old_one() -> None:
    chain, records = written(6, auditor=PUBLIC)
    checkpoint = chain.checkpoint
    intruder = Chain(CODEC, PUBLIC)
    intruder.name = chain.name
    forged = [intruder.record({"event": "nothing happened"}) for _ in range(6)]
    assert reasons(checked(forged, auditor=PRIVATE)) == []
    assert reasons(checked(forged, auditor=PRIVATE, checkpoints=(checkpoint,))) == [(6, "missing-tail")]
    assert (0, "out-of-order") in reasons(checked(records + forged, auditor=PRIVATE))


@pytest.mark.attack(60)
def test_a_chain_without_the_escrow_of_this_auditor_is_not_believed() -> None:
    _, records = written(3, auditor=PUBLIC)
    stranger, _ = new_auditor()
    assert reasons(checked(records, auditor=stranger))[0] == (0, "bad-escrow")
    body_less = records[1:]
    assert (1, "no-escrow") in reasons(checked(body_less, auditor=PRIVATE))
    assert SEQ == 1


@pytest.mark.parametrize("odd", [{MAC: "text"}, {MAC: 5}, {MAC: b"x", ESCROW: "text"}, {SEQ: -1}, {EVENT: []}])
def test_a_record_of_another_shape_that_a_key_holder_has_sealed_is_a_problem_and_no_crash(odd: dict[int, Any]) -> None:
    chain, records = written(2, auditor=PUBLIC)
    bodies = [unpack_plain(CODEC.verify(r, Purpose.AUDIT, chain.name, now_ms=now_ms()).value) for r in records]
    for place in (0, 1):
        made = [body | odd if number == place else body for number, body in enumerate(bodies)]
        report = checked(reseal_from(chain.name, made, 0, bytes(32)), auditor=PRIVATE)
        assert report.problems


def test_no_bytes_make_the_check_fail() -> None:
    chance = random.Random(7)
    _, records = written(3, auditor=PUBLIC)
    for _ in range(3_000):
        mutant = bytearray(chance.choice(records))
        for _ in range(chance.randint(1, 4)):
            mutant[chance.randrange(len(mutant))] ^= 1 << chance.randrange(8)
        report = checked(
            [bytes(mutant[: chance.choice((len(mutant), chance.randrange(len(mutant))))])], auditor=PRIVATE
        )
        assert report.events == []


def test_keys_that_are_none_are_refused_with_the_way_to_make_one() -> None:
    with pytest.raises(KeyRingError, match="audit log keygen"):
        Chain(CODEC, PRIVATE)
    with pytest.raises(KeyRingError, match="audit log keygen"):
        LogCheck(CODEC, PUBLIC)


class Kept:
    """The list of a server; it can be away."""

    def __init__(self) -> None:
        self.records: Records = []

    async def note(self, records: Records) -> int:
        await anyio.lowlevel.checkpoint()
        self.records += records
        return len(self.records)


@pytest.mark.anyio
async def test_what_is_noted_is_escaped_cut_and_in_order() -> None:
    kept = Kept()
    journal = Journal(kept, CODEC, process="w1")  # type: ignore[arg-type]
    journal.note("quarantined", id="a\nERROR forged line", reason="x" * 5000, size=3)
    await journal.flush()
    start, event = (each.facts for each in checked(kept.records).events)
    assert start["event"] == "start" and start["process"] == "w1"
    assert event["id"] == "a\\x0aERROR forged line" and len(event["reason"]) < 300 and event["size"] == 3


@pytest.mark.anyio
async def test_a_last_flush_that_meets_one_under_way_appends_and_forgets_nothing_twice() -> None:
    kept = Kept()
    journal = Journal(kept, CODEC, process="w1")  # type: ignore[arg-type]
    for number in range(5):
        journal.note("quarantined", id=f"task-{number}")
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(journal.flush)
    report = checked(kept.records)
    assert (report.records, report.repeated, report.problems) == (6, 0, [])
