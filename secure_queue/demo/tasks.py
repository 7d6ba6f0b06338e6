"""The tasks of the demo, and the worker object that both sides make from a URL and a key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.tasks import RegisteredTask
from secure_queue.worker import Worker

QUEUE = "demo"
CHUNK_BYTES = 1 << 18
RESULTS_KEPT_S = 3600
THREADS = 4
LEASE_S = 10
"""What a primary forgot when it died runs again after that; the default would let people wait for a minute."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is found out about one file; the digest in hexadecimal."""

    sha256: str
    size: int
    lines: int


@dataclass(frozen=True, slots=True)
class Tasks:
    """A worker object and the tasks that it knows."""

    worker: Worker[None]
    checksum: RegisteredTask[[Path], FileFacts, FileFacts]
    canary: RegisteredTask[[Path], None, None]


def make_tasks(url: str, signing_secret: str) -> Tasks:
    """The queue of the demo, as its producer and as its workers see it."""
    serializer = MsgpackSerializer()
    serializer.register(FileFacts)
    worker: Worker[None] = Worker(
        url,
        queue_name=QUEUE,
        signing_secret=signing_secret,
        serializer=serializer,
        sync_concurrency=THREADS,
        idle_timeout=LEASE_S,
    )

    @worker.task(name="canary", no_retry_on=(OSError,))
    def canary(path: Path) -> None:
        """Make a file that names the task which made it: whatever runs this, on whatever arguments, can be seen."""
        path.write_text(canary.context.task_id)

    return Tasks(worker, worker.task(name="checksum", ttl=RESULTS_KEPT_S, no_retry_on=(OSError,))(facts_of), canary)


def facts_of(path: Path) -> FileFacts:
    """Read a file to its end. The task ``checksum`` is this function; called directly, it checks what came back."""
    digest, size, newlines, last = hashlib.sha256(), 0, 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            newlines += chunk.count(b"\n")
            last = chunk[-1:]
    return FileFacts(digest.hexdigest(), size, newlines + (last != b"\n"))
