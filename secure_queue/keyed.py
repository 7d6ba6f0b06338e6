"""The part of the storage contract that knows keys: tasks that are there once, in the place of others, or in a line.

A key is a digest, here and in the database. Whether another task of a key counts is looked at when it matters, and follows
from where that task stands: nothing has to be let go when a task ends, and no crash leaves a lock behind. A line is left by
the script that ends a task, or that claims it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from secure_queue.durability import AT_PRIMARY, Assurance, Durability
from secure_queue.names import printable


class Keyed(NamedTuple):
    """A sealed task with a key on its way into the queue."""

    task_id: bytes
    sealed: bytes
    at_ms: int
    priority: str
    unique: bytes
    """The digest of the key that is unique; empty if there is none."""
    scope: str
    """What counts as another one of it: "queued", "unfinished", or "" for nothing but time."""
    window_ms: int
    """For how long it counts itself in any case."""
    replaces: bool
    """Whether it takes the place of another one that waits."""
    patience_ms: int
    """For how long calls may put each other off; 0: without end."""
    line: bytes
    """The line that it stands in: a letter for the kind and a digest; empty for none."""

    def __repr__(self) -> str:
        return f"<Keyed {printable(self.task_id)}>"


class Kept(NamedTuple):
    """What became of a task with a key: whether its id is *new*, or which task of its key counts in its place."""

    new: bool
    untrusted_other: bytes | None
    durability: Durability


class KeyedStorage(Protocol):
    """The verbs of one partition that know keys."""

    async def enqueue_keyed(
        self, tasks: Sequence[Keyed], deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> list[Kept]:
        """Store tasks as far as no other one of their key counts; see ``enqueue``."""
        ...

    async def enter(self, task_id: bytes, token: bytes, digest: bytes) -> bytes | None:
        """Take the only seat of a key for a running task: None, or the (untrusted) id of another one that runs.

        The own id says that the lease was lost.
        """
        ...

    async def enter_by_permit(self, digest: bytes, holder: bytes, lease_ms: int) -> bytes | None:
        """The same for a task of another partition, whose lease cannot be seen here: a permit of the limit *digest*
        stands for it, which runs out with the lease and is held and left like any other.
        """
        ...
