"""A connection that nobody takes is told from a machine that does not answer."""

from __future__ import annotations

import pytest

from secure_queue.redis.retrying import is_refused_connection


def caused_by(cause: BaseException) -> OSError:
    error = OSError("all connection attempts failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (ConnectionRefusedError(), True),
        (caused_by(ConnectionRefusedError()), True),
        (caused_by(ExceptionGroup("two addresses", [ConnectionRefusedError(), ConnectionRefusedError()])), True),
        (caused_by(ExceptionGroup("two addresses", [ConnectionRefusedError(), TimeoutError()])), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
    ],
    ids=["refused", "wrapped", "every address", "one address", "reset", "silent"],
)
def test_only_a_refusal_by_every_address_is_one(error: BaseException, refused: bool) -> None:
    assert is_refused_connection(error) is refused
