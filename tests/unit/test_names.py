"""Names have a closed alphabet, and what is shown of foreign bytes is one line of ASCII."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_queue import names
from secure_queue.errors import ConfigurationError

CHECKS = [names.queue_name, names.priority_name, names.worker_id, names.task_id]
HOSTILE = ["", " ", "a b", "a\n", "\x00", "ü", "a{b}", "*", "a/b", "\u2028", "x" * 129, "!ra", "a\x1b[0m", "a\\b"]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_refused(check: Callable[[str], str], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(text)
    assert str(caught.value).replace("…", "").isascii() and str(caught.value).isprintable()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("text", ["a", "A-Z_0.9", "x" * 64])
def test_ordinary_names_are_taken_as_they_are(check: Callable[[str], str], text: str) -> None:
    assert check(text) == text


def test_task_ids_may_be_longer_and_have_colons() -> None:
    assert names.task_id("order:" + "x" * 122)
    with pytest.raises(ConfigurationError):
        names.queue_name("a:b")


def test_braces_around_a_queue_name_are_taken_off() -> None:
    assert names.queue_name("{emails}") == "emails"
    for text in ("{}", "{a", "a}", "{{a}}"):
        with pytest.raises(ConfigurationError):
            names.queue_name(text)


def test_function_names_are_printable_text_of_255_bytes() -> None:
    assert names.function_name("modül.<locals>.f ß") == "modül.<locals>.f ß"
    assert names.function_name("x" * 255)
    for text in ("", "x" * 256, "ü" * 128, "a\nb", "a\x7f", "a\u2029"):
        with pytest.raises(ConfigurationError):
            names.function_name(text)


@given(st.binary(max_size=200))
def test_stored_ids_are_those_that_task_id_takes(raw: bytes) -> None:
    found = names.stored_task_id(raw)
    try:
        expected = names.task_id(raw.decode("ascii"))
    except (UnicodeDecodeError, ConfigurationError):
        expected = None
    assert found == expected


@given(st.binary(max_size=500) | st.text(max_size=500))
def test_whatever_is_shown_is_one_short_line_of_printable_ascii(untrusted: bytes | str) -> None:
    shown = names.printable(untrusted)
    assert shown.removesuffix("…").isascii()
    assert shown == "" or shown.isprintable()
    assert len(shown) <= 129


def test_escapes_cannot_be_mistaken_for_text() -> None:
    assert names.printable(b"a\\x41") == "a\\x5cx41"
    assert names.printable("tab\tü") == "tab\\x09\\xc3\\xbc"
    assert names.printable(b"x" * 10, limit=4) == "xxxx…"
