"""Keys of calls: which values they are chosen from, and that equal ones have equal digests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from secure_queue.errors import ConfigurationError
from secure_queue.key_options import for_function, keying_of_call, keying_of_task
from secure_queue.keying import NO_KEYS, Keying, Keys, keys_of, seat_of
from secure_queue.spelling import canonical


class Colour(Enum):
    RED = 1


@dataclass
class Order:
    number: int


def charge(customer: int, amount: int = 5, *, note: str = "") -> None: ...


def keying(**options: Any) -> Keying:
    return for_function(keying_of_task(options), charge)  # type: ignore[arg-type]


def keys(made: Keying, *args: Any, **kwargs: Any) -> Keys:
    return keys_of(made, "orders", "charge", args, kwargs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, frozenset({"z", "y", "x"})),
        ((1, 2), [1, 2]),
        (Order(3), Order(3)),
    ],
)
def test_equal_values_have_one_spelling(one: object, other: object) -> None:
    assert canonical(one) == canonical(other)


def test_a_value_of_a_derived_class_is_spelled_like_a_plain_one() -> None:
    class Tenant(str):
        __slots__ = ()

        def __repr__(self) -> str:
            return f"Tenant at {id(self)}"

    assert canonical(Tenant("a")) == canonical("a")
    assert canonical((True, Tenant("a"))) == canonical([True, "a"]) != canonical([1, "a"])


def test_values_that_differ_are_spelled_differently() -> None:
    values = [None, 1, True, 1.0, "1", b"1", Decimal(1), UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), Colour.RED]
    values += [[1], [[1]], {1: 1}, {1}, Order(1), "", [], {}, ["1,2"], ["1", "2"]]
    assert len({canonical(value) for value in values}) == len(values)


def test_a_value_without_a_spelling_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="a object cannot be a key"):
        canonical([object()])


def test_without_a_rule_a_call_is_known_by_its_arguments_however_they_are_passed() -> None:
    made = keying(unique="queued")
    assert keys(made, 1) == keys(made, customer=1) == keys(made, 1, 5, note="")
    assert keys(made, 1) != keys(made, 2)
    assert len(keys(made, 1).unique) == 32 and keys(made, 1).line == b""


def test_a_key_belongs_to_its_queue_and_its_function() -> None:
    made = keying(unique_key="customer")
    found = {keys_of(made, queue, fn, (1,), {}).unique for queue in ("a", "b") for fn in ("f", "g")}
    assert len(found) == 4


@pytest.mark.parametrize("rule", ["customer", ["customer"], lambda customer, **_: customer])
def test_a_key_is_chosen_by_names_or_by_a_function(rule: Any) -> None:
    made = keying(unique_key=rule)
    assert keys(made, 1) == keys(made, customer=1, amount=7)
    assert keys(made, 1) != keys(made, 2)


def test_what_is_only_spaced_out_in_time_is_one_for_each_function() -> None:
    for made in (keying(throttle=5), keying(debounce=5)):
        assert keys(made, 1) == keys(made, 2)
    assert keys(keying(debounce=5, unique_key="customer"), 1) != keys(keying(debounce=5, unique_key="customer"), 2)


def test_a_line_is_that_of_all_functions_and_its_kind_stands_in_front() -> None:
    ordered, fair = keying(order_by="customer"), keying(fair_by="customer")
    assert keys(ordered, 1).line == keys_of(ordered, "orders", "refund", (1,), {}).line
    assert keys(ordered, 1).line[:1] == b"o" and keys(fair, 1).line == b"f" + keys(ordered, 1).line[1:]


def test_who_waits_for_the_end_of_another_stands_in_a_line_and_in_nobodys_way() -> None:
    made = keying(unique_key="customer", on_conflict="wait")
    assert keys(made, 1).unique == b"" and keys(made, 1).line.startswith(b"o")
    assert keys(made, 1).line != keys(keying(order_by="customer"), 1).line


def test_one_value_is_one_partition_for_both_keys_of_a_call() -> None:
    assert len(keys(keying(unique_key="customer", order_by="customer"), 1).checksums) == 1
    assert len(keys(keying(unique_key="amount", order_by="customer"), 1, 2).checksums) == 2


def test_the_seat_of_a_unique_task_is_that_of_its_function_or_of_its_key() -> None:
    def seat(made: Keying, *args: Any) -> bytes:
        return seat_of(made, "orders", "charge", args, {})

    assert seat(keying(unique=True), 1) == seat(keying(unique=True), 2)
    assert seat(keying(unique=True, unique_key="customer"), 1) != seat(keying(unique=True, unique_key="customer"), 2)


def test_a_call_brings_its_key_as_a_text() -> None:
    task = keying(order_by="customer")
    call = keying_of_call(task, {"order_by": "customer 1"})
    assert keys(call, 1) == keys(call, 2) != keys(task, 1)
    assert keying_of_call(task, {}) is task
    assert keying_of_call(NO_KEYS, {"unique_key": None}) is NO_KEYS
    assert not keying_of_call(keying(unique_key="customer"), {"unique": False}).decides_enqueue


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unique": "sometimes"}, "True, 'queued' or 'unfinished'"),
        ({"unique": True, "unique_for": 5}, "about runs"),
        ({"on_conflict": "fight", "unique": "queued"}, "'skip', 'raise', 'replace' or 'wait'"),
        ({"on_conflict": "raise"}, "belongs to unique="),
        ({"on_conflict": "raise", "unique": True}, "belongs to unique="),
        ({"on_conflict": "replace", "throttle": 5}, "decide conflicts themselves"),
        ({"on_conflict": "raise", "debounce": 5}, "decide conflicts themselves"),
        ({"on_conflict": "wait", "unique": "queued"}, "say unique='unfinished'"),
        ({"on_conflict": "wait", "unique": "unfinished", "order_by": "customer"}, "a line of its own"),
        ({"order_by": "customer", "fair_by": "customer"}, "one line"),
        ({"debounce": 5, "throttle": 5}, "contradict each other"),
        ({"debounce": 5, "unique": "queued"}, "leave unique= out"),
        ({"debounce": 5, "debounce_max": 3}, "at least as long"),
        ({"unique_key": 7}, "a function of the arguments"),
        ({"unique_key": []}, "a function of the arguments"),
        ({"unique_key": "nobody"}, "no parameter 'nobody'"),
        ({"unique_for": -1}, "unique_for must be"),
        ({"debounce_max": 9}, "limits debounce="),
    ],
)
def test_wishes_that_contradict_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        keying(**options)


@pytest.mark.parametrize(
    "options", [{"debounce": 5}, {"throttle": 30}, {"unique_for": 9}, {"unique": "queued"}], ids=str
)
def test_a_call_may_want_to_be_enqueued_in_any_case(options: dict[str, Any]) -> None:
    assert not keying_of_call(keying(unique_key="customer", **options), {"unique": False}).decides_enqueue


def test_what_a_call_cannot_bring_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="belongs to the task"):
        keying_of_call(NO_KEYS, {"unique": True})
    with pytest.raises(ConfigurationError, match="one text"):
        keying_of_call(NO_KEYS, {"order_by": ["a", "b"]})
    with pytest.raises(ConfigurationError, match="from the task"):
        keying_of_call(keying(unique=True), {"unique_key": "text"})
    with pytest.raises(ConfigurationError, match="no customer"):
        keys_of(keying_of_task({"unique_key": "customer"}), "q", "f", (1,), {})
