"""What the command line of a supervisor tells its processes."""

from __future__ import annotations

import pytest

from secure_queue import ConfigurationError
from secure_queue.cli.run import Wishes, _health_of, _weights


def test_a_process_gets_the_words_of_its_supervisor() -> None:
    wishes = Wishes(["app:high", "app:low"], (3, 1), True, 8, 100, 512)
    told = " ".join(wishes.words())
    assert told == "app:high app:low --burst --concurrency 8 --max-tasks 100 --max-memory 512 --weights 3:1"
    assert Wishes(["app:worker"], None, False, None, None, None).words() == ["app:worker"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (None, ()),
        ("8080", ("--health", "127.0.0.1:8082")),
        ("0.0.0.0:9000", ("--health", "0.0.0.0:9002")),
        ("[::1]:9000", ("--health", "[::1]:9002")),
    ],
)
def test_each_process_tells_its_health_at_a_port_of_its_own(address: str | None, words: tuple[str, ...]) -> None:
    assert tuple(_health_of(address, 2)) == words


def test_weights_are_numbers() -> None:
    assert _weights("3:1") == (3, 1)
    with pytest.raises(ConfigurationError, match="3:1"):
        _weights("much:little")
