"""What the health endpoint answers, whatever it is sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_queue import ConfigurationError
from secure_queue.health import MOST_BYTES, Health, address_of, answer

WELL, ILL = Health("high", (), True, 2, 40), Health("low", ("it is stopping",), False)


def told(request: bytes, *seen: Health) -> tuple[int, dict[str, object]]:
    """Status and body of the answer, whose length must be the one that it announces."""
    head, _, body = answer(request, lambda: seen).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert f"Content-Length: {len(body)}" in lines
    assert "Connection: close" in lines
    return int(lines[0].split()[1]), json.loads(body)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode()


def test_a_process_is_live_whatever_its_workers_say_and_ready_if_all_of_them_are() -> None:
    assert told(get("/health"), WELL, ILL)[0] == 200
    assert told(get("/ready"), WELL) == (
        200,
        {
            "status": "ready",
            "workers": [{"queue": "high", "problems": [], "ready": True, "running": 2, "processed": 40}],
        },
    )
    status, body = told(get("/ready?verbose"), WELL, ILL)
    assert (status, body["status"]) == (503, "not ready")
    assert told(get("/ready")) == (503, {"status": "not ready", "workers": []})


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/"), 404),
        (get("/health/../etc/passwd"), 404),
        (b"POST /health HTTP/1.1\r\n\r\n", 405),
        (b"GET /health HTTP/2\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: never ends", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"", 400),
        (b"GET /health HTTP/1.1\r\nX: " + b"x" * MOST_BYTES + b"\r\n\r\n", 431),
    ],
    ids=["root", "path", "method", "version", "unfinished", "tls", "nothing", "long"],
)
def test_everything_else_is_refused(request_: bytes, status: int) -> None:
    assert told(request_, WELL)[0] == status


def test_a_head_request_is_answered_without_a_body() -> None:
    assert answer(b"HEAD /ready HTTP/1.1\r\n\r\n", lambda: [WELL]).endswith(b"Connection: close\r\n\r\n")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_nothing_of_a_request_comes_back(garbage: bytes, as_path: bool) -> None:
    mark = b"<mark\r\nSet-Cookie: x>"
    request = b"GET /" + mark + garbage + b" HTTP/1.1\r\n\r\n" if as_path else garbage + mark
    given_back = answer(request, lambda: [WELL])
    assert b"mark" not in given_back and b"Set-Cookie" not in given_back
    assert given_back.startswith(b"HTTP/1.1 ")


def test_an_address_is_on_the_loopback_unless_it_says_otherwise() -> None:
    assert address_of("8080") == ("127.0.0.1", 8080)
    assert address_of("0.0.0.0:80") == ("0.0.0.0", 80)
    assert address_of("[::1]:8080") == ("::1", 8080)
    for wrong in ("", "host", "host:", "h:99999", "a b:1", "h:1\r\n"):
        with pytest.raises(ConfigurationError, match="host:port"):
            address_of(wrong)
