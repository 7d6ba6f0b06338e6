"""How the processes of a local topology are now: who is primary, who follows whom, and how much they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

from secure_queue.local.node import Node
from secure_queue.redis.retrying import is_server_fault

DOWN, SILENT, PRIMARY, REPLICA, SENTINEL = "down", "no answer", "primary", "replica", "sentinel"


@dataclass(frozen=True, slots=True)
class NodeState:
    """One process; *keys* and *memory* (bytes) are those of a data server, *pid* is 0 for one that has ended."""

    name: str
    port: int
    role: str
    link: str = ""
    keys: int = 0
    memory: int = 0
    pid: int = 0


async def look(nodes: Sequence[Node]) -> list[NodeState]:
    """Ask all at once."""
    found: dict[str, NodeState] = {}

    async def ask(node: Node) -> None:
        found[node.name] = await _state(node)

    async with anyio.create_task_group() as group:
        for node in nodes:
            group.start_soon(ask, node)
    return [found[node.name] for node in nodes]


@dataclass(frozen=True, slots=True)
class Replication:
    """How far a primary has *written*, and how far each of its replicas has said that it follows, in bytes."""

    written: int
    copied: tuple[int, ...]


async def replication(node: Node) -> Replication:
    """What *node* says of its replicas, which report every second."""
    raw: bytes = await node.command("INFO", "replication")
    facts = dict(line.partition(":")[::2] for line in raw.decode().splitlines())
    replicas = [value for name, value in facts.items() if name.startswith("slave") and name[5:].isdigit()]
    return Replication(int(facts["master_repl_offset"]), tuple(int(_field(one, "offset")) for one in replicas))


async def _state(node: Node) -> NodeState:
    if not node.is_running:
        return NodeState(node.name, node.port, DOWN)
    try:
        raw: bytes = await node.command("INFO")
    except Exception as error:
        if not is_server_fault(error):
            raise
        return NodeState(node.name, node.port, SILENT, pid=node.pid)
    return replace(state_of(node.name, node.port, raw.decode("utf-8", "replace")), pid=node.pid)


def state_of(name: str, port: int, info: str) -> NodeState:
    """What the reply to ``INFO`` says."""
    facts = dict(line.partition(":")[::2] for line in info.splitlines() if ":" in line)
    if facts.get("redis_mode") == "sentinel":
        return NodeState(name, port, SENTINEL, _watched(facts))
    keys = sum(_count(facts[fact], "keys") for fact in facts if fact.startswith("db") and fact[2:].isdigit())
    memory = int(facts.get("used_memory", 0))
    if facts.get("role") == "master":
        count = int(facts.get("connected_slaves", 0))
        return NodeState(name, port, PRIMARY, f"{count} replica{'' if count == 1 else 's'}", keys, memory)
    link = f"of {facts.get('master_port', '?')}, {facts.get('master_link_status', '?')}"
    return NodeState(name, port, REPLICA, link, keys, memory)


def _watched(facts: dict[str, str]) -> str:
    first = facts.get("master0", "")
    address = _field(first, "address").rpartition(":")[2]
    return f"watches {address}: {_field(first, 'status')}, {_field(first, 'sentinels')} sentinels" if first else ""


def _count(text: str, name: str) -> int:
    return int(_field(text, name) or 0)


def _field(text: str, name: str) -> str:
    return next((value for key, _, value in (part.partition("=") for part in text.split(",")) if key == name), "")
