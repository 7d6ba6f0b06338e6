"""The rules of access that need no server: nothing is left out, and nothing is given away."""

from __future__ import annotations

from importlib import resources

from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.roles import PASSWORD, RIGHTS, Dialect, Role, commands_of, rule

KEYS = QueueKeys("emails", ("low",))
WRITES = {
    "set",
    "hset",
    "hsetnx",
    "hdel",
    "del",
    "zadd",
    "zrem",
    "rpush",
    "lpush",
    "ltrim",
    "xadd",
    "xdel",
    "rename",
    "publish",
}


def test_every_script_belongs_to_a_role() -> None:
    folder = resources.files("secure_queue.redis").joinpath("lua")
    scripts = {path.name.removesuffix(".lua") for path in folder.iterdir() if not path.name.startswith("_")}
    assert set().union(*(rights.scripts for rights in RIGHTS.values())) == scripts - {"rehearse"}  # tries all of them


def test_commands_are_read_out_of_scripts_and_of_what_they_use() -> None:
    assert commands_of(["lost_results"]) == {"time", "zscore", "exists"}
    assert {"hsetnx", "rpush", "zadd", "hget", "pexpire"} <= commands_of(["enqueue"])  # partly from the prelude
    assert "publish" in commands_of(["complete"]) and "publish" not in commands_of(["enqueue"])


def test_who_only_looks_can_write_nothing() -> None:
    for role in (Role.AUDITOR, Role.DASHBOARD):
        assert not WRITES & (commands_of(RIGHTS[role].scripts) | RIGHTS[role].commands)


def test_a_producer_can_delete_nothing_but_the_field_by_which_a_full_server_is_asked() -> None:
    commands = commands_of(RIGHTS[Role.PRODUCER].scripts)
    assert {"hdel", "del", "zrem", "ltrim", "xdel", "lpop", "rename"} & commands == {"hdel"}
    for dialect, expected in ((Dialect.REDIS_6_2, "+hdel"), (Dialect.REDIS_7_0, "(+hdel ~sq:{emails/*}:meta)")):
        words = rule(Role.PRODUCER, KEYS, dialect, user="p", password=PASSWORD, cluster=False)
        assert expected in words and words.count("+hdel") == 1


def test_a_dashboard_cannot_reach_a_payload() -> None:
    assert not {"", "tasks", "result", "aborts"} & set(RIGHTS[Role.DASHBOARD].kinds)


def test_a_rule_without_its_password_is_refused_by_every_server() -> None:
    words = rule(Role.WORKER, KEYS, Dialect.REDIS_7_2, user="w", password=PASSWORD, cluster=True).split()
    assert words[:3] == ["w", "on", PASSWORD] and len(PASSWORD) != 65
    assert "(+rpush" in words and "+cluster|slots" in words
    assert not any(word.startswith("~") and word.endswith("audit") for word in words)
