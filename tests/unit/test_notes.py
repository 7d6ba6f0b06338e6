"""What stands beside a parked task: read as it was written, and nothing else is believed."""

from __future__ import annotations

import pytest

from secure_queue.notes import Wait, read_note

DIGEST = b"0123456789abcdef" * 2


@pytest.mark.parametrize("rule", ["at most 5 at once (mail)", "", "two\nlines"])
@pytest.mark.parametrize("is_rate", [True, False])
def test_a_note_is_read_as_it_was_written(is_rate: bool, rule: str) -> None:
    wait = Wait(is_rate, 3, DIGEST, rule)
    assert read_note(str(wait).encode()) == wait


@pytest.mark.parametrize(
    "untrusted",
    [None, 5000, b"", b"\xff", b"permit 64 " + DIGEST + b" x", b"rate -1 " + DIGEST + b" x", b"rate 0 x y"],
    ids=["none", "too large", "empty", "no text", "no such partition", "negative", "no digest"],
)
def test_what_names_no_limit_leads_nowhere(untrusted: bytes | int | None) -> None:
    assert read_note(untrusted) is None
