"""The values of a call are not repeated by the words of its failure."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from secure_queue.payload.failures import Cause, Failure, describe
from secure_queue.payload.redaction import HIDDEN, redacted


@dataclass
class Card:
    number: str
    limit: int


class Plain:
    def __init__(self) -> None:
        self.token = "s3cret-token"


Point = namedtuple("Point", "x y")
UUID_4 = UUID("6ba7b810-9dad-41d1-80b4-00c04fd430c8")


CASES = [
    ("4111-1111", "bad card 4111-1111"),
    ("4111-1111", "bad card '4111-1111'"),
    ("line\none", "bad 'line\\none'"),
    (b"raw-bytes", "bad b'raw-bytes'"),
    (b"raw-bytes", "bad raw-bytes"),
    (12345, "no user 12345"),
    (Decimal("19.99"), "price 19.99 is too low"),
    (UUID_4, f"no order {UUID_4}"),
    (date(2026, 12, 1), "closed on 2026-12-01"),
    ({"deep": [{"er": ("needle-1",)}]}, "found needle-1"),
    ({"key-name": 1}, "KeyError: 'key-name'"),
    (Card("4111-2222", 1), "card 4111-2222"),
    (Plain(), "token s3cret-token"),
    (Point("left-side", 2), "at left-side"),
]


@pytest.mark.parametrize(("value", "words"), CASES, ids=[f"{number}" for number in range(len(CASES))])
def test_a_value_is_taken_out_in_every_spelling(value: object, words: str) -> None:
    failure = Failure("ValueError", words, "File …", (Cause("KeyError", words),))
    clean = redacted(failure, [[value], {}])
    assert HIDDEN in clean.message and clean.chain[0].message == clean.message
    assert clean.message != words
    for leaf in (
        "4111",
        "raw-bytes",
        "12345",
        "19.99",
        str(UUID_4),
        "2026",
        "needle",
        "key-name",
        "s3cret",
        "left",
        "one",
    ):
        assert leaf not in clean.message
    assert (clean.type_name, clean.traceback) == ("ValueError", "File …")


def test_what_is_no_argument_stays() -> None:
    failure = describe(ValueError("the server 10.0.0.1 refused, try 3 of 5"))
    assert redacted(failure, [["other", 3, True, None, ""], {"to": "x"}]) == failure


def test_the_longest_value_goes_first() -> None:
    failure = Failure("E", "abcdefgh and abcd")
    assert redacted(failure, ["abcd", "abcdefgh"]).message == f"{HIDDEN} and {HIDDEN}"


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize("value", [Hostile(), [f"value-{number}" for number in range(5_000)]], ids=["hostile", "many"])
def test_what_cannot_be_compared_hides_everything(value: object) -> None:
    clean = redacted(Failure("E", "secret", "", (Cause("F", "secret"),)), [value])
    assert "secret" not in clean.message + clean.chain[0].message
