"""What a task was given back for, as it is noted beside it, and how it gives up its place where it waited.

A note stands in clear: whoever can write to the storage can forge one. It is only a place to look.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from secure_queue.errors import SecureQueueError
from secure_queue.limiting import Holder, LimitStorage
from secure_queue.names import printable
from secure_queue.partitions import MOST_PARTITIONS

SHELVED: Final = b"shelf "
"""How the note of a task begins that was laid aside for a pause."""
_NOTE: Final = re.compile(r"(permit|rate) (\d{1,2}) ([0-9a-f]{32}) (.*)", re.DOTALL)

_log = logging.getLogger("secure_queue")


@dataclass(frozen=True, slots=True)
class Wait:
    """The limit that a task waits for: the partition that keeps it, and its rule in words."""

    is_rate: bool
    home: int
    digest: bytes
    rule: str

    def __str__(self) -> str:
        return f"{'rate' if self.is_rate else 'permit'} {self.home} {self.digest.decode()} {self.rule}"


def read_note(untrusted: bytes | int | None) -> Wait | None:
    """What a note says, if it names a limit."""
    found = _NOTE.fullmatch(untrusted.decode("utf-8", "replace")) if isinstance(untrusted, bytes) else None
    if found is None or int(found[2]) >= MOST_PARTITIONS:
        return None
    return Wait(found[1] == "rate", int(found[2]), found[3].encode(), found[4])


async def withdraw(
    at: Callable[[int], LimitStorage], partition: int, untrusted_notes: Mapping[bytes, bytes | int | None]
) -> None:
    """Free the places of tasks of *partition* that will not come any more, each with its note.

    A place that cannot be freed now is passed over when its turn comes.
    """
    for task_id, untrusted in untrusted_notes.items():
        wait = read_note(untrusted)
        try:
            if wait is not None:
                await at(wait.home).withdraw([Holder(wait.digest, b"%d %s" % (partition, task_id), 0)])
        except SecureQueueError as error:
            _log.warning("the place of task %s in a line cannot be freed now: %s", printable(task_id), error)
