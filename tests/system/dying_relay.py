"""A worker process that dies at a given step of a hand-over: ``python -m tests.system.dying_relay deliver``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import anyio

from secure_queue.redis.storage import RedisStorage
from tests.system.app import make_worker


def main() -> None:
    """Run tasks until the step that the first argument names is about to be taken."""

    async def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(RedisStorage, sys.argv[1], die)
    anyio.run(make_worker(os.environ["SECURE_QUEUE_URL"], partitions=3, idle_timeout=1).run_async)


if __name__ == "__main__":
    main()
