"""Python's own types as msgpack extensions: one pair of pure functions for each code of ``docs/payload-format.md``.

Leaves carry their bytes themselves. Containers hold other values and are packed by a function that is passed in, so
that this module knows nothing of msgpack.
"""

from __future__ import annotations

import ipaddress
import re
import struct
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from secure_queue.errors import Rejected, UnserializableValue

DATETIME, DATE, TIME, TIMEDELTA, UUID_, DECIMAL, SET, FROZENSET, TUPLE, BIG_INT = range(1, 11)
ENUM, DATACLASS, MODEL, PAIRS, COMPLEX, BYTEARRAY, PATH, IP_ADDRESS = range(11, 19)

_TIMEDELTA: Final = struct.Struct(">iii")
_COMPLEX: Final = struct.Struct(">dd")
_MAX_INT_BYTES: Final = 512
_MAX_DECIMAL_DIGITS: Final = 64
_DECIMAL: Final = re.compile(r"-?(?:\d+(?:\.\d*)?(?:E[+-]?\d{1,18})?|Infinity|s?NaN\d*)", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z0-9_+/-]{1,64}", re.ASCII)

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


def malformed() -> Rejected:
    return Rejected("malformed")


# --- moments: "<ISO text>|<fold>|<zone key>" ---


def _zone_key(moment: datetime | time) -> str:
    zone = moment.tzinfo
    return zone.key if isinstance(zone, zoneinfo.ZoneInfo) and zone.key else ""


def encode_datetime(value: datetime) -> bytes:
    """Keep wall time, fold and the zone by name; a zone without a name is kept as its offset at that moment."""
    return f"{value.isoformat()}|{value.fold}|{_zone_key(value)}".encode()


def encode_time(value: time) -> bytes:
    """As for datetimes; a nameless zone whose offset depends on the date cannot be kept."""
    key = _zone_key(value)
    if value.tzinfo is not None and not key and value.utcoffset() is None:
        raise UnserializableValue("a time in a zone without a name loses its zone; use zoneinfo or a fixed offset")
    return f"{value.isoformat()}|{value.fold}|{key}".encode()


def _moment_fields(data: bytes) -> tuple[str, int, zoneinfo.ZoneInfo | None]:
    text, fold, key = data.decode("ascii").split("|")
    if fold not in ("0", "1"):
        raise malformed()
    return text, int(fold), _zone(key) if key else None


def _zone(key: str) -> zoneinfo.ZoneInfo:
    if not _ZONE.fullmatch(key):
        raise malformed()
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # This machine may lack a zone just as it may lack a registered class.
        raise Rejected("unknown-type") from None


def decode_datetime(data: bytes) -> datetime:
    text, fold, zone = _moment_fields(data)
    moment = datetime.fromisoformat(text)
    return moment.replace(fold=fold, tzinfo=zone or moment.tzinfo)


def decode_time(data: bytes) -> time:
    text, fold, zone = _moment_fields(data)
    moment = time.fromisoformat(text)
    return moment.replace(fold=fold, tzinfo=zone or moment.tzinfo)


def decode_date(data: bytes) -> date:
    return date.fromisoformat(data.decode("ascii"))


def encode_timedelta(value: timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def decode_timedelta(data: bytes) -> timedelta:
    days, seconds, microseconds = _TIMEDELTA.unpack(data)
    return timedelta(days, seconds, microseconds)


# --- numbers ---


def encode_decimal(value: Decimal) -> bytes:
    if len(value.as_tuple().digits) > _MAX_DECIMAL_DIGITS:
        raise UnserializableValue(f"a Decimal of more than {_MAX_DECIMAL_DIGITS} digits; round it or send it as text")
    return str(value).encode("ascii")


def decode_decimal(data: bytes) -> Decimal:
    text = data.decode("ascii")
    if len(text) > _MAX_DECIMAL_DIGITS + 32 or not _DECIMAL.fullmatch(text):
        raise malformed()
    return Decimal(text)


def encode_int(value: int) -> bytes:
    """Two's complement, as short as it goes, for what 64 bits cannot hold."""
    length = value.bit_length() // 8 + 1
    if length > _MAX_INT_BYTES:
        raise UnserializableValue(f"an int of more than {_MAX_INT_BYTES} bytes; send it as text or bytes")
    return value.to_bytes(length, "big", signed=True)


def decode_int(data: bytes) -> int:
    if not 0 < len(data) <= _MAX_INT_BYTES:
        raise malformed()
    return int.from_bytes(data, "big", signed=True)


def encode_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


def decode_complex(data: bytes) -> complex:
    return complex(*_COMPLEX.unpack(data))


# --- names ---

_FLAVOURS: Final[Mapping[str, type[PurePath]]] = MappingProxyType(
    {"c": type(Path()), "p": PurePosixPath, "w": PureWindowsPath}
)


def encode_path(value: PurePath) -> bytes:
    """One letter for the flavour, then the text; a concrete path becomes the reader's own kind of path."""
    if isinstance(value, PosixPath | WindowsPath):
        return f"c{value}".encode()
    return f"{'w' if isinstance(value, PureWindowsPath) else 'p'}{value}".encode()


def decode_path(data: bytes) -> PurePath:
    text = data.decode()
    flavour = _FLAVOURS.get(text[:1])
    if flavour is None:
        raise malformed()
    return flavour(text[1:])


def encode_text(value: object) -> bytes:
    return str(value).encode()


def decode_ip_address(data: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(data.decode("ascii"))


# --- containers: a packed list of items, or of keys and values in turn ---


def decode_set(items: list[Any]) -> set[Any]:
    found = set(items)
    if len(found) != len(items):
        raise malformed()
    return found


def decode_frozenset(items: list[Any]) -> frozenset[Any]:
    return frozenset(decode_set(items))


def decode_pairs(items: list[Any]) -> dict[Any, Any]:
    pairs = iter(items)
    found = dict(zip(pairs, pairs, strict=True))
    if 2 * len(found) != len(items):
        raise malformed()
    return found


def flatten_pairs(mapping: Mapping[Any, Any]) -> list[Any]:
    return [side for pair in mapping.items() for side in pair]


LEAF_ENCODERS: Final[Mapping[type, tuple[int, Encode]]] = MappingProxyType(
    {
        datetime: (DATETIME, encode_datetime),
        date: (DATE, encode_text),
        time: (TIME, encode_time),
        timedelta: (TIMEDELTA, encode_timedelta),
        UUID: (UUID_, lambda value: value.bytes),
        Decimal: (DECIMAL, encode_decimal),
        int: (BIG_INT, encode_int),
        complex: (COMPLEX, encode_complex),
        bytearray: (BYTEARRAY, bytes),
        PosixPath: (PATH, encode_path),
        WindowsPath: (PATH, encode_path),
        PurePosixPath: (PATH, encode_path),
        PureWindowsPath: (PATH, encode_path),
        ipaddress.IPv4Address: (IP_ADDRESS, encode_text),
        ipaddress.IPv6Address: (IP_ADDRESS, encode_text),
    }
)

LEAF_DECODERS: Final[Mapping[int, Decode]] = MappingProxyType(
    {
        DATETIME: decode_datetime,
        DATE: decode_date,
        TIME: decode_time,
        TIMEDELTA: decode_timedelta,
        UUID_: lambda data: UUID(bytes=data),
        DECIMAL: decode_decimal,
        BIG_INT: decode_int,
        COMPLEX: decode_complex,
        BYTEARRAY: bytearray,
        PATH: decode_path,
        IP_ADDRESS: decode_ip_address,
    }
)

SEQUENCE_CODES: Final[Mapping[type, int]] = MappingProxyType({set: SET, frozenset: FROZENSET, tuple: TUPLE})

SEQUENCE_DECODERS: Final[Mapping[int, Callable[[list[Any]], Any]]] = MappingProxyType(
    {SET: decode_set, FROZENSET: decode_frozenset, TUPLE: tuple, PAIRS: decode_pairs}
)

REGISTERED_CODES: Final = frozenset({ENUM, DATACLASS, MODEL})
NESTING_CODES: Final = REGISTERED_CODES | SEQUENCE_DECODERS.keys()
APPLICATION_CODES: Final = range(32, 128)
