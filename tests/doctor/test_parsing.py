"""What servers tell, in the forms of several releases."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from secure_queue.doctor.facts import NodeFacts, Role
from secure_queue.doctor.gather import without_doubles
from secure_queue.doctor.parsing import dangerous_rules, info_lines, members, plain

NODES = b"""\
07c3 127.0.0.1:30004@31004 slave e7d1 0 1426238317239 4 connected
67ed 127.0.0.1:30002@31002,host-2 master - 0 1426238316232 2 connected 5461-10922 [93-<-e7d1]
2928 :30003@31003 myself,master - 0 1426238318243 3 connected 10923 10925-16383 [5-<-67ed] [6->-67ed]
dead :0@0 master,fail,noaddr - 0 0 9 disconnected
cut
"""


def test_cluster_nodes_are_read_with_their_slots_and_those_that_are_on_the_way() -> None:
    replica, primary, myself, gone = members(NODES, "10.0.0.9")
    assert (replica.name, replica.primary_id, replica.slots) == ("127.0.0.1:30004", "e7d1", 0)
    assert (primary.slots, primary.open_slots, primary.primary_id) == (5462, ("[93-<-e7d1]",), "")
    assert (myself.name, myself.slots) == ("10.0.0.9:30003", 1 + 5459)
    assert myself.open_slots == ("[5-<-67ed]", "[6->-67ed]")
    assert "noaddr" in gone.flags


def test_info_and_maps_become_text_without_control_characters() -> None:
    assert info_lines(b"# Server\r\nredis_version:7.0\r\nname:a:b\x1b[31m\r\nnothing\r\n") == {
        "redis_version": "7.0",
        "name": "a:b\\x1b[31m",
    }
    assert plain([b"a", b"1", b"list", [b"x"]]) == plain({b"a": b"1", b"list": [b"x"]}) == {"a": "1"}


def test_a_sentinel_that_is_down_counts_once_under_its_name_and_its_address() -> None:
    def sentinel(name: str, problem: str = "") -> NodeFacts:
        return NodeFacts(name, name.partition(":")[0], Role.SENTINEL, problem)

    by_address = [sentinel("10.0.0.2:26379", "away"), sentinel("10.0.0.3:26379", "away"), sentinel("10.0.0.4:26379")]
    listed = [node.name for node in by_address]
    named = [sentinel("one:26379"), sentinel("two:26379", "away")]
    assert without_doubles(named, by_address, listed) == by_address[1:]
    named = [sentinel("one:26379"), sentinel("10.0.0.9:26379")]
    assert without_doubles(named, by_address, listed) == by_address
    named = [sentinel("one:26379"), sentinel("10.0.0.2:26379", "away")]
    assert without_doubles(named, by_address[1:], listed) == by_address[1:]


@pytest.mark.parametrize(
    ("rules", "granted"),
    [
        ("+@all", "FLUSHALL, KEYS, SHUTDOWN, CONFIG, REPLICAOF, ACL, DEBUG"),
        ("-@all +get +config|get", ""),
        ("+@all -@dangerous +keys", "KEYS"),
        ("+@all -@dangerous", ""),
        ("-@all +@read +flushall", "FLUSHALL"),
    ],
)
def test_rules_of_a_user_are_read_from_left_to_right(rules: str, granted: str) -> None:
    assert dangerous_rules(rules) == granted


def test_the_rehearsal_calls_every_command_that_any_script_calls() -> None:
    lua = {path.name: path.read_text() for path in resources.files("secure_queue.redis").joinpath("lua").iterdir()}
    rehearsed = set(re.findall(r"\{'([A-Z]+)'", lua.pop("rehearse.lua")))
    del lua["forget_notes.lua"]  # an operator's alone, who empties the audit log
    code = "\n".join(re.sub(r"--[^\n]*", "", text) for text in lua.values())
    called = set(re.findall(r"(?:redis\.p?call|call_in_chunks)\('([A-Z]+)'", code))
    called |= {word for pair in re.findall(r"'([A-Z]+)' or '([A-Z]+)'", code) for word in pair}
    called |= set(re.findall(r"= '([HLZX][A-Z]+)'", code))
    assert called >= {"HLEN", "LRANGE", "ZRANGE", "RPUSH", "LPUSH", "HSET"}
    assert called <= rehearsed
