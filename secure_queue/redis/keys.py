"""The only place where a Redis key is spelled.

Every key of a queue begins with ``sq:{<queue>/<partition>}:``; the braces are a Redis Cluster hash tag, so that all keys
of a partition share one slot and one script may touch them all. The layout is the same on every topology.

Task records stand in a fixed number of bucket hashes: a script that cannot know its ids beforehand declares all of them,
and none grows into a key whose migration blocks a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

BUCKETS = 64
SOON = b"soon"
"""The marker in ``wake`` that tells one worker of a task that is due before anybody looks; see ``lua/_prelude.lua``."""


def bucket_of(task_id: bytes) -> int:
    """The bucket of a task id: a rule on its last two bytes, the same as in ``lua/_prelude.lua``."""
    if len(task_id) < 2:
        return task_id[0] % BUCKETS if task_id else 0
    return (task_id[-2] * 53 + task_id[-1]) % BUCKETS


class QueueKeys:
    """The keys of one partition of one queue; *priorities* stand highest first. Only partition 0 has a ``config``.

    A *room* holds the same keys once more in the same slot, for rehearsals (``beside``).
    """

    def __init__(self, queue: str, priorities: Sequence[str], partition: int = 0, *, room: bytes = b"") -> None:
        self.tag = b"%s/%d" % (queue.encode(), partition)
        self.queue, self.partition = queue, partition
        self._base = b"sq:{%s}:" % self.tag
        self.prefix = self._base + room
        self.meta = self.prefix + b"meta"
        self.leases = self.prefix + b"leases"
        self.wake = self.prefix + b"wake"
        self.results = self.prefix + b"results"
        self.dead = self.prefix + b"dead"
        self.quarantine = self.prefix + b"quarantine"
        self.aborts = self.prefix + b"aborts"
        self.workers = self.prefix + b"workers"
        self.finished = self.prefix + b"finished"
        self.presence = self.prefix + b"presence"
        self.present = self.prefix + b"present"
        self.audit = self.prefix + b"audit"
        self.schedules = self.prefix + b"schedules"
        self.fired = self.prefix + b"fired"
        self.config = self.prefix + b"config"
        self.outbox = self.prefix + b"outbox"
        self.paused, self.called = self.prefix + b"paused", self.prefix + b"called"
        self.unique, self.replaced = self.prefix + b"unique", self.prefix + b"replaced"
        self.lines = self.prefix + b"lines"
        self.priorities = tuple(priorities)
        self.ready = {name: self.prefix + b"ready:" + name.encode() for name in priorities}
        self.due = {name: self.prefix + b"due:" + name.encode() for name in priorities}
        self.shelf = {name: self.prefix + b"shelf:" + name.encode() for name in priorities}
        self.buckets = tuple(self.prefix + b"tasks:%d" % number for number in range(BUCKETS))
        self._result_prefix = self.prefix + b"result:"
        self._partial_prefix = self.prefix + b"partial:"

    def beside(self, room: bytes) -> QueueKeys:
        """The same keys once more, in a room of their own in the same slot, where no worker looks."""
        return QueueKeys(self.queue, self.priorities, self.partition, room=room)

    def bucket(self, task_id: bytes) -> bytes:
        """The hash that holds the record of this task."""
        return self.buckets[bucket_of(task_id)]

    def result(self, task_id: bytes) -> bytes:
        """The string that holds the sealed result of this task."""
        return self._result_prefix + task_id

    def partial(self, task_id: bytes) -> bytes:
        """The hash that holds what this task says before its end."""
        return self._partial_prefix + task_id

    def handed(self, task_id: bytes) -> bytes:
        """The hash that holds what its parents have handed over to this task."""
        return self.prefix + b"handed:" + task_id

    def workflow(self, workflow_id: bytes) -> bytes:
        """The string that holds the sealed description of a workflow."""
        return self.prefix + b"workflow:" + workflow_id

    def permits(self, digest: bytes) -> bytes:
        """The zset of those who hold a permit of a limit on concurrency, by the end of it."""
        return self.prefix + b"permits:" + digest

    def starts(self, digest: bytes) -> bytes:
        """The zset of the latest starts within a limit on rate, by time."""
        return self.prefix + b"starts:" + digest

    def line(self, digest: bytes) -> bytes:
        """The zset of those who wait for their turn at a limit, first come first."""
        return self.prefix + b"line:" + digest

    def turns(self, digest: bytes) -> bytes:
        """The zset of the last place in that line that each key has been given, for keys that take turns."""
        return self.prefix + b"turns:" + digest

    def expected(self, digest: bytes) -> bytes:
        """The zset of those who wait at a limit on rate, by the time when it is their turn."""
        return self.prefix + b"expected:" + digest

    def place_taken(self, task_id: bytes) -> bytes:
        """The field of ``unique`` that names the call which has taken the place of this waiting task."""
        return b"!x" + task_id

    def last_claim(self, worker: str) -> bytes:
        """The list that remembers a worker's last claim, so that a repeated request gets the same tasks."""
        return self.prefix + b"claim:" + worker.encode()

    def done_channel(self, client: str) -> bytes:
        """The channel on which a client is told the results that it waits for (a channel, not a key)."""
        return self._base + b"done:" + client.encode()

    def misfit(self, key: bytes, nonce: bytes) -> bytes:
        """The name under which a key of the wrong type is kept as evidence."""
        return self.prefix + b"misfit:" + nonce + b":" + key.removeprefix(self.prefix)

    def type_of(self, key: bytes) -> bytes:
        """The Redis type that one of this queue's keys must have."""
        kind = key.removeprefix(self.prefix).partition(b":")[0]
        return _TYPES.get(kind, b"string")

    def structure_of(self, key: bytes) -> tuple[bytes, bytes] | None:
        """What the name of a key says: its structure and the rest; None for a name that this layout does not have."""
        kind, _, rest = key.removeprefix(self.prefix).partition(b":")
        if kind == b"tasks" and key not in self.buckets:
            return None
        return (kind, rest) if kind in _TYPES or kind == b"misfit" else None

    def pattern(self, kind: str) -> bytes:
        """The pattern of the keys (or channels) of a kind in every partition, for rules of access; "" for all of them."""
        rest = "*" if not kind else ":*" if kind in _NAMED_BY_MORE else ""
        return b"sq:{%s/*}:%s%s" % (self.tag.rpartition(b"/")[0], kind.encode(), rest.encode())

    @cached_property
    def fixed(self) -> tuple[bytes, ...]:
        """Every key whose name depends on no task and no worker."""
        indexes = (self.meta, self.leases, self.wake, self.results, self.dead, self.workers, self.finished, self.config)
        hashes = (self.aborts, self.schedules, self.fired, self.outbox, self.paused, self.unique, self.replaced)
        beside = (self.quarantine, self.presence, self.present, self.audit)
        return (*self.buckets, *hashes, *beside, *self.both, *self.shelf.values(), *indexes, self.lines, self.called)

    @cached_property
    def both(self) -> tuple[bytes, ...]:
        """The ready list and the due set of every priority, in turn."""
        return tuple(key for name in self.priorities for key in (self.ready[name], self.due[name]))

    @cached_property
    def places(self) -> tuple[bytes, ...]:
        """The same, and the shelf of every priority."""
        return tuple(key for name in self.priorities for key in (self.ready[name], self.due[name], self.shelf[name]))


_NAMED_BY_MORE = frozenset(
    {"tasks", "ready", "due", "result", "partial", "claim", "misfit", "done", "handed", "workflow"}
    | {"permits", "starts", "line", "turns", "expected", "shelf"}
)
_TYPES = {
    b"meta": b"hash",
    b"config": b"hash",
    b"tasks": b"hash",
    b"aborts": b"hash",
    b"presence": b"hash",
    b"schedules": b"hash",
    b"fired": b"hash",
    b"partial": b"hash",
    b"outbox": b"hash",
    b"paused": b"hash",
    b"unique": b"hash",
    b"replaced": b"hash",
    b"handed": b"hash",
    b"ready": b"list",
    b"claim": b"list",
    b"audit": b"list",
    b"due": b"zset",
    b"leases": b"zset",
    b"wake": b"zset",
    b"lines": b"zset",
    b"results": b"zset",
    b"dead": b"zset",
    b"workers": b"zset",
    b"finished": b"zset",
    b"present": b"zset",
    b"permits": b"zset",
    b"starts": b"zset",
    b"line": b"zset",
    b"turns": b"zset",
    b"expected": b"zset",
    b"called": b"zset",
    b"shelf": b"zset",
    b"quarantine": b"stream",
    b"result": b"string",
    b"workflow": b"string",
}
