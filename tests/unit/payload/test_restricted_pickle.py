"""Listed classes travel by pickle, and the producer is told what the reader would refuse."""

import collections
import decimal
import uuid
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from secure_queue.errors import ConfigurationError, Rejected, UnserializableValue
from secure_queue.payload.restricted_pickle import RestrictedPickle, scan_pickle

CLASSES = [datetime, timedelta, timezone, date, decimal.Decimal, uuid.UUID, collections.OrderedDict]
VALUES = [
    1,
    "x",
    [1, {"a": (1, 2)}],
    datetime.now(UTC),
    decimal.Decimal("1.5"),
    collections.OrderedDict(a=1),
    {1, 2},
    frozenset({1}),
    uuid.uuid4(),
    b"\x82\x83\x84" * 1000,
    "y" * 70_000,
    2**200,
    None,
    list(range(100_000)),
]


@pytest.mark.parametrize("static_scan", [False, True])
@pytest.mark.parametrize("value", VALUES)
def test_listed_classes_and_containers_come_back(value: object, static_scan: bool) -> None:
    serializer = RestrictedPickle(CLASSES, static_scan=static_scan)
    assert serializer.loads(serializer.dumps(value)) == value


@pytest.mark.parametrize("value", [print, int, object(), datetime.now, ValueError("canary"), complex(1, 2), len])
def test_what_is_not_listed_is_refused_by_type_on_the_producer_s_side(value: object) -> None:
    with pytest.raises(UnserializableValue, match="allowlist") as caught:
        RestrictedPickle(CLASSES).dumps([value])
    assert "canary" not in str(caught.value)


def test_what_cannot_be_pickled_at_all_is_refused() -> None:
    class Stubborn(list):
        def __reduce_ex__(self, protocol: object) -> str:
            raise RuntimeError("canary")

    with pytest.raises(UnserializableValue, match="RuntimeError"):
        RestrictedPickle([Stubborn]).dumps(Stubborn())


@pytest.mark.parametrize("not_a_class", [print, "os.system", getattr, lambda: None])
def test_only_classes_may_be_listed(not_a_class: object) -> None:
    with pytest.raises(ConfigurationError, match="classes only"):
        RestrictedPickle([not_a_class])


def test_exactly_one_value_is_read() -> None:
    serializer = RestrictedPickle()
    with pytest.raises(Rejected, match="trailing-bytes"):
        serializer.loads(serializer.dumps(1) + b"x")


def test_a_report_tells_what_a_pickle_would_use() -> None:
    serializer = RestrictedPickle(CLASSES)
    report = scan_pickle(serializer.dumps([uuid.UUID(int=1), [[1]]]), serializer.allowed_names)
    assert report.ok
    assert report.globals == {("uuid", "UUID")}
    assert report.calls == ("NEWOBJ uuid.UUID", "BUILD ?")
    assert report.depth >= 3
    assert report.opcodes > 10


def test_a_report_separates_what_is_allowed_from_what_is_not() -> None:
    serializer = RestrictedPickle(CLASSES)
    report = scan_pickle(serializer.dumps([uuid.UUID(int=1), date.min]), frozenset({("uuid", "UUID")}))
    assert (report.ok, report.reason) == (False, "global-not-allowed")
    assert report.refused_globals == {("datetime", "date")}


def test_a_long_list_is_not_deep() -> None:
    assert scan_pickle(RestrictedPickle().dumps(list(range(150_000))), frozenset()).depth < 5
