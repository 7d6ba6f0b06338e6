"""What faults have in common: to end, pause and start servers, and to wait until a topology is whole again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio

from secure_queue.local.node import Node
from tests.chaos.case import Scene, came_true

HEAL_S = 30.0
"""How long a topology may take to be complete again after a fault is over."""


async def healed(scene: Scene) -> None:
    """Wait until the topology is complete again."""

    async def is_well() -> bool:
        try:
            return await scene.place.is_well()
        except Exception:  # a server that starts refuses, or knows nobody yet
            return False

    await expect(is_well, "the topology did not become healthy again")


async def kill_for(node: Node, seconds: float) -> None:
    """``kill -9`` of *node*, which is started again after so many *seconds*."""
    node.kill()
    await anyio.sleep(seconds)
    await start(node)


async def pause_for(nodes: Iterable[Node], seconds: float) -> None:
    """SIGSTOP of all *nodes*, and SIGCONT after so many *seconds*."""
    for node in nodes:
        node.pause()
    await anyio.sleep(seconds)
    for node in nodes:
        node.resume()


async def start(node: Node) -> None:
    """Start *node* and wait until it answers."""
    node.start()
    await node.answering()


async def ask_all(nodes: Iterable[Node], *command: str) -> None:
    """Send the same command to each of *nodes*."""
    for node in nodes:
        await node.command(*command)


async def expect(condition: Callable[[], Awaitable[bool]], problem: str) -> None:
    """Wait for *condition*; raises ``AssertionError`` with *problem* if it does not come true."""
    if not await came_true(condition, HEAL_S):
        raise AssertionError(problem)
