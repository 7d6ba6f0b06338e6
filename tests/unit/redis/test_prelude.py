"""What stands before a script: all that it uses, in an order that Lua can read, and nothing else."""

from __future__ import annotations

from importlib import resources

import pytest

from secure_queue.redis.scripts import _definitions, _names_in, load, prelude_for

FOLDER = resources.files("secure_queue.redis").joinpath("lua")
SCRIPTS = sorted(path.name.removesuffix(".lua") for path in FOLDER.iterdir() if not path.name.startswith("_"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_before_it_what_it_uses_and_nothing_else(name: str) -> None:
    source = load(name).source
    above = ""
    for names, text in _definitions():
        if text in source:
            assert source.index(text) >= len(above)
            assert names & _names_in(source.replace(text, "", 1)), "somebody uses it"
            above = source[: source.index(text) + len(text)]
        else:
            assert not names & _names_in(source)


def test_every_definition_is_used_by_some_script() -> None:
    sources = [load(name).source for name in SCRIPTS]
    assert [names for names, text in _definitions() if not any(text in source for source in sources)] == []


def test_what_is_used_by_what_is_used_comes_along_and_a_comment_uses_nothing() -> None:
    found = prelude_for("return parse_run(KEYS[1])  -- not queue_time")
    assert "local MAX_TRIES" not in found
    assert "local function parse_run" in found and "queue_time" not in found
    assert "local MAX_TRIES" in prelude_for("return claimed_by('a', 1, '', 'low')")


def test_a_script_that_uses_nothing_has_nothing_before_it() -> None:
    assert prelude_for("return {KEYS[1], ARGV[1]}") == ""
