"""Hostile msgpack, signed or not, ends in ``Rejected`` in bounded time and memory."""

import random
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgpack import packb as pack

from secure_queue.errors import Rejected
from secure_queue.payload.serializers import MsgpackSerializer
from tests.unit.payload.test_serializers import FULL, VALUES, Checked, Level


def ext(code: int, content: object) -> bytes:
    """An extension with packed content, or with these very bytes."""
    data = content if isinstance(content, bytes) else pack(content)
    return b"\xc9" + struct.pack(">Ib", len(data), code) + data


def reason(data: bytes, serializer: MsgpackSerializer = FULL) -> str:
    with pytest.raises(Rejected) as caught:
        serializer.loads(data)
    assert caught.value.__context__ is None or type(caught.value.__context__) is not UnicodeDecodeError
    return caught.value.reason


def deep_ext(depth: int, code: int = 9) -> bytes:
    data = pack(None)
    for _ in range(depth):
        data = ext(code, b"\x91" + data)
    return data


def bare_ext(depth: int, code: int = 9) -> bytes:
    data = b"\x90"
    for _ in range(depth):
        data = ext(code, data)
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 64 + b"\xc0",
        b"\x91" * 63 + b"\x90",
        b"\x81\xa1k" * 64 + b"\xc0",
        deep_ext(64),
        deep_ext(32)[:-1] + b"\xc0",
    ],
    ids=range(5),
)
def test_sixty_four_levels_are_read(data: bytes) -> None:
    FULL.loads(data)


@pytest.mark.attack(53)
@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 65 + b"\xc0",
        b"\x91" * 64 + b"\x90",
        b"\x91" * 64 + b"\x80",
        b"\x93" + b"\x01" * 2 + b"\x91" * 63 + b"\x90",
        b"\x92" + pack("x" * 100) + b"\x91" * 63 + b"\x80",
        b"\x81\xa1k" * 65 + b"\xc0",
        b"\x91" * 1_025 + b"\xc0",
        b"\x91" * 500_000,
        deep_ext(65),
        deep_ext(300),
        b"\x91" * 60 + deep_ext(5),
        b"\x91" * 40 + deep_ext(25, 8),
    ],
    ids=range(12),
)
def test_the_sixty_fifth_level_is_too_deep_wherever_it_is(data: bytes) -> None:
    assert reason(data) == "too-deep"


@pytest.mark.attack(53)
@pytest.mark.parametrize("code", [7, 8, 9, 11, 12, 13, 14])
def test_extensions_that_only_hold_extensions_do_not_recurse_without_end(code: int) -> None:
    assert reason(bare_ext(2_000, code)) == "too-deep"


def test_a_wide_list_of_extensions_is_read() -> None:
    values = [(number, {number}) for number in range(5_000)]
    assert FULL.loads(FULL.dumps(values)) == values


@pytest.mark.attack(53)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x09",
        b"\x92\x01",
        b"\x01\x02",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\x81\x01\x02",
        b"\x81\x90\x02",
        b"\x81\xc0\x02",
    ],
    ids=lambda data: data.hex(),
)
def test_broken_msgpack_is_malformed(data: bytes) -> None:
    assert reason(data) == "malformed"


@pytest.mark.attack(53)
@pytest.mark.parametrize("code", [0, 19, 20, 31, 33, 127, -2, -128])
def test_an_unknown_extension_is_an_unknown_type(code: int) -> None:
    assert reason(ext(code, b"x")) == "unknown-type"


DATETIME_TEXTS = [b"", b"2026-01-01", b"2026-01-01T00:00:00|2|", b"x|0|", b"2026-01-01T00:00:00|0|../../etc/passwd"]
DATETIME_TEXTS += [b"2026-01-01T00:00:00|0|" + b"x" * 65, b"2026-01-01T00:00:00|0|a|b", b"\xff|0|", b"2026-13-01|0|"]


@pytest.mark.parametrize(
    ("code", "content"),
    [
        *((1, text) for text in DATETIME_TEXTS),
        (2, b"2026-02-30"),
        (2, b"x"),
        (3, b"25:00|0|"),
        (3, b"01:00"),
        (4, b"short"),
        (4, struct.pack(">iii", 1_000_000_000, 0, 0)),
        (5, b"15 bytes here.."),
        (6, b""),
        (6, b"1_0"),
        (6, b" 1"),
        (6, b"1" * 97),
        (6, "٣".encode()),
        (6, b"NaN" + b"9" * 100),
        (6, b"1E99999999999999999999"),
        (7, [[1]]),
        (7, [1, 1]),
        (7, {"a": 1}),
        (7, b""),
        (8, [{}]),
        (8, 5),
        (9, "text"),
        (9, None),
        (9, b"\x91"),
        (10, b""),
        (10, bytes(513)),
        (11, ["Colour"]),
        (11, [1, 2]),
        (11, b"\xff"),
        (12, {}),
        (12, "Point"),
        (13, [None, None]),
        (14, [1]),
        (14, [1, 2, 1, 3]),
        (14, [[], 1]),
        (15, b"x"),
        (17, b""),
        (17, b"x/a"),
        (17, b"c\xff"),
        (18, b"300.1.1.1"),
        (18, b""),
    ],
    ids=lambda part: repr(part)[:30],
)
def test_an_extension_with_wrong_content_is_malformed(code: int, content: object) -> None:
    assert reason(ext(code, content)) == "malformed"


def test_a_zone_that_is_not_there_is_an_unknown_type() -> None:
    assert reason(ext(1, b"2026-01-01T00:00:00|0|Nowhere/Land")) == "unknown-type"


@pytest.mark.parametrize(
    ("code", "content"),
    [
        (11, ["os.system", "x"]),
        (12, ["builtins.exec", {"source": "x"}]),
        (13, ["subprocess.Popen", {"args": "x"}]),
        (12, ["Colour", {}]),
        (11, ["Point", "x"]),
        (13, ["Point", {"x": 1}]),
    ],
)
def test_a_name_is_looked_up_among_the_registered_ones_and_never_imported(code: int, content: object) -> None:
    assert reason(ext(code, content)) == "unknown-type"


@pytest.mark.parametrize(
    ("code", "content"),
    [
        (11, ["Colour", "GREEN"]),
        (11, ["Colour", "__class__"]),
        (11, ["Colour", ["RED"]]),
        (11, ["Level", 1]),
        (11, ["Access", "READ"]),
        (12, ["Point", {}]),
        (12, ["Point", {"x": 1, "admin": True}]),
        (12, ["Point", {"x": 1, "length": 5.0}]),
        (12, ["Point", [1, 2]]),
        (12, ["Checked", {"amount": -1}]),
        (13, ["Order", {"id": "x"}]),
        (13, ["Order", None]),
    ],
    ids=repr,
)
def test_a_value_that_its_own_class_refuses_is_undeserializable(code: int, content: object) -> None:
    assert reason(ext(code, content)) == "undeserializable"


def test_a_constructor_s_error_leaves_no_trace_of_the_value() -> None:
    with pytest.raises(Rejected) as caught:
        FULL.loads(ext(12, ["Checked", {"amount": -77777}]))
    assert caught.value.__context__ is None
    assert Checked(1).amount == 1


@pytest.mark.attack(53)
def test_duplicate_keys_keep_the_last_value() -> None:
    assert FULL.loads(b"\x82\xa1a\x01\xa1a\x02") == {"a": 2}


def test_a_standard_timestamp_is_read_as_utc_and_never_out_of_range() -> None:
    assert FULL.loads(ext(-1, struct.pack(">I", 0))) == datetime(1970, 1, 1, tzinfo=UTC)
    assert reason(ext(-1, struct.pack(">Iq", 0, 1 << 62))) == "malformed"
    assert reason(ext(-1, b"12345")) == "malformed"


def test_an_application_decoder_that_raises_is_malformed() -> None:
    assert reason(ext(40, b"not a number")) == "malformed"


def test_sixty_thousand_mutants_of_every_type_are_read_or_rejected() -> None:
    dice = random.Random(99)
    originals = [FULL.dumps([value, Level.LOW]) for value in VALUES]
    for _ in range(60_000):
        mutant = bytearray(dice.choice(originals))
        for _ in range(dice.randint(1, 4)):
            mutant[dice.randrange(len(mutant))] = dice.randrange(256)
        read_or_rejected(bytes(mutant))


def read_or_rejected(data: bytes) -> Any:
    try:
        return FULL.loads(data)
    except Rejected as rejected:
        assert rejected.reason in {"malformed", "too-deep", "unknown-type", "undeserializable"}


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.binary(max_size=400))
@example(b"\xc7\x00\x09")
@example(b"\xd4\x07\x90")
def test_any_bytes_are_read_or_rejected(data: bytes) -> None:
    read_or_rejected(data)


def test_the_depth_is_measured_without_building_objects() -> None:
    serializer = MsgpackSerializer()
    built: list[object] = []
    serializer.register(Checked, code=50, encode=lambda _: b"", decode=built.append)
    assert reason(b"\x92" + ext(50, b"x") + b"\x91" * 70, serializer) in {"too-deep", "malformed"}
    assert reason(b"\x92" + ext(50, b"x") + b"\x91" * 70 + b"\xc0", serializer) == "too-deep"
    assert built == []
