"""JSON knows what JSON knows, and a pair of callables gets back exactly what it made."""

import asyncio
import json
import math
import uuid

import pytest

from secure_queue.errors import Rejected, UnserializableValue
from secure_queue.payload.text_serializers import CallableSerializer, JsonSerializer


@pytest.mark.parametrize("value", [None, 1, "ü", [1, {"a": [True]}], 1.5, 10**100], ids=repr)
def test_json_values_come_back(value: object) -> None:
    serializer = JsonSerializer()
    assert serializer.loads(serializer.dumps(value)) == value


@pytest.mark.parametrize("value", [uuid.UUID(int=1), math.nan, b"x", {1}, "\ud800", object()])
def test_what_is_not_json_is_refused_by_json(value: object) -> None:
    with pytest.raises(UnserializableValue, match="no JSON form"):
        JsonSerializer().dumps(value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"NaN", b"Infinity", b"[" * 100_000, b"9" * 5000, b"1 2"], ids=range(8)
)
def test_what_is_not_json_is_rejected_by_json(data: bytes) -> None:
    with pytest.raises(Rejected, match="malformed"):
        JsonSerializer().loads(data)


def test_text_and_bytes_from_a_callable_reach_its_partner_as_they_were() -> None:
    seen: list[object] = []
    for made in ("text ü", b"bytes", bytearray(b"array")):
        serializer = CallableSerializer(lambda _, made=made: made, seen.append)
        serializer.loads(serializer.dumps(None))
    assert seen == ["text ü", b"bytes", b"array"]


def test_json_functions_are_a_serializer() -> None:
    serializer = CallableSerializer(json.dumps, json.loads)
    assert not serializer.is_async
    assert serializer.loads(serializer.dumps({"a": 1})) == {"a": 1}


def test_async_functions_make_an_async_serializer() -> None:
    async def dumps(value: object) -> bytes:
        return json.dumps(value).encode()

    class Loads:
        async def __call__(self, data: bytes) -> object:
            return json.loads(data)

    async def main() -> None:
        for serializer in (
            CallableSerializer(dumps, Loads()),
            CallableSerializer(dumps, json.loads),
            CallableSerializer(lambda value: json.dumps(value).encode(), Loads()),
        ):
            assert serializer.is_async
            assert await serializer.loads(await serializer.dumps([1])) == [1]

    asyncio.run(main())


def test_a_callable_that_refuses_a_value_is_named_and_the_value_is_not() -> None:
    with pytest.raises(UnserializableValue, match=r"dumps refused the value \(TypeError\)") as caught:
        CallableSerializer(json.dumps, json.loads).dumps({"canary": object()})
    assert "canary" not in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_an_async_callable_that_refuses_a_value_is_named() -> None:
    async def dumps(value: object) -> bytes:
        raise KeyError(value)

    with pytest.raises(UnserializableValue, match=r"refused the value \(KeyError\)"):
        asyncio.run(CallableSerializer(dumps, json.loads).dumps("canary"))


def test_a_callable_must_return_bytes_or_text() -> None:
    async def hidden(value: object) -> bytes:
        return b""

    for wrong in (lambda value: 5, lambda value: None, lambda value: hidden(value)):
        with pytest.raises(UnserializableValue, match="bytes or str"):
            CallableSerializer(wrong, json.loads).dumps(1)


@pytest.mark.parametrize("data", [b"", b"\x02x", b"[1]"])
def test_a_callable_serializer_rejects_an_unknown_mark(data: bytes) -> None:
    with pytest.raises(Rejected, match="malformed"):
        CallableSerializer(json.dumps, json.loads).loads(data)
