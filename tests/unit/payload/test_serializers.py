"""Every type that travels comes back equal in type and value; what does not travel is named by type only."""

import enum
import ipaddress
import math
import threading
import uuid
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_queue.errors import ConfigurationError, Rejected, UnserializableValue
from secure_queue.payload.serializers import MsgpackSerializer, pack_plain, unpack_plain

BERLIN = ZoneInfo("Europe/Berlin")


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mood(enum.StrEnum):
    GOOD = "good"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
    length: float = field(init=False, default=0.0, compare=False)


@dataclass
class Checked:
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ValueError("negative")


class Pair(NamedTuple):
    left: Any
    right: Any


class Order(pydantic.BaseModel):
    id: int
    when: datetime


@attrs.frozen
class Box:
    _width: int
    height: int = 2
    area: int = attrs.field(init=False, default=0)


class Struct:
    """Stands for a msgspec class, which is recognised by this attribute."""

    __struct_fields__ = ("a",)

    def __init__(self, a: int) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Struct) and other.a == self.a

    __hash__ = None


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and other.degrees == self.degrees

    def __hash__(self) -> int:
        return hash(self.degrees)


def full_serializer() -> MsgpackSerializer:
    serializer = MsgpackSerializer()
    for cls in (Colour, Level, Mood, Access, Point, Checked, Pair, Order, Box, Struct):
        assert serializer.register(cls) is cls
    serializer.register(Celsius, code=40, encode=lambda c: str(c.degrees).encode(), decode=lambda b: Celsius(float(b)))
    return serializer


FULL = full_serializer()


def round_trip(value: object, serializer: MsgpackSerializer = FULL) -> Any:
    return serializer.loads(serializer.dumps(value))


def same(left: object, right: object) -> bool:
    """Equal in type and value, all the way down, with NaN equal to itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return [*left] == [*right] and all(same(*pair) for pair in zip(left.items(), right.items(), strict=True))
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, datetime | time):
        return (repr(left), left.fold) == (repr(right), right.fold)
    return left == right or repr(left) == repr(right)


VALUES = [
    None,
    True,
    0,
    -1,
    2**63,
    -(2**63),
    2**64 - 1,
    2**64,
    -(2**64),
    2**4000,
    -(2**4094),
    1.5,
    math.inf,
    math.nan,
    -0.0,
    "",
    "größe \u0000 \U0001f600",
    b"",
    b"\xff\x00",
    bytearray(b"abc"),
    [],
    [1, [2, []]],
    (),
    (1, "a", (2, [3])),
    ([()],),
    set(),
    {1, "x"},
    {(1, 2), (3,)},
    frozenset({1, frozenset({2})}),
    {},
    {"a": 1, "b": {"c": [1]}},
    {b"key": 1},
    {1: "one", 2.5: None, None: 3, False: 4},
    {(1, 2): "tuple", ("a", (3,)): ["x"]},
    {"outer": {1: {2: {"three": (4,)}}}},
    [{1: bytearray(b"x")}, {"a": bytearray(b"y")}],
    {frozenset({1}): {date(2026, 1, 1): b"\x81\x82"}},
    {uuid.UUID(int=5): 1},
    uuid.UUID(int=2**128 - 1),
    date.min,
    date.max,
    datetime.min,
    datetime.max,
    datetime(2026, 11, 21, 4, 5, 6, 789),
    datetime(2026, 11, 21, tzinfo=UTC),
    datetime(2026, 11, 21, tzinfo=timezone(timedelta(hours=-3, minutes=-30, seconds=5, microseconds=1))),
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2026, 10, 25, 2, 30, fold=1),
    time(1, 2, 3, 4),
    time(1, 2, fold=1),
    time(1, 2, tzinfo=UTC),
    time(1, 2, tzinfo=BERLIN),
    timedelta.min,
    timedelta.max,
    timedelta(days=-1, microseconds=1),
    Decimal("1.50"),
    Decimal("-0"),
    Decimal("NaN"),
    Decimal("-sNaN12"),
    Decimal("-Infinity"),
    Decimal("1E+999999999999999999"),
    Decimal("9" * 64),
    complex(1, -2),
    complex(math.inf, -0.0),
    Path("a/b"),
    PurePosixPath("/x/y"),
    PureWindowsPath("C:\\x"),
    ipaddress.ip_address("127.0.0.1"),
    ipaddress.ip_address("::1"),
    ipaddress.ip_address("fe80::1%eth0"),
    Colour.RED,
    Level.HIGH,
    Mood.GOOD,
    Access.READ | Access.WRITE,
    Point(1, 2),
    Pair(1, (Colour.BLUE, {Level.LOW: [Point(3)]})),
    Order(id=1, when=datetime(2026, 1, 1, tzinfo=UTC)),
    Box(1, 3),
    Struct(7),
    Celsius(36.6),
    {Celsius(1.0): {Pair(1, 2)}},
]


@pytest.mark.attack(54)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_equal_in_type_and_value(value: object) -> None:
    assert same(round_trip(value), value)
    assert same(round_trip([value, {"k": value}]), [value, {"k": value}])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**100), 2**100)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(max_size=20)
    | st.uuids()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.integers(), inner, max_size=4
        )
    ),
    max_leaves=25,
)


@pytest.mark.attack(54)
@settings(deadline=None, derandomize=True, max_examples=200)
@given(value=plain)
def test_any_nesting_of_values_comes_back_equal(value: object) -> None:
    assert same(round_trip(value), value)


def test_a_zone_without_a_name_is_kept_as_its_offset() -> None:
    class Nameless(tzinfo):
        def utcoffset(self, moment: datetime | None) -> timedelta:
            return timedelta(hours=2)

    moment = datetime(2026, 1, 1, 12, tzinfo=Nameless())
    assert round_trip(moment) == moment
    assert round_trip(moment).tzinfo == timezone(timedelta(hours=2))


def test_a_time_whose_zone_would_be_lost_is_refused() -> None:
    class DateBound(tzinfo):
        def utcoffset(self, moment: datetime | None) -> timedelta | None:
            return None

    with pytest.raises(UnserializableValue, match="zone"):
        FULL.dumps(time(1, tzinfo=DateBound()))


class Unregistered(enum.Enum):
    A = "canary"


@dataclass
class Unknown:
    secret: str


Plain = namedtuple("Plain", "a")


@pytest.mark.parametrize(
    "value",
    [Unknown("canary"), Unregistered.A, Plain("canary"), object(), print, OrderedDict(canary=1), memoryview(b"canary")],
    ids=lambda value: type(value).__name__,
)
def test_an_unregistered_type_is_named_and_its_value_is_not(value: object) -> None:
    with pytest.raises(UnserializableValue, match="register") as caught:
        MsgpackSerializer().dumps([value])
    assert type(value).__qualname__ in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**4095, "512 bytes"),
        (Decimal("9" * 65), "64 digits"),
        ("\ud800", "UnicodeEncodeError"),
        ({"\udfff": 1}, "UnicodeEncodeError"),
    ],
    ids=["int", "Decimal", "surrogate", "surrogate key"],
)
def test_a_value_beyond_its_type_s_limit_is_refused(value: object, message: str) -> None:
    with pytest.raises(UnserializableValue, match=message):
        FULL.dumps(value)


def nested(wrap, depth: int) -> Any:
    value: Any = wrap(None)
    for _ in range(depth - 1):
        value = wrap(value)
    return value


WRAPS = {
    "list": lambda value: [value],
    "dict": lambda value: {"k": value},
    "tuple": lambda value: (value,),
    "odd dict": lambda value: {1: value},
    "frozenset": lambda value: frozenset({value}),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_sixty_four_levels_travel_and_sixty_five_do_not(kind: str) -> None:
    assert same(round_trip(nested(WRAPS[kind], 64)), nested(WRAPS[kind], 64))
    with pytest.raises(UnserializableValue, match="64 levels"):
        FULL.dumps(nested(WRAPS[kind], 65))


@pytest.mark.parametrize("depth", [66, 300, 600, 5000])
@pytest.mark.parametrize("kind", ["list", "tuple"])
def test_deep_and_deeper_values_are_refused_alike(kind: str, depth: int) -> None:
    with pytest.raises(UnserializableValue, match="64 levels"):
        FULL.dumps(nested(WRAPS[kind], depth))


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    hidden: list[Any] = []
    hidden.append((hidden,))
    for value in (loop, hidden):
        with pytest.raises(UnserializableValue, match="contains itself"):
            FULL.dumps(value)


def test_a_wide_value_is_not_deep() -> None:
    value = [{"id": number, "tags": ("a", "b")} for number in range(1000)]
    assert same(round_trip(value), value)


def test_a_failed_dump_leaves_the_serializer_usable() -> None:
    serializer = MsgpackSerializer()
    for _ in range(3):
        with pytest.raises(UnserializableValue):
            serializer.dumps([1, (object(),)])
        assert serializer.loads(serializer.dumps([1, (2,)])) == [1, (2,)]


def test_a_serializer_may_be_used_by_threads_and_by_its_own_encoders() -> None:
    serializer = MsgpackSerializer()
    serializer.register(
        Celsius,
        code=41,
        encode=lambda c: serializer.dumps((c.degrees,)),
        decode=lambda b: Celsius(*serializer.loads(b)),
    )
    barrier = threading.Barrier(8)

    def work(number: int) -> bool:
        barrier.wait()
        values = [[number, (index,), {index: Celsius(index)}] for index in range(200)]
        return all(same(round_trip(value, serializer), value) for value in values)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_class_may_travel_under_another_name_and_by_functions() -> None:
    serializer = MsgpackSerializer()
    serializer.register(
        Celsius, name="temperature", encode=lambda c: [c.degrees], decode=lambda plain: Celsius(plain[0])
    )
    packed = serializer.dumps(Celsius(2.5))
    assert b"temperature" in packed
    assert b"Celsius" not in packed
    assert serializer.loads(packed) == Celsius(2.5)


def test_fields_may_be_added_with_a_default() -> None:
    old = MsgpackSerializer()

    @dataclass
    class Shape:
        x: int

    old.register(Shape, name="Point")
    assert FULL.loads(old.dumps(Shape(4))) == Point(4, 0)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda s: s.register(Celsius), "pass encode= and decode="),
        (lambda s: s.register(Celsius, encode=str), "go together"),
        (lambda s: s.register(Celsius, code=40), "needs both"),
        (lambda s: s.register(Celsius, code=31, encode=bytes, decode=bytes), "32 to 127"),
        (lambda s: s.register(Celsius, code=128, encode=bytes, decode=bytes), "32 to 127"),
        (lambda s: [s.register(c, code=32, encode=bytes, decode=bytes) for c in (Celsius, Struct)], "is taken"),
        (lambda s: [s.register(c, name="same") for c in (Point, Checked)], "another class is registered"),
    ],
)
def test_a_registration_that_cannot_work_is_refused(register, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        register(MsgpackSerializer())


def test_registering_the_same_class_again_changes_nothing() -> None:
    serializer = full_serializer()
    serializer.register(Point)
    assert round_trip(Point(1), serializer) == Point(1)


def test_a_dataclass_with_an_init_only_field_must_give_it_a_default() -> None:
    @dataclass
    class Tuned:
        x: int
        scale: InitVar[int] = 2

        def __post_init__(self, scale: int) -> None:
            self.y = self.x * scale

    serializer = MsgpackSerializer()
    serializer.register(Tuned)
    assert round_trip(Tuned(3), serializer).y == 6


def test_plain_packing_takes_any_plain_key_and_no_extension() -> None:
    assert unpack_plain(pack_plain({1: "a", "b": [None, 2.5]})) == {1: "a", "b": [None, 2.5]}
    with pytest.raises(Rejected, match="malformed"):
        unpack_plain(FULL.dumps((1,)))


class Aliased(pydantic.BaseModel):
    number: int = pydantic.Field(alias="theNumber")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    when: datetime


class Secretive(pydantic.BaseModel):
    password: pydantic.SecretStr


class Base(pydantic.BaseModel):
    a: int = 1


class Derived(Base):
    b: int = 2


class Holder(pydantic.BaseModel):
    base: Base


@dataclass
class WithCounter:
    a: int
    count: int = field(default=0, init=False)


@dataclass
class WithInitVar:
    a: int
    seed: InitVar[int]

    def __post_init__(self, seed: int) -> None:
        self.a += seed


def counted() -> WithCounter:
    value = WithCounter(1)
    value.count = 7
    return value


@pytest.mark.parametrize(
    "value",
    [
        Aliased(theNumber=1),
        Strict(when=datetime(2030, 1, 1)),
        Secretive(password=pydantic.SecretStr("canary")),
        Holder(base=Derived(a=3, b=4)),
        counted(),
        WithInitVar(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_would_not_arrive_as_it_is_is_refused_by_the_sender(value: object) -> None:
    serializer = MsgpackSerializer()
    for cls in (type(value), Base, Derived):
        serializer.register(cls)
    with pytest.raises(UnserializableValue, match="encode= and decode=") as caught:
        serializer.dumps(value)
    assert "canary" not in str(caught.value)


def test_a_value_that_keeps_its_defaults_arrives() -> None:
    serializer = MsgpackSerializer()
    for cls in (WithCounter, Holder, Base):
        serializer.register(cls)
    values = [WithCounter(1), Holder(base=Base(a=5))]
    assert serializer.loads(serializer.dumps(values)) == values
