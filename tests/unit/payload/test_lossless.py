"""Only what msgpack would silently change is put into a box."""

import msgpack
import pytest

from secure_queue.payload.lossless import Boxed, lossless


def boxed(value: object) -> object:
    return lossless(value, msgpack.packb(value, default=lambda _: None, strict_types=True))


@pytest.mark.parametrize(
    "value",
    [None, [1, "x"], {"a": {b"b": [b"bytes"]}}, [{"k": "\u0081\u00c4"}, 2**40], {"a": (bytearray(),)}],
    ids=repr,
)
def test_a_value_that_msgpack_keeps_is_returned_itself(value: object) -> None:
    assert boxed(value) is value


@pytest.mark.parametrize("value", [{1: 2}, {(1,): 2}, {None: 1}, {"a": 1, 2: 3}, bytearray(b"x"), memoryview(b"x")])
def test_odd_keys_and_byte_arrays_are_boxed_wherever_they_are(value: object) -> None:
    assert isinstance(boxed(value), Boxed)
    outer = boxed([1, {"deep": [value]}])
    assert outer[1]["deep"][0].value is value
