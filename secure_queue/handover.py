"""The part of the storage contract that knows dependents: tasks that wait for others, and how the ends of those reach them.

A task that waits lies among the due ones, so that it is looked at now and then whatever happens. Who depends on a task is
noted beside it, and the script that ends it leaves its sealed result in the outbox of its partition. Workers take what lies
there to the partitions of the dependents and then delete it: each step may be repeated, and none can be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from secure_queue.durability import AT_PRIMARY, Assurance, Durability
from secure_queue.names import printable

SUCCEEDED: Final = "s"
FAILED: Final = "f"
"""A parent has failed for good, or was aborted."""


class Followed(StrEnum):
    """What ``follow`` finds of a parent."""

    WAITS = "waits"
    ENDED = "ended"
    """Its end lies in the outbox."""
    GONE = "gone"
    FULL = "full"
    """It has as many dependents as it may have."""


class Linked(NamedTuple):
    """A sealed task of a workflow on its way into the queue: how many parents it waits for, and who waits for it."""

    task_id: bytes
    sealed: bytes
    at_ms: int
    priority: str
    parents: int
    children: bytes
    keep_ms: int
    """How long what is handed over to it may be needed."""
    decided_by: str = ""
    """Which ends of a single parent may decide about it before the others have ended."""

    def __repr__(self) -> str:
        return f"<Linked {printable(self.task_id)}>"


class Outgoing(NamedTuple):
    """The end of a task that lies in an outbox; *place* names it there. ``untrusted`` is empty if the task is gone."""

    place: bytes
    untrusted_id: bytes
    untrusted_children: bytes
    untrusted: bytes

    def __repr__(self) -> str:
        return f"<Outgoing {printable(self.untrusted_id)}>"


class Handover(NamedTuple):
    """The end of a parent on its way to one dependent."""

    task_id: bytes
    untrusted_parent: bytes
    untrusted: bytes
    ended: str = ""
    """``SUCCEEDED`` or ``FAILED``; empty if that is not known."""

    def __repr__(self) -> str:
        return f"<Handover {printable(self.untrusted_parent)} to {printable(self.task_id)}>"


class Question(NamedTuple):
    """What has been handed over to a task from some of its parents?"""

    task_id: bytes
    parents: tuple[bytes, ...]


class Description(NamedTuple):
    """What a workflow is made of, sealed."""

    workflow_id: bytes
    sealed: bytes
    ttl_ms: int

    def __repr__(self) -> str:
        return f"<Description {printable(self.workflow_id)}>"


class HandoverStorage(Protocol):
    """The verbs of one partition that know dependents."""

    async def enqueue_linked(
        self, tasks: Sequence[Linked], look_ms: int, deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> list[tuple[bool, Durability]]:
        """Store tasks of a workflow, those with parents to be looked at after *look_ms* at the latest; see ``enqueue``."""
        ...

    async def follow(
        self,
        parents: Sequence[tuple[bytes, bytes]],
        *,
        tell: bool,
        deadline: float,
        assurance: Assurance = AT_PRIMARY,
    ) -> list[Followed]:
        """Note who depends on tasks (id and spelled dependents of each), or leave their ends in the outbox.

        With *tell* dependents are also told of a parent that is gone.
        """
        ...

    def on_outgoing(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever an end that was settled here lies in the outbox."""
        ...

    async def outgoing(self) -> list[Outgoing]:
        """Some of what lies in the outbox, whichever; nothing only if it is empty."""
        ...

    async def deliver(self, handovers: Sequence[Handover], deadline: float, assurance: Assurance = AT_PRIMARY) -> None:
        """Hand ends over to dependents of this partition, as far as they are still stored; the last one makes it ready."""
        ...

    async def sent(self, places: Sequence[bytes]) -> None:
        """Delete what was delivered from the outbox."""
        ...

    async def handed(self, questions: Sequence[Question]) -> list[tuple[int, Mapping[bytes, bytes]]]:
        """What was handed over to tasks, untrusted by parent, and for each a count that changes with every hand-over."""
        ...

    async def whose(self, task_id: bytes) -> tuple[bytes | int | None, bytes | int | None]:
        """What tells which enqueue of an id is stored, untrusted: the task, and its result."""
        ...

    async def sleep(
        self, task_id: bytes, token: bytes, priority: str, *, look_ms: int, seen: int, drop: Sequence[bytes]
    ) -> bool:
        """Give a claimed task back to wait for its parents; False if the lease was lost.

        *drop* are parents whose hand-over is not genuine. If more was handed over than the *seen*, it is ready at once.
        """
        ...

    async def forget_handed(self, task_ids: Sequence[bytes]) -> list[bool]:
        """Delete what was handed over to tasks that have ended; False for those that have not."""
        ...

    async def keep_workflows(self, descriptions: Sequence[Description], deadline: float) -> None:
        """Keep the sealed descriptions of workflows."""
        ...

    async def workflow(self, workflow_id: bytes) -> bytes | int | None:
        """The sealed description of a workflow, untrusted; its size if it is too large, None if there is none."""
        ...
