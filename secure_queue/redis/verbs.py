"""What every group of verbs on Redis stands on: the keys of its partition, and how a script is run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from secure_queue.durability import Assurance, Durability
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Argument, Reply


class RedisVerbs:
    """A part of ``RedisStorage``, which runs the scripts."""

    keys: QueueKeys

    @abstractmethod
    async def _run(self, script: str, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        """Run a script, and once more after what is of a wrong type was moved aside."""

    @abstractmethod
    async def _run_assured(
        self, script: str, keys: Sequence[bytes], args: Sequence[Argument], deadline: float, assurance: Assurance
    ) -> tuple[Reply, Durability]:
        """The same, and wait for the copies of *assurance*; what holds then."""
